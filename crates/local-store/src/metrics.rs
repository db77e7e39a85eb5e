//! What the store counts. Nobody listens unless a recorder is installed.

use metrics::counter;

/// Commits that took effect, by container.
const COMMITS: &str = "feedmill_store_commits_total";
/// Requests to write that were refused for what is stored or for what they are, by container.
const REFUSALS: &str = "feedmill_store_refusals_total";
/// Syncs of the journal; many commits share one.
const SYNCS: &str = "feedmill_store_syncs_total";

pub(crate) fn committed(container: &str) {
    counter!(COMMITS, "container" => container.to_owned()).increment(1);
}

pub(crate) fn refused(container: &str) {
    counter!(REFUSALS, "container" => container.to_owned()).increment(1);
}

pub(crate) fn synced() {
    counter!(SYNCS).increment(1);
}
