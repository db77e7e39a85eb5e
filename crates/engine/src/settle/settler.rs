use super::projection::Projection;
use super::reader::Reader;

/// Settles targets for one delivery.
pub struct Settler<'a> {
    reader: Reader<'a>,
}

/// Why targets could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store: waiting helps.
    #[error(transparent)]
    Store(#[from] feedmill_store_api::Error),
    /// A change's own fault: trying again does not help until somebody mends a document.
    #[error("{0}")]
    Invalid(String),
}

impl<'a> Settler<'a> {
    pub fn reader(&self) -> &Reader<'a> {
        &self.reader
    }

    /// Settles every target before it returns.
    ///
    /// `named_from` is what the handler read to find the targets, where that is all of their sources: then absence is
    /// expected and they are created straight away, and only a conflict is settled in full. Without it the targets are
    /// read first. Targets of one key should stand together: they travel as batches.
    pub async fn settle<P: Projection>(
        &self,
        projection: &P,
        targets: Vec<P::Target>,
        named_from: Option<P::Sources>,
    ) -> Result<(), SettleError> {
        todo!()
    }
}
