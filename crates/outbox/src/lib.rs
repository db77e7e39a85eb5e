//! From PostgreSQL to Cosmos: the relay that carries an outbox's events to source documents, and its operators' tools.
//!
//! A canonical row changes and its event is written in one transaction; a relay claims the event, writes the document on
//! the condition that no newer version is there, and marks the event. A crash in between repeats an idempotent write.
//! Refused on purpose: exactly-once delivery (effects are exactly-once because of versions), any order across keys, and
//! any knowledge of the customer's documents beyond what the routes in [`Options`] say.
//!
//! Read `relay.rs` first, then `claim.rs` and `publish.rs`; the canonical tables are in `migrations/`.

mod canon;
mod claim;
mod decide;
mod document;
mod drift;
mod error;
mod gauges;
mod lifetime;
mod mark;
pub mod metrics;
mod mirror;
mod operators;
mod options;
mod outbox;
mod progress;
mod publish;
mod relay;
mod relays;
mod retention;
mod retry;
mod route;
mod schema;
mod send;
mod snapshot;
mod source;
mod status;
mod stray;
mod table;
mod verify;
mod wake;

pub use canon::{Canon, Rows};
pub use drift::{Drift, check};
pub use error::{Error, Remedy};
pub use lifetime::Lifetime;
pub use operators::{Selection, Shown};
pub use options::{OnDead, Options};
pub use outbox::{Outbox, connect};
pub use progress::{Progress, Spent, Step, Summary};
pub use relay::Relay;
pub use relays::Relays;
pub use route::Route;
pub use schema::{Applied, migrate};
pub use snapshot::Loaded;
pub use source::SourceOptions;
pub use sqlx::PgPool;
pub use status::Status;
pub use table::TableOptions;
pub use verify::{Audit, Finding, FindingKind, Verified};
