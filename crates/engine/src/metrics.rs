//! What delivery reports. Labels: `processor` and `source`, as bounded as the configuration is.

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
/// Leases lost to somebody else.
pub const LEASES_LOST: &str = "feedmill_engine_leases_lost_total";
/// Leases that began to be worked on here: taken, or handed to this host.
pub const LEASES_HELD: &str = "feedmill_engine_leases_held_total";
/// Leases freed or handed over in order.
pub const LEASES_GIVEN: &str = "feedmill_engine_leases_given_total";
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

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

pub(crate) fn host_died() {
    counter!(HOSTS_DIED).increment(1);
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
    leases_held: Counter,
    leases_given: Counter,
    leases_lost: Counter,
    divisions: Counter,
    halts: Counter,
    lag_seconds: Gauge,
    lag_changes: Gauge,
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
            leases_held: counter!(LEASES_HELD, &labels),
            leases_given: counter!(LEASES_GIVEN, &labels),
            leases_lost: counter!(LEASES_LOST, &labels),
            divisions: counter!(DIVISIONS, &labels),
            halts: counter!(HALTS, &labels),
            lag_seconds: gauge!(LAG_SECONDS, &labels),
            lag_changes: gauge!(LAG_CHANGES, &labels),
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

    pub(crate) fn lease_held(&self) {
        self.0.leases_held.increment(1);
    }

    pub(crate) fn lease_given(&self) {
        self.0.leases_given.increment(1);
    }

    pub(crate) fn divided(&self) {
        self.0.divisions.increment(1);
    }

    pub(crate) fn lease_lost(&self) {
        self.0.leases_lost.increment(1);
    }

    pub(crate) fn halt(&self) {
        self.0.halts.increment(1);
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
