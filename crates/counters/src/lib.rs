//! The counters processor: numbers about posts and people, counted anew whenever they may have changed.
//!
//! A counter is never added to: a delivery says which numbers may be wrong, and each becomes the number of live documents
//! in the one partition that holds them. Read `measure.rs` first.

mod handler;
mod measure;
mod opening;
mod options;
mod rebuild;
mod recount;
#[cfg(test)]
mod tests;

use feedmill_documents::containers;

pub use handler::processors;
pub use measure::Measure;
pub use options::Options;
pub use rebuild::rebuild;

/// Name of the processors of `counters`.
const NAME: &str = "counters";

/// Name of the processors.
pub fn name(options: &Options) -> String {
    containers::processor_of(&options.container, containers::COUNTERS, NAME)
}
