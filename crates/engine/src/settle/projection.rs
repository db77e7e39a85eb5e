use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::future::BoxFuture;

use super::desired::{Basis, Desired};
use super::reader::Reader;
use super::settler::SettleError;

/// Where a target lives in its container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub key: PartitionKey,
    pub id: DocumentId,
}

/// How the documents of one derived container follow from their sources.
pub trait Projection: Send + Sync {
    /// Names one document and carries what is needed to read its sources: identity fields only, never content.
    type Target: Clone + Send + Sync;
    /// What [`Self::read`] found, for many targets at once.
    type Sources: Send + Sync;

    /// Name of the derived container.
    fn container(&self) -> &str;

    fn address(&self, target: &Self::Target) -> Address;

    /// What `target` would be made from, where that is known without reading its sources, as with a count for a change:
    /// what was made from it already is done.
    fn basis(&self, _target: &Self::Target) -> Option<Basis> {
        None
    }

    /// Reads the sources of all `targets`, each source document once, as they are now. `targets` are at most 2,000.
    fn read<'a>(
        &'a self,
        targets: &'a [Self::Target],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Self::Sources, SettleError>>;

    /// Pure. `current` is the stored target, tombstones included, for what belongs to a person and is carried over.
    /// `Err` says what is wrong with a source: a change's own fault.
    fn compute(
        &self,
        target: &Self::Target,
        sources: &Self::Sources,
        current: Option<&Document>,
    ) -> Result<Desired, String>;
}
