//! What the tests of processors stand on: the real local store in memory, and its feeds delivered by hand.
//!
//! Without an engine around it a test says which processor sees which change when. Refuses everything that only a running
//! engine can show: leases, checkpoints, retries. Only tests depend on it. Read `world.rs` first; `ledger.rs` says
//! what each request cost.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod ledger;
mod world;

pub use ledger::{Ledger, Request, RequestKind};
pub use world::World;
