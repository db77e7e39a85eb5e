use std::sync::Arc;

use feedmill_store_api::{Change, PartitionKey, SessionToken};
use futures::future::BoxFuture;

use crate::{SettleError, Settler};

/// The changes of one source partition key, in feed order.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Name of the source container.
    pub container: Arc<str>,
    pub container_rid: Arc<str>,
    pub key: PartitionKey,
    /// Never empty. One document may be there more than once when several pages were gathered.
    pub changes: Vec<Change>,
    /// What a read of the changed key must have seen.
    pub session: SessionToken,
}

impl Delivery {
    /// LSN of the last change.
    pub fn lsn(&self) -> u64 {
        self.changes.last().map_or(0, |change| change.lsn)
    }
}

/// What a processor is: it says which targets a delivery may have made wrong, and hands them to the settler.
///
/// It never writes, checkpoints, sleeps or sees a lease. It may be called again with the same delivery, with an older
/// one, and at the same time by another host.
pub trait Handler: Send + Sync + 'static {
    /// Settles every target that any of the delivered changes concerns.
    ///
    /// A change that cannot be understood is rejected in the [`Outcome`] and the others go on. An `Err` concerns the
    /// delivery as a whole: the engine tries again, by single changes where the fault is a change's own.
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>>;
}

/// What became of a delivery whose targets are settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rejected: Vec<Rejection>,
}

/// A change that no number of attempts will make understandable: it becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Index into [`Delivery::changes`].
    pub index: usize,
    /// What is wrong with which field.
    pub reason: String,
}

impl Outcome {
    pub fn reject(&mut self, index: usize, reason: impl Into<String>) {
        self.rejected.push(Rejection { index, reason: reason.into() });
    }
}
