//! The leases of one processor and source as they are stored: every write with its exact condition.

use std::sync::Arc;

use bytes::Bytes;
use feedmill_store_api::{
    Applied, Container, DocumentId, ErrorKind, FeedRange, FeedStart, Operation, PartitionKey, ReadLevel, RequestCharge,
    Written,
};
use serde_json::json;

use super::document::{LeaseDocument, Owner, Stored};
use super::error::Error;
use crate::LeaseMode;
use crate::listing::{Listing, ids_beginning_with};
use crate::protection::Protection;
use crate::retry::{Patience, is_outage};

/// A place for the leases that share a prefix. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Table {
    pub(super) container: Arc<dyn Container>,
    pub(super) prefix: Arc<str>,
    pub(super) owner: Arc<Owner>,
    pub(super) patience: Patience,
    pub(super) mode: LeaseMode,
}

/// What became of one conditional replace.
pub(super) enum Replaced {
    Written(Stored, RequestCharge),
    /// Somebody else's version stands there, or none.
    Refused(Option<Stored>),
    /// The store failed. When the write may have happened all the same, the next refusal may be our own success.
    Failed(feedmill_store_api::Error),
}

impl Table {
    pub(crate) fn new(
        container: Arc<dyn Container>,
        prefix: &str,
        owner: Arc<Owner>,
        patience: Patience,
        mode: LeaseMode,
    ) -> Self {
        Self { container, prefix: prefix.into(), owner, patience, mode }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether leases carry a `partitionKey` field, as .NET has it in containers by that key.
    pub(super) fn by_partition_key(&self) -> bool {
        self.container.partition_key_paths().iter().any(|path| path == "/partitionKey")
    }

    /// All leases.
    pub(crate) async fn list(&self) -> Result<Vec<Stored>, Error> {
        let attempted = format!("list the leases {}", self.prefix);
        let query = ids_beginning_with(format!("{}..", self.prefix));
        let mut listing = Listing::of(&*self.container, &self.patience, &attempted, query);
        let mut leases = Vec::new();
        while let Some(page) = listing.next().await.map_err(Error::store(&attempted))? {
            for body in page {
                leases.push(listed(body)?);
            }
        }
        Ok(leases)
    }

    pub(super) async fn read(&self, lease: &LeaseDocument) -> Result<Option<Stored>, feedmill_store_api::Error> {
        let (document, _) = self.container.read(lease.key(), lease.id(), &ReadLevel::Quorum).await?;
        document.map(|document| Stored::parse(&document)).transpose().map_err(|error| {
            feedmill_store_api::Error::new(ErrorKind::Corrupt, format!("read lease {}", lease.id())).with_source(error)
        })
    }

    /// Creates the lease unless there is one.
    pub(super) async fn create(&self, mut lease: LeaseDocument) -> Result<(), Error> {
        let body = lease.body();
        self.create_document(lease.key(), lease.id(), body).await
    }

    /// Creates a lease that is free, unless there is one.
    pub(crate) async fn create_free(&self, range: FeedRange, start: &FeedStart) -> Result<(), Error> {
        self.create(LeaseDocument::new(&self.prefix, range, start, self.by_partition_key())?).await
    }

    /// Replaces the lease where it is still as it was `stored`. Otherwise the inner error says what stands there now.
    /// Outlasts outages.
    pub(crate) async fn write_over(
        &self,
        stored: &Stored,
        wanted: LeaseDocument,
    ) -> Result<Result<Stored, Option<Stored>>, Error> {
        let attempted = format!("write lease {}", stored.lease.id());
        let mut backoff = self.patience.backoff();
        let mut doubt = false;
        loop {
            match self.replace(stored, wanted.clone()).await {
                Replaced::Written(written, _) => return Ok(Ok(written)),
                Replaced::Refused(Some(found)) if doubt && found.lease.is_same_taking(&wanted) => return Ok(Ok(found)),
                Replaced::Refused(found) => return Ok(Err(found)),
                Replaced::Failed(error) if is_outage(error.kind()) => {
                    doubt |= error.applied() == Applied::Perhaps;
                    self.patience.wait(&mut backoff, &attempted, &error).await;
                }
                Replaced::Failed(error) => return Err(Error::store(attempted)(error)),
            }
        }
    }

    pub(super) async fn is_marked(&self) -> Result<bool, Error> {
        let (id, key) = self.marker()?;
        let attempted = format!("read the marker {id}");
        let found = self.patience.outlast(&attempted, || self.container.read(&key, &id, &ReadLevel::Quorum)).await;
        Ok(found.map_err(Error::store(attempted))?.0.is_some())
    }

    /// Says, as .NET does, that all leases were made.
    pub(crate) async fn mark(&self) -> Result<(), Error> {
        let (id, key) = self.marker()?;
        let body = if self.by_partition_key() {
            json!({"id": id.as_str(), "partitionKey": id.as_str()})
        } else {
            json!({"id": id.as_str()})
        };
        self.create_document(&key, &id, Bytes::from(body.to_string())).await
    }

    /// One replace on the condition that the lease is still at `stored`'s version; a refusal is read back.
    pub(super) async fn replace(&self, stored: &Stored, mut wanted: LeaseDocument) -> Replaced {
        wanted.stamp(self.patience.clock.now());
        let body = wanted.body();
        let (key, id) = (stored.lease.key(), stored.lease.id().clone());
        let operation = Operation::Replace { id, body, if_match: Some(stored.etag.clone()) };
        match self.container.write(key, operation).await {
            Ok(Written { etag: Some(etag), charge, .. }) => Replaced::Written(Stored { lease: wanted, etag }, charge),
            Err(error) if !matches!(error.kind(), ErrorKind::Precondition | ErrorKind::NotFound) => {
                Replaced::Failed(error)
            }
            _ if !Protection::ReadBack.holds() => Replaced::Refused(None),
            refused => {
                // The adapter may have tried twice: the first attempt wrote, and the second met what it wrote.
                let doubtful = refused.is_err_and(|error| error.applied() == Applied::Perhaps);
                match self.read(&wanted).await {
                    Ok(Some(found))
                        if doubtful
                            && found.lease.is_same_taking(&wanted)
                            && found.lease.position() == wanted.position() =>
                    {
                        Replaced::Written(found, RequestCharge::ZERO)
                    }
                    Ok(found) => Replaced::Refused(found),
                    // Until somebody has looked, it may still be our own.
                    Err(error) if doubtful && Protection::LastingDoubt.holds() => {
                        Replaced::Failed(error.perhaps_applied())
                    }
                    Err(error) => Replaced::Failed(error),
                }
            }
        }
    }

    /// For which ranges the first leases are made: what was written down first counts. Hosts that begin together while the
    /// source is being split would otherwise make leases that overlap.
    pub(super) async fn agree(&self, ranges: Vec<FeedRange>) -> Result<Vec<FeedRange>, Error> {
        let (id, key) = self.beside("ranges")?;
        let mut agreed = json!({"id": id.as_str(), "ranges": ranges});
        if self.by_partition_key() {
            agreed["partitionKey"] = id.as_str().into();
        }
        self.create_document(&key, &id, Bytes::from(agreed.to_string())).await?;
        let attempted = format!("read {id} in {}", self.container.name());
        let read = self.patience.outlast(&attempted, || self.container.read(&key, &id, &ReadLevel::Quorum)).await;
        #[derive(serde::Deserialize)]
        struct Agreed {
            ranges: Vec<FeedRange>,
        }
        match read.map_err(Error::store(&attempted))?.0 {
            Some(found) => Ok(found.parse::<Agreed>().map_err(Error::store(attempted))?.ranges),
            // Somebody removed it just now: then nobody has agreed on anything else.
            None => Ok(ranges),
        }
    }

    fn marker(&self) -> Result<(DocumentId, PartitionKey), Error> {
        self.beside("info")
    }

    /// A document of this name about all leases, outside `{prefix}..`.
    pub(super) fn beside(&self, name: &str) -> Result<(DocumentId, PartitionKey), Error> {
        let id = DocumentId::new(format!("{}.{name}", self.prefix)).map_err(|source| Error::Id {
            prefix: self.prefix.to_string(),
            token: name.to_owned(),
            source,
        })?;
        let key = PartitionKey::from(id.as_str());
        Ok((id, key))
    }

    async fn create_document(&self, key: &PartitionKey, id: &DocumentId, body: Bytes) -> Result<(), Error> {
        let attempted = format!("create {id} in {}", self.container.name());
        let create = || self.container.write(key, Operation::Create { id: id.clone(), body: body.clone() });
        match self.patience.outlast(&attempted, create).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(Error::store(attempted)(error)),
            // Ours or another host's: ids are deterministic, and what was first stays.
            _ => Ok(()),
        }
    }
}

/// A lease of a listing.
pub(crate) fn listed(body: Bytes) -> Result<Stored, Error> {
    #[derive(serde::Deserialize)]
    struct Version {
        _etag: feedmill_store_api::ETag,
    }
    let unreadable = |error: serde_json::Error| Error::Unreadable { id: "?".to_owned(), reason: error.to_string() };
    let version: Version = serde_json::from_slice(&body).map_err(unreadable)?;
    Stored::parse(&feedmill_store_api::Document { etag: version._etag, body })
}
