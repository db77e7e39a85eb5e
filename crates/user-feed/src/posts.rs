use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Follow, id};
use feedmill_engine::{Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId};

use crate::pages::TARGETS_MAX;
use crate::sources::{self, EdgeSource, PostSource, Recipient};
use crate::{Sources, Target, UserFeed};

/// Posts of one author as they are now, and the changes that brought them here.
pub(crate) struct Posts {
    pub(crate) author: Arc<str>,
    by_id: Arc<BTreeMap<Arc<str>, PostSource>>,
    /// Index of each post's change.
    changes: BTreeMap<Arc<str>, usize>,
}

impl Posts {
    /// Of documents as they were read, each with the index of its change. Rejects what cannot be understood, and leaves
    /// out replies where feeds have none.
    pub(crate) fn of(
        author: &str,
        found: impl IntoIterator<Item = (DocumentId, usize, Option<Document>)>,
        projection: &UserFeed,
        outcome: &mut Outcome,
    ) -> Self {
        let (mut by_id, mut changes) = (BTreeMap::new(), BTreeMap::new());
        for (id, index, found) in found {
            if found.as_ref().is_some_and(|found| projection.leaves_out(found)) {
                continue;
            }
            let source = sources::post(&projection.posts, &id, found.as_ref(), &projection.options);
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
        Self { author: author.into(), by_id: Arc::new(by_id), changes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Each post, and the index of its change.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &PostSource, usize)> {
        self.by_id.iter().map(|(post, source)| (post, source, self.changes[post]))
    }

    /// Settles them in their author's own feed.
    pub(crate) async fn settle_own(
        &self,
        projection: &UserFeed,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        self.settle(projection, [&self.author], BTreeMap::new(), settler, outcome).await
    }

    /// Settles them in the feeds of a page of followers, given by their edges in the order of ids.
    pub(crate) async fn settle_among(
        &self,
        projection: &UserFeed,
        page: &[(DocumentId, Document)],
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        let recipients = self.recipients(projection, page, settler).await?;
        for some in recipients.chunks((TARGETS_MAX / self.by_id.len().max(1)).max(1)) {
            let among = some.iter().cloned().collect();
            self.settle(projection, some.iter().map(|(recipient, _)| recipient), among, settler, outcome).await?;
        }
        Ok(())
    }

    /// An edge or a block that cannot be understood has its own dead letter; once mended, it names these posts itself.
    async fn recipients(
        &self,
        projection: &UserFeed,
        page: &[(DocumentId, Document)],
        settler: &Settler<'_>,
    ) -> Result<Vec<(Arc<str>, Recipient)>, SettleError> {
        let (mut ids, mut followers, mut edges) = (Vec::new(), Vec::new(), Vec::new());
        for (id, found) in page {
            let Ok(follow) = Follow::decode(&found.body) else { continue };
            if !projection.is_own(&follow.follower_id, &self.author) {
                let reference = sources::reference(&projection.edges, id, Some(found.etag.clone()));
                edges.push(EdgeSource { reference, state: sources::edge_state(&follow) });
                followers.push(Arc::from(follow.follower_id));
                ids.push(id.clone());
            }
        }
        let recipients = projection.with_blocks(&self.author, &ids, edges, settler.reader()).await?;
        let understood = |(_, recipient): &(Arc<str>, Recipient)| recipient.state().reason().is_none();
        Ok(followers.into_iter().zip(recipients).filter(understood).collect())
    }

    async fn settle(
        &self,
        projection: &UserFeed,
        recipients: impl IntoIterator<Item = &Arc<str>>,
        among: BTreeMap<Arc<str>, Recipient>,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        let mut targets = Vec::new();
        for recipient in recipients {
            for (post, _, index) in self.iter() {
                match Target::new(recipient, &self.author, post) {
                    Ok(target) => targets.push(target),
                    Err(error) => outcome.reject(index, error.to_string()),
                }
            }
        }
        let sources = Sources::of(&self.author, &self.by_id, among);
        settler.settle(projection, targets, Some(sources)).await
    }
}
