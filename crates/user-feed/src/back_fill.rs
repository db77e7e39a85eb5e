use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Changed, changed, id, subject};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::pages::{Pages, TARGETS_MAX};
use crate::sources::{self, EdgeSource, PostSource};
use crate::{Sources, Target, UserFeed};

/// Posts read at once. Their fields are in memory together, so fewer than followers.
const PAGE_ITEMS: usize = 500;

/// Edges changed: all posts of the followee may be wrong in the followers' feeds, withdrawn ones included.
pub(crate) struct BackFill {
    projection: UserFeed,
}

/// Edges to one author, as they are now.
struct Edges {
    author: Arc<str>,
    by_follower: BTreeMap<Arc<str>, EdgeSource>,
    /// Index of each edge's last change.
    changes: BTreeMap<Arc<str>, usize>,
}

impl BackFill {
    pub(crate) fn new(projection: UserFeed) -> Self {
        Self { projection }
    }

    /// Reads the edges afresh, and rejects what cannot be understood.
    async fn edges(
        &self,
        author: &str,
        delivery: &Delivery,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<Edges, SettleError> {
        let (documents, rejected) = changed(&delivery.changes);
        for (index, error) in rejected {
            outcome.reject(index, error.to_string());
        }
        let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
        let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
        let (mut by_follower, mut changes) = (BTreeMap::new(), BTreeMap::new());
        for (Changed { id, index }, found) in documents.into_iter().zip(found) {
            let source = sources::edge(&self.projection.edges, &id, found.as_ref());
            match (source.state.reason(), id::split(id.as_str())) {
                (Some(reason), _) => outcome.reject(index, reason),
                (None, Err(error)) => outcome.reject(index, error.to_string()),
                (None, Ok([_, follower])) if self.projection.is_own(&follower, author) => {}
                (None, Ok([_, follower])) => {
                    let follower: Arc<str> = follower.into();
                    changes.insert(Arc::clone(&follower), index);
                    by_follower.insert(follower, source);
                }
            }
        }
        Ok(Edges { author: author.into(), by_follower, changes })
    }

    /// Settles the author's posts in the feeds of these followers; with `shown_max` only the newest so many that are
    /// shown.
    async fn settle(
        &self,
        edges: &Edges,
        followers: &[Arc<str>],
        shown_max: Option<usize>,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        if followers.is_empty() {
            return Ok(());
        }
        let query = if shown_max.is_some() { "SELECT * FROM c ORDER BY c.createdAt DESC" } else { "SELECT * FROM c" };
        let mut pages = Pages::new(settler.reader(), &self.projection.posts, &edges.author, query, PAGE_ITEMS);
        let mut room = shown_max.unwrap_or(usize::MAX);
        while let (true, Some(page)) = (room > 0, pages.next().await?) {
            let posts = Arc::new(self.posts(page, &mut room));
            if posts.is_empty() {
                continue;
            }
            for followers in followers.chunks((TARGETS_MAX / posts.len()).max(1)) {
                let mut targets = Vec::with_capacity(followers.len() * posts.len());
                for follower in followers {
                    for post in posts.keys() {
                        match Target::new(follower, &edges.author, post) {
                            Ok(target) => targets.push(target),
                            Err(error) => outcome.reject(edges.changes[follower], error.to_string()),
                        }
                    }
                }
                let of_these =
                    followers.iter().map(|follower| (Arc::clone(follower), edges.by_follower[follower].clone()));
                let sources = Sources::of(&edges.author, &posts, of_these.collect());
                settler.settle(&self.projection, targets, Some(sources)).await?;
            }
        }
        Ok(())
    }

    /// The posts of a page, until as many are shown as there is room for.
    fn posts(&self, page: Vec<(DocumentId, Document)>, room: &mut usize) -> BTreeMap<Arc<str>, PostSource> {
        let mut posts = BTreeMap::new();
        for (id, found) in page {
            if self.projection.leaves_out(&found) {
                continue;
            }
            let source = sources::post(&self.projection.posts, &id, Some(&found), &self.projection.options);
            // A post that cannot be understood has its own dead letter; once mended, it names these feeds itself.
            let (None, Ok([post])) = (source.state.reason(), id::split(id.as_str())) else { continue };
            if source.state.is_shown() {
                if *room == 0 {
                    break;
                }
                *room -= 1;
            }
            posts.insert(post.into(), source);
        }
        posts
    }
}

impl Handler for BackFill {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let mut outcome = Outcome::default();
            let author = match subject(&delivery.key) {
                Ok(author) => author,
                Err(error) => {
                    (0..delivery.changes.len()).for_each(|index| outcome.reject(index, error.to_string()));
                    return Ok(outcome);
                }
            };
            let edges = self.edges(author, delivery, settler, &mut outcome).await?;
            // What an edge no longer shows goes whole, however long ago it came.
            let shown_max = self.projection.options.backfill_items_max.map(usize::from);
            let (filled, emptied): (Vec<_>, Vec<_>) =
                edges.by_follower.iter().partition(|(_, edge)| shown_max.is_some() && edge.state.is_shown());
            for (of, shown_max) in [(filled, shown_max), (emptied, None)] {
                let followers: Vec<_> = of.into_iter().map(|(follower, _)| Arc::clone(follower)).collect();
                self.settle(&edges, &followers, shown_max, settler, &mut outcome).await?;
            }
            Ok(outcome)
        }
        .boxed()
    }
}
