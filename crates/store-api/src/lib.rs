//! What feedmill asks of a Cosmos-shaped store: vocabulary, traits, and (feature `conformance`) the suite every adapter
//! runs.
//!
//! Nothing here knows an adapter. Every future may be dropped at any time; a dropped write may or may not have happened.
//! Read `database.rs` first, then `documents.rs` and `feed.rs`.

mod change;
mod charge;
#[cfg(feature = "conformance")]
pub mod conformance;
mod container;
mod database;
mod difference;
mod document;
mod documents;
mod error;
mod feed;
mod passing;
mod position;
mod query;
mod range;

pub use change::{Change, FeedPage};
pub use charge::RequestCharge;
pub use container::{ContainerSpec, DefaultTtl, IndexPath, Order};
pub use database::{Container, Database, Provisioned, Throughput};
pub use difference::Difference;
pub use document::{DocumentId, ETag, InvalidId, KeyPart, PartitionKey};
pub use documents::{BatchOutcome, Document, Documents, Operation, ReadLevel, SessionToken, Written};
pub use error::{Applied, Error, ErrorKind, Result};
pub use feed::{ChangeFeed, FeedStart};
pub use passing::{PassingContainer, PassingDatabase};
pub use position::Position;
pub use query::{PageRequest, Query, QueryPage, Scope};
pub use range::{FeedRange, InvalidRange};

/// Limits every adapter enforces; from the service's documentation.
pub mod limits {
    /// Bytes of an item's JSON text.
    pub const ITEM_BYTES_MAX: usize = 2 * 1024 * 1024;
    /// Operations of one transactional batch.
    pub const BATCH_OPERATIONS_MAX: usize = 100;
    /// Documents of one key that are read one by one: from more on, a query for all of them costs less.
    pub const POINT_READS_MAX: usize = 3;
    /// Bytes of all bodies of one transactional batch.
    pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
    /// Bytes of a document id.
    pub const ID_BYTES_MAX: usize = 1_023;
    /// Bytes of a partition key.
    pub const PARTITION_KEY_BYTES_MAX: usize = 2_048;
}
