//! A seeded world around the real engine and the real processors on the real local store: actors write, hosts crash and
//! freeze, requests get lost, late and doubled, and everything must still come out as `workload::expected` says.
//!
//! One number decides everything, the order of events included, so a failing seed can be replayed. Nothing here ships.
//! Read `stage.rs` first (one thread, simulated time), then `network/` (what happens to requests), then `tiny/` and
//! `full/` (the worlds), then `oracle/` (what must hold). `audience.rs` and `subject.rs` ask how long
//! things take and what they cost, where nothing goes wrong (`supply.rs`).

mod audience;
mod documents;
mod full;
mod gate;
mod host_clock;
mod mutant;
mod network;
mod oracle;
mod power;
mod run;
mod seed;
mod signal;
mod stage;
mod store;
mod subject;
mod supply;
mod tiny;
mod trace;
mod verdict;

pub use audience::{Audience, Figures, percentile};
pub use mutant::Mutant;
pub use run::{Run, Scale};
pub use seed::Seed;
pub use subject::{Cost, Subject};
pub use trace::Sink;
pub use verdict::{Failure, Story};

/// When every simulated world begins: 1 January 2020, noon.
pub(crate) const BEGINNING: jiff::Timestamp = jiff::Timestamp::constant(1_577_880_000, 0);
