use std::sync::Arc;

use feedmill_store_api::{Database, Document, DocumentId, PartitionKey, Query, QueryPage, RequestCharge};
use parking_lot::Mutex;

use super::settler::SettleError;
use crate::Delivery;

/// Reads for handlers and projections, each as fresh as settling needs it: the delivered key with the page's session
/// token, everything else as a quorum read.
pub struct Reader<'a> {
    database: &'a dyn Database,
    delivery: &'a Delivery,
    tally: &'a Mutex<Tally>,
}

/// What was done so far, by cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub reads: RequestCharge,
    pub writes: RequestCharge,
    /// Documents written.
    pub written: u64,
    /// Targets that already were as they should be.
    pub skipped: u64,
    /// Writes that met another version and were settled again.
    pub conflicts: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(database: &'a dyn Database, delivery: &'a Delivery, tally: &'a Mutex<Tally>) -> Self {
        Self { database, delivery, tally }
    }

    pub async fn read(
        &self,
        container: &str,
        key: &PartitionKey,
        id: &DocumentId,
    ) -> Result<Option<Document>, SettleError> {
        todo!()
    }

    /// Any number of documents of one key, in the order of `ids`.
    pub async fn read_many(
        &self,
        container: &str,
        key: &PartitionKey,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, SettleError> {
        todo!()
    }

    /// One page of a single-partition query, at most `items_max` results.
    pub async fn query(
        &self,
        container: &str,
        key: &PartitionKey,
        query: &Query,
        items_max: usize,
        continuation: Option<String>,
    ) -> Result<QueryPage, SettleError> {
        todo!()
    }

    pub async fn query_all(&self, container: &str, key: &PartitionKey, query: &Query) -> Result<Vec<bytes::Bytes>, SettleError> {
        todo!()
    }
}
