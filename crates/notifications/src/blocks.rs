use std::collections::BTreeMap;

use feedmill_documents::{Block, Changed, DecodeError, changed, containers, id, notification, subject};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{DocumentId, Query};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::Options;
use crate::projection::{Notifications, Target};

/// Notifications read at once.
const PAGE_ITEMS: usize = 500;

/// Blocks on one person's side changed: what that person was told of the other side's doings may be wrong.
///
/// What is there is listed from `notifications` themselves, which costs what there is between the two and not what either
/// ever wrote. A notification that is being made meanwhile is not in that list; it is its maker who looks at the block
/// once more after the write (see [`Notifications::tell`]), so one of the two sees the other.
pub(crate) struct BlockHandler {
    pub(crate) options: Options,
}

/// A stored notification as far as it names its cause.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    id: String,
    parent_post_id: Option<String>,
}

impl Handler for BlockHandler {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let mut outcome = Outcome::default();
            let recipient = match subject(&delivery.key) {
                Ok(recipient) => recipient,
                Err(error) => {
                    (0..delivery.changes.len()).for_each(|index| outcome.reject(index, error.to_string()));
                    return Ok(outcome);
                }
            };
            for (other, index) in others(delivery, settler, &mut outcome).await? {
                self.settle(recipient, &other, index, delivery, settler, &mut outcome).await?;
            }
            Ok(outcome)
        }
        .boxed()
    }
}

/// With whom there is or was a block, each with the index of its change. What cannot be understood is rejected.
async fn others(
    delivery: &Delivery,
    settler: &Settler<'_>,
    outcome: &mut Outcome,
) -> Result<BTreeMap<String, usize>, SettleError> {
    let (documents, rejected) = changed(&delivery.changes);
    for (index, error) in rejected {
        outcome.reject(index, error.to_string());
    }
    let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
    let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
    let mut others = BTreeMap::new();
    for (Changed { id, index }, found) in documents.into_iter().zip(found) {
        let body = found.as_ref().map_or(&delivery.changes[index].body, |found| &found.body);
        let understood = Block::decode(body).and_then(|_| Ok(id::split(id.as_str())?));
        match understood {
            Ok([_, other]) => {
                others.insert(other, index);
            }
            Err(error) => outcome.reject(index, error.to_string()),
        }
    }
    Ok(others)
}

impl BlockHandler {
    async fn settle(
        &self,
        recipient: &str,
        other: &str,
        index: usize,
        delivery: &Delivery,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        let projection = Notifications::new(&self.options, delivery);
        let query = Query::new("SELECT c.id, c.parentPostId FROM c WHERE c.actorId = @actor").with("@actor", other);
        let mut continuation = None;
        loop {
            let reader = settler.reader();
            let key = recipient.into();
            let page = reader.query(containers::NOTIFICATIONS, &key, &query, PAGE_ITEMS, continuation).await?;
            let mut targets = Vec::with_capacity(page.items.len());
            for item in page.items {
                match target(&item) {
                    Ok(target) => targets.push(target),
                    Err(error) => outcome.reject(index, format!("a notification of {recipient}'s: {error}")),
                }
            }
            if !targets.is_empty() {
                settler.settle(&projection, targets, None).await?;
            }
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(());
            }
        }
    }
}

/// A notification as a target: its id and its parent post say where its cause is.
pub(crate) fn target(json: &[u8]) -> Result<Target, DecodeError> {
    let stored: Stored = serde_json::from_slice(json).map_err(|error| DecodeError::NotAnObject(error.to_string()))?;
    let id =
        DocumentId::new(&*stored.id).map_err(|source| id::IdError::Invalid { parts: stored.id.clone(), source })?;
    let parts = notification::parts(stored.id.as_str())?;
    Ok(Target::stored(id, &parts, stored.parent_post_id.as_deref())?)
}
