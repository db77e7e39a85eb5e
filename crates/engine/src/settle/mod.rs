//! Settling: the one way anything derived is written.
//!
//! [`Settler::settle`] reads the target, then its sources, computes what the target should be, and writes it on the
//! condition that the target is still the one that was read. Read `settler.rs` for the order of things and `decide.rs`
//! for when nothing is written.

mod compare;
mod decide;
mod desired;
mod envelope;
mod eraser;
mod metrics;
mod options;
mod pace;
mod projection;
mod reader;
mod send;
mod settler;
mod tally;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use compare::{Act, Difference, DifferenceKind, Judged, LikelyCause};
pub use desired::{Basis, Desired, Expiry, Fields, Lineage, SourceRef};
pub use eraser::Eraser;
pub use options::Options;
pub use projection::{Address, Projection};
pub use reader::Reader;
pub use settler::{SettleError, Settler};
pub use tally::{ContainerTally, Tally};
pub use writer::Writer;
