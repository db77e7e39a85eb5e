//! What an operator sees of a running feedmill: logs, metrics, and an HTTP endpoint for probes and scrapers.
//!
//! Knows nothing of feeds or stores. Installs process-wide things (subscriber, recorder, panic hook), so only `main`
//! calls it. Read `options.rs` first.

mod admin;
mod family;
mod metrics;
mod options;
mod panic;
mod probe;
mod traces;
mod tracing;

pub use admin::{Admin, AdminError, Probes};
pub use family::{Family, FamilyKind, Sample};
pub use metrics::{Metrics, MetricsError};
pub use options::{LogFormat, Options, Port};
pub use panic::log_panics;
pub use probe::Probe;
pub use traces::Traces;
pub use tracing::{TracingError, start_tracing};
