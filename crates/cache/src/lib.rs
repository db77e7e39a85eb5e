//! Redis as a cache of projections: `feed:{user}` and `counter:{subject}`, kept by the change feed of what they show.
//!
//! Not one of the processors' crates, because nothing else should compile a Redis client. It refuses to be a store: whatever
//! is in Redis, and whenever it goes away, the answer is that of the store. Three rules make that true. What changed is removed,
//! and the change feed does not go on before Redis has said so. What is read to be cached is cached only if nothing of it was
//! removed meanwhile, which the permit of a fill says, and a Redis that lost its data has lost the permits too. And everything
//! expires. Read `cache.rs` first, then `handler.rs`.

mod cache;
mod handler;
mod options;
mod subject;

pub use cache::{Cache, Error, Permit};
pub use handler::processors;
pub use options::{OnChange, Options};
pub use subject::{Kind, Subject};

/// Name of the processors.
pub const NAME: &str = "cache";
