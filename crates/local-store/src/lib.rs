//! A Cosmos-compatible document store in this process: the databases, containers and change feeds of
//! [`feedmill_store_api`], in memory or on disk.
//!
//! What it keeps of Cosmos: etags and conditions, one LSN for each commit of a physical partition, the change feed in both modes, splits and merges of partitions, transactional batches, time to live, composite indexes, SQL queries, limits and request charges. What it refuses:
//! to be opened by a second process, to acknowledge anything after a write or sync has failed, and queries outside the
//! subset of `feedmill-query`.
//!
//! Read `commit.rs` first: everything else reads what it writes. `storage/mod.rs` is all that differs between memory and
//! disk.

mod adapter;
mod batch;
mod body;
mod catalog;
mod change_log;
mod charge;
mod check;
mod commit;
mod container;
mod continuation;
mod control;
#[cfg(test)]
mod costs;
mod database;
mod directory;
mod drop;
mod epk;
mod error;
mod history;
mod keys;
mod layout;
mod metrics;
mod options;
mod partition;
mod plan;
mod read;
mod resume;
mod rid;
mod scan;
mod schema;
mod served;
mod split;
mod storage;
mod transaction;
mod ttl;
mod value;

pub use charge::ChargeOptions;
pub use check::Damage;
pub use control::{PhysicalPartition, lsn_of};
pub use database::{LocalStore, Stats};
pub use epk::key_range;
pub use error::OpenError;
pub use history::{Happened, HistoryPage};
pub use keys::EventKind;
pub use options::Options;
pub use resume::ResumeFilter;
#[cfg(feature = "simulated-disk")]
pub use storage::SimulatedDisk;
pub use transaction::{Done, Step, Transacted};
