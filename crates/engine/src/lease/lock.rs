//! The lock of .NET's bootstrap: whoever has it makes the first leases.

use std::time::Duration;

use bytes::Bytes;
use feedmill_store_api::{ETag, ErrorKind, Operation, ReadLevel};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use super::table::Table;
use crate::limits::{BOOTSTRAP_LOCK_MAX, BOOTSTRAP_LOCK_TTL_SECONDS};

#[derive(Deserialize)]
struct Written {
    _ts: i64,
}

impl Table {
    /// Takes the lock; `None` while another has it.
    ///
    /// It expires by itself only where the container lets documents do so. One that nobody removed in time is a crashed
    /// host's: it only keeps two hosts from doing the same, and leases have ids that make that harmless.
    pub(super) async fn lock(&self) -> Result<Option<ETag>, Error> {
        let (id, key) = self.beside("lock")?;
        let attempted = format!("take the lock {id}");
        let mut lock = json!({"id": id.as_str(), "ttl": BOOTSTRAP_LOCK_TTL_SECONDS});
        if self.by_partition_key() {
            lock["partitionKey"] = id.as_str().into();
        }
        let body = Bytes::from(lock.to_string());
        let read = || self.container.read(&key, &id, &ReadLevel::Quorum);
        let found = self.patience.outlast(&attempted, read).await.map_err(Error::store(&attempted))?.0;
        let operation = match found {
            None => Operation::Create { id, body },
            Some(found) => {
                let written = Timestamp::from_second(found.parse::<Written>().map_err(Error::store(&attempted))?._ts);
                let age = written.map(|written| self.patience.clock.now().duration_since(written)).unwrap_or_default();
                if Duration::try_from(age).unwrap_or_default() < BOOTSTRAP_LOCK_MAX {
                    return Ok(None);
                }
                Operation::Replace { id, body, if_match: Some(found.etag) }
            }
        };
        match self.patience.outlast(&attempted, || self.container.write(&key, operation.clone())).await {
            Ok(written) => Ok(written.etag),
            // Another was faster, or it is ours and its reply was lost: then it expires.
            Err(error) if is_refusal(error.kind()) => Ok(None),
            Err(error) => Err(Error::store(attempted)(error)),
        }
    }

    /// Gives it back, if it is still ours.
    pub(super) async fn unlock(&self, lock: ETag) -> Result<(), Error> {
        let (id, key) = self.beside("lock")?;
        let attempted = format!("remove the lock {id}");
        let operation = Operation::Delete { id, if_match: Some(lock) };
        match self.patience.outlast(&attempted, || self.container.write(&key, operation.clone())).await {
            Err(error) if !is_refusal(error.kind()) => Err(Error::store(attempted)(error)),
            _ => Ok(()),
        }
    }
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound)
}
