//! The index processor: sources re-keyed one to one, so that what is asked later is a single-partition query.
//!
//! Which source becomes which index is [`feedmill_documents::Index`]; this crate settles them. It refuses a source document
//! that cannot be understood, so that everything behind an index may rely on its documents. Read `handler.rs` first.

mod handler;
mod options;
mod projection;
#[cfg(test)]
mod tests;

pub use handler::processors;
pub use options::Options;

/// Name of the processors.
pub const NAME: &str = "index";
