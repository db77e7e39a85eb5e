//! What settling reports. Labels: `container`, as bounded as the configuration is.

use super::tally::Tally;

/// Documents written, by container.
const WRITTEN: &str = "feedmill_engine_documents_written_total";
/// Targets that already were as they should be, by container.
const SKIPPED: &str = "feedmill_engine_targets_skipped_total";
/// Writes that met another version and were settled again, by container.
const CONFLICTS: &str = "feedmill_engine_write_conflicts_total";
/// Request units (hundredths, because a counter holds whole numbers), by container and purpose.
const CHARGE: &str = "feedmill_engine_request_units_hundredths_total";
/// Requests that may be in flight at once now.
const WINDOW: &str = "feedmill_engine_request_window";

pub(super) fn report(tally: &Tally) {
    for (container, tally) in &tally.containers {
        let label = || container.to_string();
        metrics::counter!(WRITTEN, "container" => label()).increment(tally.written);
        metrics::counter!(SKIPPED, "container" => label()).increment(tally.skipped);
        metrics::counter!(CONFLICTS, "container" => label()).increment(tally.conflicts);
        let hundredths = |charge: feedmill_store_api::RequestCharge| (charge.units() * 100.0).round() as u64;
        metrics::counter!(CHARGE, "container" => label(), "purpose" => "read").increment(hundredths(tally.reads));
        metrics::counter!(CHARGE, "container" => label(), "purpose" => "write").increment(hundredths(tally.writes));
    }
}

pub(super) fn window(limit: usize) {
    metrics::gauge!(WINDOW).set(limit as f64);
}
