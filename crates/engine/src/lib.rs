//! Leases, delivery and settling: everything between a change feed and a projection.
//!
//! Knows no Cosmos, no processor and no document schema beyond the envelope of a derived document (`id`, key, `ttl`,
//! `deletedAt`, `_source`). Read `handler.rs` for what a processor sees, `settle/mod.rs` for the one way anything is
//! written, `engine.rs` for how it all runs.

mod handler;
mod settle;

pub use handler::{Delivery, Handler, Outcome, Rejection};
pub use settle::{
    Address, Basis, Desired, Expiry, Fields, Lineage, Projection, Reader, SettleError, Settler, SourceRef, Tally,
};
