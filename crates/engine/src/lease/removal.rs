//! Removes a lease whose parts others hold, and keeps its record: a removed document is in no feed.

use bytes::Bytes;
use feedmill_store_api::{Document, DocumentId, ETag, ErrorKind, Operation, PartitionKey};
use serde::Deserialize;
use serde_json::json;

use super::document::{LeaseDocument, Stored};
use super::error::Error;
use super::table::Table;

/// Between the prefix and the token in the record's id, where a lease's has two dots.
const MARK: &str = ".was.";

#[derive(Deserialize)]
struct Record {
    was: String,
}

/// The lease that is no more, where this document says so, and in which epoch it was to be removed. In a later one it is
/// still there: the record came late, of a removal that was refused.
pub(crate) fn removed(id: &str, body: &Bytes) -> Option<(String, u64)> {
    if !id.contains(MARK) {
        return None;
    }
    let Record { was } = serde_json::from_slice(body).ok()?;
    let lease = LeaseDocument::parse(&Document { etag: ETag::new(""), body: body.clone() }).ok()?;
    Some((was, lease.epoch()))
}

impl Table {
    /// The record first: whoever follows the table learns of it in time. Then the lease, on the condition that it is as
    /// it was; somebody else's version stays.
    pub(crate) async fn remove(&self, stored: &Stored) -> Result<(), Error> {
        let lease = &stored.lease;
        let token = lease.token();
        let id = DocumentId::new(format!("{}{MARK}{token}", self.prefix)).map_err(|source| Error::Id {
            prefix: self.prefix.to_string(),
            token: token.to_owned(),
            source,
        })?;
        let mut record: serde_json::Value = lease.clone().into_record();
        record["id"] = id.as_str().into();
        record["was"] = lease.id().as_str().into();
        record["removedAt"] = self.patience.clock.now().to_string().into();
        if self.by_partition_key() {
            record["partitionKey"] = id.as_str().into();
        }
        let (key, body) = (PartitionKey::from(id.as_str()), Bytes::from(json!(record).to_string()));
        let attempted = format!("keep the record of lease {}", lease.id());
        let write = || self.container.write(&key, Operation::Upsert { id: id.clone(), body: body.clone() });
        self.patience.outlast(&attempted, write).await.map_err(Error::store(attempted))?;
        let attempted = format!("remove lease {}", lease.id());
        let delete = || {
            let operation = Operation::Delete { id: lease.id().clone(), if_match: Some(stored.etag.clone()) };
            self.container.write(lease.key(), operation)
        };
        match self.patience.outlast(&attempted, delete).await {
            // It is gone, or somebody made something else of it; the audit looks at that.
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Precondition) => {
                Err(Error::store(attempted)(error))
            }
            _ => Ok(()),
        }
    }
}
