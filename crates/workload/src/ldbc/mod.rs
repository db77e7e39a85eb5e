//! Social networks in the layouts of the LDBC Social Network Benchmark, as source documents.
//!
//! A folder holds `persons`, `knows`, `messages` and `likes` as `.csv` or `.csv.gz`, or `base.ndjson` with ids only, and
//! after these perhaps a stream of events: `updates.csv`, or `events.csv` with deletes. Read `dataset.rs` first; what a
//! delete takes along is in `network.rs`.

mod base;
mod dataset;
mod error;
mod events;
mod files;
mod network;
mod render;
mod rows;
mod snapshot;
mod stream;
mod table;

#[cfg(test)]
mod tests;

pub use dataset::Dataset;
pub use error::{Column, Error, Fault, NoFolder, Place};
pub use snapshot::{Counts, Snapshot};
pub use stream::{Event, Stream};
