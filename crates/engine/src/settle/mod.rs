//! Settling: the one way anything derived is written.

mod desired;
mod projection;
mod reader;
mod settler;

pub use desired::{Basis, Desired, Expiry, Fields, Lineage, SourceRef};
pub use projection::{Address, Projection};
pub use reader::{Reader, Tally};
pub use settler::{SettleError, Settler};
