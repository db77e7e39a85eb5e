use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Changed, Follow, changed, id, subject};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::pages::{Pages, TARGETS_MAX};
use crate::sources::{self, EdgeSource, PostSource};
use crate::{Sources, Target, UserFeed};

/// Followers read at once.
const PAGE_ITEMS: usize = 1_000;

/// Posts changed: the feeds of all their author's followers may be wrong, those of withdrawn and muted edges included.
pub(crate) struct FanOut {
    projection: UserFeed,
}

/// What a delivery is about: posts of one author, as they are now.
struct Posts {
    author: Arc<str>,
    by_id: Arc<BTreeMap<Arc<str>, PostSource>>,
    /// Index of each post's last change.
    changes: BTreeMap<Arc<str>, usize>,
}

impl FanOut {
    pub(crate) fn new(projection: UserFeed) -> Self {
        Self { projection }
    }

    /// Reads the posts afresh; rejects what cannot be understood, and leaves out replies where feeds have none.
    async fn posts(
        &self,
        author: &str,
        delivery: &Delivery,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<Posts, SettleError> {
        let (documents, rejected) = changed(&delivery.changes);
        for (index, error) in rejected {
            outcome.reject(index, error.to_string());
        }
        let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
        let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
        let (mut by_id, mut changes) = (BTreeMap::new(), BTreeMap::new());
        for (Changed { id, index }, found) in documents.into_iter().zip(found) {
            if found.as_ref().is_some_and(|found| self.projection.leaves_out(found)) {
                continue;
            }
            let source = sources::post(&self.projection.posts, &id, found.as_ref(), &self.projection.options);
            match (source.state.reason(), id::split(id.as_str())) {
                (Some(reason), _) => outcome.reject(index, reason),
                (None, Err(error)) => outcome.reject(index, error.to_string()),
                (None, Ok([post])) => {
                    let post: Arc<str> = post.into();
                    changes.insert(Arc::clone(&post), index);
                    by_id.insert(post, source);
                }
            }
        }
        Ok(Posts { author: author.into(), by_id: Arc::new(by_id), changes })
    }

    /// An edge that cannot be understood has its own dead letter; once mended, it names these posts itself.
    fn edges(&self, author: &str, page: &[(DocumentId, Document)]) -> Vec<(Arc<str>, EdgeSource)> {
        let mut edges = Vec::with_capacity(page.len());
        for (id, found) in page {
            let Ok(follow) = Follow::decode(&found.body) else { continue };
            if !self.projection.is_own(&follow.follower_id, author) {
                let reference = sources::reference(&self.projection.edges, id, Some(found.etag.clone()));
                let state = sources::edge_state(&follow);
                edges.push((follow.follower_id.into(), EdgeSource { reference, state }));
            }
        }
        edges
    }

    async fn settle(
        &self,
        posts: &Posts,
        edges: BTreeMap<Arc<str>, EdgeSource>,
        recipients: &[Arc<str>],
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        let mut targets = Vec::with_capacity(recipients.len() * posts.by_id.len());
        for recipient in recipients {
            for post in posts.by_id.keys() {
                match Target::new(recipient, &posts.author, post) {
                    Ok(target) => targets.push(target),
                    Err(error) => outcome.reject(posts.changes[post], error.to_string()),
                }
            }
        }
        let sources = Sources::of(&posts.author, &posts.by_id, edges);
        settler.settle(&self.projection, targets, Some(sources)).await
    }
}

impl Handler for FanOut {
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
            let posts = self.posts(author, delivery, settler, &mut outcome).await?;
            if posts.by_id.is_empty() {
                return Ok(outcome);
            }
            if self.projection.options.own_posts {
                let own = [Arc::clone(&posts.author)];
                self.settle(&posts, BTreeMap::new(), &own, settler, &mut outcome).await?;
            }
            let at_once = (TARGETS_MAX / posts.by_id.len()).max(1);
            let mut pages =
                Pages::new(settler.reader(), &self.projection.edges, &posts.author, "SELECT * FROM c", PAGE_ITEMS);
            while let Some(page) = pages.next().await? {
                let edges = self.edges(&posts.author, &page);
                for edges in edges.chunks(at_once) {
                    let recipients: Vec<_> = edges.iter().map(|(follower, _)| Arc::clone(follower)).collect();
                    let edges = edges.iter().cloned().collect();
                    self.settle(&posts, edges, &recipients, settler, &mut outcome).await?;
                }
            }
            Ok(outcome)
        }
        .boxed()
    }
}
