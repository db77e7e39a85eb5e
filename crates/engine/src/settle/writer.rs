use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Container, Database, Error, ErrorKind, Result};
use parking_lot::{Mutex, RwLock};

use super::eraser::Eraser;
use super::metrics;
use super::options::Options;
use super::pace::Pace;
use super::settler::Settler;
use super::tally::Tally;
use super::window::Window;
use crate::Delivery;
use crate::fleet::Pulse;

/// What all settlers of a host share: open containers, the request window, the sums. Clones share it.
#[derive(Clone)]
pub struct Writer(Arc<Shared>);

struct Shared {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    options: Options,
    window: Window,
    open: RwLock<BTreeMap<String, Arc<Opened>>>,
    totals: Mutex<Tally>,
    pulse: Pulse,
}

/// A container that was read or written before.
pub(super) struct Opened {
    pub(super) container: Arc<dyn Container>,
    /// Whether a target that is created straight away is likely not to be there. A guess that costs requests when it
    /// is wrong, never correctness.
    absence_expected: AtomicBool,
    pub(super) pace: Pace,
}

impl Writer {
    pub fn new(database: Arc<dyn Database>, clock: Arc<dyn Clock>, entropy: Entropy, options: Options) -> Self {
        Self::with_pulse(database, clock, entropy, options, Pulse::alone())
    }

    /// One that sends nothing once the host's time is over.
    pub(crate) fn with_pulse(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
        options: Options,
        pulse: Pulse,
    ) -> Self {
        let window = Window::new(options.requests_in_flight_max);
        let (open, totals) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Shared { database, clock, entropy, options, window, open, totals, pulse }))
    }

    /// Settles what one delivery concerns.
    pub fn settler<'a>(&'a self, delivery: &'a Delivery) -> Settler<'a> {
        Settler::new(self, Some(delivery), false)
    }

    /// Settles what somebody names by hand. With `repair` also what looks settled is written once more: for targets that
    /// somebody else has written over.
    pub fn operator(&self, repair: bool) -> Settler<'_> {
        Settler::new(self, None, repair)
    }

    /// Takes out what somebody names by hand, whatever its sources say.
    pub fn eraser(&self) -> Eraser<'_> {
        // With equal sources nothing would be written.
        Eraser::new(self.operator(true))
    }

    /// Everything settled so far, by settlers that have finished.
    pub fn totals(&self) -> Tally {
        self.0.totals.lock().clone()
    }

    pub(super) fn add(&self, tally: &Tally) {
        metrics::report(tally);
        self.0.totals.lock().add(tally);
    }

    pub(crate) fn report_requests(&self) {
        let (in_flight, waiting) = self.0.window.requests();
        metrics::requests(in_flight, waiting);
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(super) fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    pub(super) fn window(&self) -> &Window {
        &self.0.window
    }

    pub(super) async fn open(&self, name: &str) -> Result<Arc<Opened>> {
        if let Some(opened) = self.0.open.read().get(name) {
            return Ok(Arc::clone(opened));
        }
        let container = self.0.database.container(name).await?;
        let opened = Arc::new(Opened { container, absence_expected: AtomicBool::new(true), pace: Pace::default() });
        Ok(Arc::clone(self.0.open.write().entry(name.to_owned()).or_insert(opened)))
    }
}

impl Opened {
    /// Name of the field that holds the partition key.
    pub(super) fn key_field(&self) -> Result<&str> {
        match self.container.partition_key_paths() {
            [path] if path.rfind('/') == Some(0) => Ok(&path[1..]),
            paths => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "write derived documents into {}: its partition key must be one top-level field, not {}",
                    self.container.name(),
                    paths.join(", ")
                ),
            )),
        }
    }

    pub(super) fn expects_absence(&self) -> bool {
        self.absence_expected.load(Ordering::Relaxed)
    }

    pub(super) fn expect_absence(&self, expected: bool) {
        self.absence_expected.store(expected, Ordering::Relaxed);
    }
}
