use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How targets are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long a tombstone stays. Late writes are harmless while tombstones live, so this is also the longest a write
    /// may be late.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub tombstone_ttl: Duration,
    /// A write is not sent later than this after its target was read; the target is then read again.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub settle_max: Duration,
    /// Requests in flight at most, over all ranges of this host. The window shrinks below it when the store throttles
    /// or slows down.
    pub requests_in_flight_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tombstone_ttl: Duration::from_secs(24 * 60 * 60),
            settle_max: Duration::from_secs(60),
            requests_in_flight_max: 64,
        }
    }
}
