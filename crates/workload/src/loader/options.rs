use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How source documents are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Requests in flight at most (default 64).
    pub requests_in_flight_max: usize,
    /// Writes gathered before they are sent (default 4,000). Of several versions of one document among them only the
    /// last is written. Bounds memory: at most this many documents are held.
    pub chunk_writes_max: usize,
    /// How long one request is tried while the store throttles or cannot be reached (default 2 minutes).
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub give_up_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { requests_in_flight_max: 64, chunk_writes_max: 4_000, give_up_after: Duration::from_secs(120) }
    }
}
