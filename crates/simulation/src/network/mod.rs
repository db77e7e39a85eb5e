//! Between a host and the store: requests take their time, get lost, arrive late or twice, and are refused.
//!
//! The store behind it answers at once and truthfully; all faults are made here. Read `fate.rs` for what can happen to a
//! request, `link.rs` for how it does.

mod container;
mod database;
mod fate;
mod link;
mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use feedmill_clock::{Entropy, ManualClock};
use feedmill_store_api::{Database, Operation};
use parking_lot::Mutex;

pub(crate) use database::FaultyDatabase;
pub(crate) use fate::Weather;
pub(crate) use link::{Cut, Link, Reach};
pub(crate) use replicas::Replicas;

use crate::signal::Signal;
use crate::trace::Trace;

/// What all links share. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network(Arc<Inner>);

struct Inner {
    clock: ManualClock,
    entropy: Entropy,
    trace: Trace,
    weather: Mutex<Weather>,
    requests: AtomicU64,
    /// Writes that may still take effect, whether their senders wait for them or not.
    writes_under_way: AtomicU64,
    /// Who sent a write last that will be late.
    waiting_for_late: Mutex<Option<Arc<str>>>,
    /// Counts what was written, by container.
    landed: Mutex<BTreeMap<String, Signal>>,
    replicas: Replicas,
    /// The store as it is, past all faults.
    truth: Arc<dyn Database>,
    /// Containers whose lists come from a copy that lags behind.
    copied: &'static [&'static str],
    witness: Arc<dyn Witness>,
}

/// What a network is made of.
pub(crate) struct Ground {
    pub(crate) clock: ManualClock,
    pub(crate) entropy: Entropy,
    pub(crate) weather: Weather,
    pub(crate) trace: Trace,
    pub(crate) replicas: Replicas,
    pub(crate) truth: Arc<dyn Database>,
    pub(crate) copied: &'static [&'static str],
    pub(crate) witness: Arc<dyn Witness>,
}

/// Who is told what took effect, at the moment it did.
pub(crate) trait Witness: Send + Sync {
    /// Somebody sends a write, and waits until it is answered.
    fn sends(&self, sender: &str, container: &str);

    fn waits_no_more(&self, sender: &str, container: &str);

    /// `sender` is the life of a host, whether it still knows of it or not.
    fn landed(&self, sender: &str, container: &str, operation: &Operation);
}

/// Nobody.
pub(crate) struct NoWitness;

impl Witness for NoWitness {
    fn sends(&self, _sender: &str, _container: &str) {}

    fn waits_no_more(&self, _sender: &str, _container: &str) {}

    fn landed(&self, _sender: &str, _container: &str, _operation: &Operation) {}
}

impl Network {
    pub(crate) fn new(ground: Ground) -> Self {
        let Ground { clock, entropy, weather, trace, replicas, truth, copied, witness } = ground;
        Self(Arc::new(Inner {
            clock,
            entropy,
            trace,
            weather: Mutex::new(weather),
            requests: AtomicU64::new(0),
            writes_under_way: AtomicU64::new(0),
            waiting_for_late: Mutex::default(),
            landed: Mutex::default(),
            replicas,
            truth,
            copied,
            witness,
        }))
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.0.weather.lock()
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.0.weather.lock() = weather;
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Whether any write may still take effect: those that are late, doubled, or of a host that crashed, too.
    pub(crate) fn is_writing(&self) -> bool {
        self.0.writes_under_way.load(Ordering::Relaxed) > 0
    }

    /// Whose last write will be late, unless that was asked before: if it crashes now, nobody sends it again.
    pub(crate) fn take_waiting_for_late(&self) -> Option<Arc<str>> {
        self.0.waiting_for_late.lock().take()
    }

    /// Changes whenever something was written to the container.
    pub(crate) fn landings(&self, container: &str) -> Signal {
        self.0.landed.lock().entry(container.to_owned()).or_default().clone()
    }
}
