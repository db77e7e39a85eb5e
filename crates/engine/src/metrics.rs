//! What delivery reports. Labels: `processor` and `source`, as bounded as the configuration is; others are said with the metric and have
//! a handful of values. What is told of each range is in [`crate::Status::ranges`].

/// Pages read from feeds.
pub const PAGES: &str = "feedmill_engine_pages_total";
/// Changes read from feeds.
pub const CHANGES: &str = "feedmill_engine_changes_total";
/// Changes settled or written down as dead letters.
pub const DELIVERED: &str = "feedmill_engine_changes_delivered_total";
/// Times a handler was called.
pub const DELIVERIES: &str = "feedmill_engine_deliveries_total";
/// Times a delivery failed, by its own fault or the store's.
pub const FAILURES: &str = "feedmill_engine_delivery_failures_total";
/// Seconds a successful delivery took.
pub const DELIVERY_SECONDS: &str = "feedmill_engine_delivery_seconds";
/// Checkpoints written: one request each.
pub const CHECKPOINTS: &str = "feedmill_engine_checkpoints_total";
/// Dead letters written.
pub const DEAD_LETTERS: &str = "feedmill_engine_dead_letters_total";
/// Seconds from a change's own time, which the store gives in whole seconds, until all it leads to was written; by change.
pub const PROJECTION_SECONDS: &str = "feedmill_engine_change_to_projection_seconds";
/// Leases that came to this host or left it, by `cause`.
pub const LEASE_MOVES: &str = "feedmill_engine_lease_moves_total";
/// Requests that are sent again, or whose range waits, by `reason` (throttled, unavailable, forbidden). No other labels.
pub const RETRIES: &str = "feedmill_engine_request_retries_total";
/// Request units (hundredths, because a counter holds whole numbers), by `container` and `purpose` (feed, lease, read, write). No other labels.
pub const CHARGE: &str = "feedmill_engine_request_units_hundredths_total";
/// Ranges that were split and whose parts got leases.
pub const DIVISIONS: &str = "feedmill_engine_ranges_divided_total";
/// Other hosts whose heartbeat stood still. No labels.
pub const HOSTS_DIED: &str = "feedmill_engine_hosts_died_total";
/// Ranges that halted.
pub const HALTS: &str = "feedmill_engine_ranges_halted_total";
/// Age of the oldest change that is read and not settled: of the worst range.
pub const LAG_SECONDS: &str = "feedmill_engine_feed_lag_seconds";
/// Commits between the last settled page and the head: the sum of all ranges.
pub const LAG_CHANGES: &str = "feedmill_engine_feed_lag_changes";
/// Changes that are read and not settled: the sum of all ranges.
pub const CHANGES_WAITING: &str = "feedmill_engine_changes_waiting";

use std::sync::Arc;
use std::time::Duration;

use feedmill_store_api::{Change, ErrorKind, RequestCharge};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

pub(crate) fn host_died() {
    counter!(HOSTS_DIED).increment(1);
}

const THROTTLED: &str = "throttled";
const FORBIDDEN: &str = "forbidden";
const UNAVAILABLE: &str = "unavailable";

/// What has not happened yet is 0 and not absent, so that the first time is seen as a rise.
pub(crate) fn begin() {
    counter!(HOSTS_DIED).increment(0);
    for reason in [THROTTLED, FORBIDDEN, UNAVAILABLE] {
        counter!(RETRIES, "reason" => reason).increment(0);
    }
}

/// A request is sent again.
pub(crate) fn retried(kind: ErrorKind) {
    let reason = match kind {
        ErrorKind::Throttled { .. } => THROTTLED,
        ErrorKind::Forbidden => FORBIDDEN,
        _ => UNAVAILABLE,
    };
    counter!(RETRIES, "reason" => reason).increment(1);
}

pub(crate) fn charged(container: &str, purpose: &'static str, charge: RequestCharge) {
    let hundredths = (charge.units() * 100.0).round() as u64;
    counter!(CHARGE, "container" => container.to_owned(), "purpose" => purpose).increment(hundredths);
}

/// Why a lease came to this host or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseMove {
    /// It was free, or its owner had died.
    Taken,
    /// Another host handed it to us.
    Received,
    /// The plan wants it on another host, which got it from us.
    HandedOver,
    /// This host stops, the processor is paused, or an operator wants it free.
    Freed,
    /// Somebody else has it, without our doing.
    Lost,
    /// The range was split, and its parts have leases.
    Divided,
}

impl LeaseMove {
    const ALL: [Self; 6] = [Self::Taken, Self::Received, Self::HandedOver, Self::Freed, Self::Lost, Self::Divided];

    fn cause(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Received => "received",
            Self::HandedOver => "handed-over",
            Self::Freed => "freed",
            Self::Lost => "lost",
            Self::Divided => "divided",
        }
    }
}

/// The instruments of one processor and source, looked up once: a look-up per delivery would cost more than the rest.
#[derive(Clone)]
pub(crate) struct Labels(Arc<Instruments>);

struct Instruments {
    pages: Counter,
    changes: Counter,
    delivered: Counter,
    deliveries: Counter,
    failures: Counter,
    delivery_seconds: Histogram,
    checkpoints: Counter,
    dead_letters: Counter,
    projection_seconds: Histogram,
    lease_moves: [Counter; LeaseMove::ALL.len()],
    divisions: Counter,
    halts: Counter,
    lag_seconds: Gauge,
    lag_changes: Gauge,
    changes_waiting: Gauge,
}

impl Labels {
    pub(crate) fn new(processor: &str, source: &str) -> Self {
        let labels = [("processor", processor.to_owned()), ("source", source.to_owned())];
        Self(Arc::new(Instruments {
            pages: counter!(PAGES, &labels),
            changes: counter!(CHANGES, &labels),
            delivered: counter!(DELIVERED, &labels),
            deliveries: counter!(DELIVERIES, &labels),
            failures: counter!(FAILURES, &labels),
            delivery_seconds: histogram!(DELIVERY_SECONDS, &labels),
            checkpoints: counter!(CHECKPOINTS, &labels),
            dead_letters: counter!(DEAD_LETTERS, &labels),
            projection_seconds: histogram!(PROJECTION_SECONDS, &labels),
            lease_moves: LeaseMove::ALL.map(|moved| {
                let cause = [("cause", moved.cause().to_owned())];
                counter!(LEASE_MOVES, [&labels[..], &cause].concat().as_slice())
            }),
            divisions: counter!(DIVISIONS, &labels),
            halts: counter!(HALTS, &labels),
            lag_seconds: gauge!(LAG_SECONDS, &labels),
            lag_changes: gauge!(LAG_CHANGES, &labels),
            changes_waiting: gauge!(CHANGES_WAITING, &labels),
        }))
    }

    pub(crate) fn page(&self, changes: usize) {
        self.0.pages.increment(1);
        self.0.changes.increment(changes as u64);
    }

    pub(crate) fn delivered(&self, changes: usize) {
        self.0.delivered.increment(changes as u64);
    }

    pub(crate) fn delivery(&self, took: Duration) {
        self.0.deliveries.increment(1);
        self.0.delivery_seconds.record(took.as_secs_f64());
    }

    pub(crate) fn failure(&self) {
        self.0.deliveries.increment(1);
        self.0.failures.increment(1);
    }

    pub(crate) fn checkpoint(&self) {
        self.0.checkpoints.increment(1);
    }

    pub(crate) fn dead_letter(&self) {
        self.0.dead_letters.increment(1);
    }

    /// All that these changes lead to is written.
    pub(crate) fn projected(&self, changes: &[Change], now_seconds: i64) {
        for change in changes {
            self.0.projection_seconds.record(now_seconds.saturating_sub(change.timestamp_seconds).max(0) as f64);
        }
    }

    pub(crate) fn lease_moved(&self, moved: LeaseMove) {
        self.0.lease_moves[moved as usize].increment(1);
    }

    pub(crate) fn divided(&self) {
        self.0.divisions.increment(1);
        self.lease_moved(LeaseMove::Divided);
    }

    pub(crate) fn halt(&self) {
        self.0.halts.increment(1);
    }

    pub(crate) fn waiting(&self, changes: usize) {
        self.0.changes_waiting.set(changes as f64);
    }

    pub(crate) fn lag(&self, seconds: Option<f64>, changes: Option<u64>) {
        if let Some(seconds) = seconds {
            self.0.lag_seconds.set(seconds);
        }
        if let Some(changes) = changes {
            self.0.lag_changes.set(changes as f64);
        }
    }
}
