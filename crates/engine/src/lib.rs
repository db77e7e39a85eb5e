//! Leases, delivery and settling: everything between a change feed and a projection.
//!
//! Knows no Cosmos, no processor and no document schema beyond the envelope of a derived document (`id`, key, `ttl`,
//! `deletedAt`, `_source`). Read `handler.rs` for what a processor sees, `settle/mod.rs` for the one way anything is
//! written, `engine.rs` for how it all runs, `fleet/mod.rs` for how hosts share the work.

mod backlog;
mod dead_letters;
mod engine;
mod error;
mod events;
mod fleet;
mod handler;
mod lag;
mod lease;
mod lifetime;
mod limits;
mod listing;
pub mod metrics;
mod operator;
mod options;
mod processor;
mod protection;
mod range;
mod retry;
mod settle;
mod shutdown;
mod spans;
mod supervisor;
mod worker;

#[cfg(test)]
mod tests;

pub use backlog::{Backlog, Waiting};
pub use dead_letters::{DeadLetters, Letter, LetterFilter, LetterState};
pub use engine::{Engine, Parts, Summary};
pub use error::EngineError;
pub use events::Event;
pub use fleet::Pace;
#[cfg(feature = "planning")]
pub use fleet::Planning;
pub use handler::{Delivery, Handler, Outcome, Rejection};
pub use lag::{RangeStatus, Status};
pub use lease::Error as LeaseError;
pub use lifetime::Lifetime;
pub use operator::{
    Adopted, Audit, Doing, Fault, HostRecord, Lag, LeaseRecord, Operator, RangeIds, Repair, RewindTo, Unadoptable,
};
pub use options::{LeaseMode, OnError, Options, OptionsError};
pub use processor::{Processor, StartFrom};
#[cfg(feature = "mutants")]
pub use protection::Protection;
pub use settle::{
    Act, Address, Basis, ContainerTally, Desired, Difference, DifferenceKind, Eraser, Expiry, Fields, Judged,
    LikelyCause, Lineage, Options as SettleOptions, Projection, Reader, SettleError, Settler, SourceRef, Tally, Writer,
};
pub use worker::RangeState;
