//! What settling reports. Labels: `container`, as bounded as the configuration is.

use super::tally::Tally;
use crate::metrics::charged;

/// Documents written, by container.
const WRITTEN: &str = "feedmill_engine_documents_written_total";
/// Targets that already were as they should be, by container.
const SKIPPED: &str = "feedmill_engine_targets_skipped_total";
/// Writes that met another version and were settled again, by container.
const CONFLICTS: &str = "feedmill_engine_write_conflicts_total";
/// Requests that may be in flight at once now.
const WINDOW: &str = "feedmill_engine_request_window";

/// Requests that write and are under way.
const IN_FLIGHT: &str = "feedmill_engine_requests_in_flight";
/// Requests that write and wait for a place.
const WAITING: &str = "feedmill_engine_requests_waiting";

pub(super) fn report(tally: &Tally) {
    for (container, tally) in &tally.containers {
        let label = || container.to_string();
        metrics::counter!(WRITTEN, "container" => label()).increment(tally.written);
        metrics::counter!(SKIPPED, "container" => label()).increment(tally.skipped);
        metrics::counter!(CONFLICTS, "container" => label()).increment(tally.conflicts);
        charged(container, "read", tally.reads);
        charged(container, "write", tally.writes);
    }
}

pub(super) fn window(limit: usize) {
    metrics::gauge!(WINDOW).set(limit as f64);
}

pub(super) fn requests(in_flight: usize, waiting: usize) {
    metrics::gauge!(IN_FLIGHT).set(in_flight as f64);
    metrics::gauge!(WAITING).set(waiting as f64);
}
