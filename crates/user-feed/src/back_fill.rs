use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Changed, Retention, changed, id, subject};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, Query};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::pages::{Pages, TARGETS_MAX};
use crate::sources::{self, Item, PostSource, Recipient, State};
use crate::{Options, Sources, Target, UserFeed};

/// Posts read at once. Their fields are in memory together, so fewer than followers.
const PAGE_ITEMS: usize = 500;

/// Edges or blocks changed: all posts of the one side may be wrong in the feed of the other, withdrawn ones included.
///
/// An edge to an author and the author's block have the same id, under the same key of two containers, so that one
/// handler serves both.
pub(crate) struct BackFill {
    projection: UserFeed,
}

/// Those whose way to one author's posts may have changed, as it is now.
struct Audience {
    author: Arc<str>,
    recipients: BTreeMap<Arc<str>, Recipient>,
    /// Index of each one's last change.
    changes: BTreeMap<Arc<str>, usize>,
}

/// How far back a feed is filled.
#[derive(Clone, Copy)]
struct Limits {
    /// Posts that are shown.
    shown_max: usize,
    /// A time that has surely passed: what was over by then makes no item.
    passed: Timestamp,
}

impl Limits {
    /// `None` where it is filled with everything there is.
    fn of(options: &Options, delivery: &Delivery) -> Option<Self> {
        if options.backfill_items_max.is_none() && options.retention == Retention::NONE {
            return None;
        }
        let seconds = delivery.changes.iter().map(|change| change.timestamp_seconds).max().unwrap_or_default();
        let passed = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        Some(Self { shown_max: options.backfill_items_max.map_or(usize::MAX, usize::from), passed })
    }
}

fn is_over(post: &PostSource, passed: Timestamp) -> bool {
    matches!(post.state, State::Shown(Item { end: Some(end), .. }) if end <= passed)
}

impl BackFill {
    pub(crate) fn new(projection: UserFeed) -> Self {
        Self { projection }
    }

    /// Reads edges and blocks afresh, and rejects what of the changed ones cannot be understood. Who has no edge was
    /// never shown anything, so a block between strangers names nobody.
    async fn audience(
        &self,
        author: &str,
        delivery: &Delivery,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<Audience, SettleError> {
        let (documents, rejected) = changed(&delivery.changes);
        for (index, error) in rejected {
            outcome.reject(index, error.to_string());
        }
        let of_blocks = *delivery.container == *self.projection.blocks;
        let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
        let found = settler.reader().read_many(&self.projection.edges, &author.into(), &ids).await?;
        let edges = ids.iter().zip(&found).map(|(id, found)| sources::edge(&self.projection.edges, id, found.as_ref()));
        let all = self.projection.with_blocks(author, &ids, edges.collect(), settler.reader()).await?;
        let (mut recipients, mut changes) = (BTreeMap::new(), BTreeMap::new());
        for (Changed { id, index }, recipient) in documents.into_iter().zip(all) {
            let (ours, other) = match (&recipient.edge, &recipient.block) {
                (edge, Some(block)) if of_blocks => (Some(block), Some(edge)),
                (edge, None) if of_blocks => (None, Some(edge)),
                (edge, block) => (Some(edge), block.as_ref()),
            };
            if let Some(reason) = ours.and_then(|ours| ours.state.reason()) {
                outcome.reject(index, reason);
                continue;
            }
            let is_stranger = of_blocks && recipient.edge.reference.2.is_none();
            // What the other side cannot be understood by has its own dead letter; once mended, it names these itself.
            let is_elsewhere = other.is_some_and(|other| other.state.reason().is_some());
            match id::split(id.as_str()) {
                Err(error) => outcome.reject(index, error.to_string()),
                Ok([_, other]) if is_stranger || is_elsewhere || self.projection.is_own(&other, author) => {}
                Ok([_, other]) => {
                    let other: Arc<str> = other.into();
                    changes.insert(Arc::clone(&other), index);
                    recipients.insert(other, recipient);
                }
            }
        }
        Ok(Audience { author: author.into(), recipients, changes })
    }

    /// Settles the author's posts in the feeds of these recipients, as far back as the limits say.
    async fn settle(
        &self,
        audience: &Audience,
        recipients: &[Arc<str>],
        limits: Option<Limits>,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        if recipients.is_empty() {
            return Ok(());
        }
        let query = if limits.is_some() { "SELECT * FROM c ORDER BY c.createdAt DESC" } else { "SELECT * FROM c" };
        let (posts, author) = (&self.projection.posts, &audience.author);
        let mut pages = Pages::new(settler.reader(), posts, author, Query::new(query), PAGE_ITEMS);
        let mut room = limits.map_or(usize::MAX, |limits| limits.shown_max);
        while let (true, Some(page)) = (room > 0, pages.next().await?) {
            let mut posts = self.posts(page, &mut room);
            if let Some(Limits { passed, .. }) = limits {
                let before = posts.len();
                posts.retain(|_, post| !is_over(post, passed));
                if posts.is_empty() && before > 0 {
                    // What comes behind is older still.
                    return Ok(());
                }
            }
            let posts = Arc::new(posts);
            if posts.is_empty() {
                continue;
            }
            for recipients in recipients.chunks((TARGETS_MAX / posts.len()).max(1)) {
                let mut targets = Vec::with_capacity(recipients.len() * posts.len());
                for recipient in recipients {
                    for post in posts.keys() {
                        match Target::new(recipient, author, post) {
                            Ok(target) => targets.push(target),
                            Err(error) => outcome.reject(audience.changes[recipient], error.to_string()),
                        }
                    }
                }
                let of_these = recipients.iter().map(|each| (Arc::clone(each), audience.recipients[each].clone()));
                let sources = Sources::of(author, &posts, of_these.collect());
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
            let audience = self.audience(author, delivery, settler, &mut outcome).await?;
            // What is no longer shown goes whole, however long ago it came.
            let limits = Limits::of(&self.projection.options, delivery);
            let (filled, emptied): (Vec<_>, Vec<_>) =
                audience.recipients.iter().partition(|(_, each)| limits.is_some() && each.state().is_shown());
            for (of, limits) in [(filled, limits), (emptied, None)] {
                let recipients: Vec<_> = of.into_iter().map(|(recipient, _)| Arc::clone(recipient)).collect();
                self.settle(&audience, &recipients, limits, settler, &mut outcome).await?;
            }
            Ok(outcome)
        }
        .boxed()
    }
}
