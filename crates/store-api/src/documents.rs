use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::{
    DocumentId, ETag, Error, ErrorKind, PageRequest, PartitionKey, Query, QueryPage, RequestCharge, Result, Scope,
};

/// A stored document with its system fields (`_etag`, `_ts`, `_rid`, `_self`).
#[derive(Clone, Debug)]
pub struct Document {
    pub etag: ETag,
    /// JSON text of an object.
    pub body: Bytes,
}

impl Document {
    /// `Corrupt` when the text does not fit `T`.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "parse a stored document").with_source(error))
    }
}

/// How fresh a read must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadLevel {
    /// At least as new as what the token says; nothing about other containers.
    Session(SessionToken),
    /// As new as the last acknowledged write (`LatestCommitted`), at twice the charge.
    Quorum,
}

/// What a client has seen of one container: opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionToken(pub String);

/// One write within one partition key. `body` is the JSON text of an object that carries `id` and the key's fields.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `Conflict` when the id is taken.
    Create { id: DocumentId, body: Bytes },
    /// Create or replace, without a condition. Only sources and imports use it: projections are written conditionally.
    Upsert { id: DocumentId, body: Bytes },
    /// `NotFound` when there is none; `Precondition` when its etag is another.
    Replace { id: DocumentId, body: Bytes, if_match: Option<ETag> },
    /// `NotFound` when there is none; `Precondition` when its etag is another.
    Delete { id: DocumentId, if_match: Option<ETag> },
}

impl Operation {
    pub fn id(&self) -> &DocumentId {
        match self {
            Self::Create { id, .. } | Self::Upsert { id, .. } | Self::Replace { id, .. } | Self::Delete { id, .. } => {
                id
            }
        }
    }

    /// Zero for a delete.
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Create { body, .. } | Self::Upsert { body, .. } | Self::Replace { body, .. } => body.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// An acknowledged write: durable as the store promises it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The new version; `None` after a delete.
    pub etag: Option<ETag>,
    pub charge: RequestCharge,
    pub session: SessionToken,
}

/// What became of a transactional batch.
#[derive(Debug)]
pub enum BatchOutcome {
    /// All operations took effect at once, under one LSN. One etag an operation, `None` for a delete.
    Committed { etags: Vec<Option<ETag>>, charge: RequestCharge, session: SessionToken },
    /// None took effect; `error` is that of the operation at `index`.
    Refused { index: usize, error: Error, charge: RequestCharge },
}

/// Reads and writes of one container.
pub trait Documents: Send + Sync {
    /// The document, or `None` when there is none or it has expired.
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>>;

    /// Several documents of one key, in the order of `ids`. At most 100 ids. The service has no request for it: up to
    /// [`POINT_READS_MAX`](crate::limits::POINT_READS_MAX) it costs what as many reads do, beyond what one query for them does,
    /// to which a document that is not there adds nothing.
    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>>;

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>>;

    /// All or nothing, within one partition key; limits as in [`crate::limits`].
    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>>;

    /// One page of a query. Within a partition key the cost is that of the page where an index gives its order.
    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>>;
}
