use std::sync::Arc;

use feedmill_clock::{Clock, ManualClock};
use feedmill_documents::containers;
use feedmill_engine::{Event, Processor};
use feedmill_store_api::{Operation, PartitionKey};
use parking_lot::Mutex;
use serde_json::Value;

use super::checkpoints::Checkpoints;
use super::coverage::Coverage;
use super::deliveries::{Deliveries, Watched};
use super::lease::{self, Feed};
use super::ownership::Ownership;
use super::writes::Writes;
use crate::network::Witness;
use crate::store::Store;
use crate::trace::Trace;

/// What must hold at every moment. Clones share what they have seen.
#[derive(Clone)]
pub(crate) struct Rules(Arc<Inner>);

struct Inner {
    broken: Mutex<Vec<String>>,
    deliveries: Mutex<Deliveries>,
    leases: Mutex<Leases>,
    writes: Mutex<Writes>,
    store: Store,
    clock: ManualClock,
    trace: Trace,
}

/// What is looked at when something is written into the lease container.
#[derive(Default)]
struct Leases {
    reader: lease::Reader,
    ownership: Ownership,
    coverage: Coverage,
    checkpoints: Checkpoints,
}

impl Rules {
    pub(crate) fn new(store: &Store, clock: &ManualClock, trace: Trace) -> Self {
        Self(Arc::new(Inner {
            broken: Mutex::default(),
            deliveries: Mutex::default(),
            leases: Mutex::default(),
            writes: Mutex::default(),
            store: store.clone(),
            clock: clock.clone(),
            trace,
        }))
    }

    /// The processor, with every delivery seen. `fleet`: whose leases it works with; `life`: which process it is in;
    /// `at_once_max`: how many deliveries a range may have under way.
    pub(crate) fn watched(&self, mut processor: Processor, fleet: &str, life: &str, at_once_max: usize) -> Processor {
        let feed = feed(&processor.name, fleet, &processor.source);
        let inner = Arc::clone(&processor.handler);
        processor.handler = Arc::new(Watched { inner, rules: self.clone(), feed, life: life.to_owned(), at_once_max });
        processor
    }

    /// A life begins, which may wait for so many writes of derived documents at the same time.
    pub(crate) fn begins(&self, life: &str, writes_at_once_max: usize) {
        self.0.writes.lock().begins(life, writes_at_once_max);
    }

    /// An engine tells what happens to its leases.
    pub(crate) fn heard(&self, fleet: &str, life: &str, event: &Event) {
        let ownership = &mut self.0.leases.lock().ownership;
        match event {
            Event::LeaseHeld { processor, source, range, epoch } => {
                let feed = feed(processor, fleet, source);
                self.0.deliveries.lock().begins(life, &feed);
                ownership.says_it_holds(life, feed, range.clone(), *epoch);
            }
            Event::LeaseLost { processor, source, range, .. } => {
                let breach = ownership.says_it_lost(life, feed(processor, fleet, source), range.clone());
                breach.into_iter().for_each(|breach| self.breach(breach));
            }
            Event::RangeHalted { processor, source, range, reason } => {
                self.breach(format!("{life} halts {processor} over {source} {range}: {reason}"));
            }
            _ => {}
        }
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.0.broken.lock().clone()
    }

    /// Ranges of a feed that overlap. While one is divided it does so with its parts.
    pub(crate) fn overlaps(&self) -> Vec<String> {
        self.0.leases.lock().ownership.overlaps()
    }

    pub(super) fn deliveries(&self) -> &Mutex<Deliveries> {
        &self.0.deliveries
    }

    /// What is wrong with a delivery that begins, and how many ranges the feed has.
    pub(super) fn delivers(&self, life: &str, feed: &Feed, key: &PartitionKey) -> (Option<String>, usize) {
        let ownership = &self.0.leases.lock().ownership;
        (ownership.delivers(life, feed, key), ownership.ranges(feed).count())
    }

    pub(crate) fn breach(&self, what: String) {
        self.0.trace.say("oracle", || what.clone());
        self.0.broken.lock().push(what);
    }

    fn written(&self, sender: &str, document: &Value) {
        let Inner { store, clock, deliveries, leases, .. } = &*self.0;
        let (mut deliveries, mut leases) = (deliveries.lock(), leases.lock());
        let Leases { reader, ownership, coverage, checkpoints } = &mut *leases;
        let at = clock.monotonic();
        if let (Some(_), Some(incarnation)) = (document["beat"].as_u64(), document["incarnation"].as_str()) {
            return ownership.beat(sender, incarnation, document["stopped"] == true, at);
        }
        if let Some(feed) = reader.marked(document, store) {
            coverage.complete(feed);
        }
        let Some(lease) = reader.lease(document, store) else { return };
        let landed = ownership.landed(sender, &lease, at);
        if let Some(life) = landed.begins {
            deliveries.begins(&life, &lease.feed);
        }
        let uncovered = coverage.look(&lease.feed, ownership.ranges(&lease.feed));
        let passed = checkpoints.landed(sender, &lease, store, &deliveries);
        landed.breaches.into_iter().chain(uncovered).chain(passed).for_each(|breach| self.breach(breach));
    }

    fn removed(&self, id: &str) {
        let Leases { reader, ownership, coverage, .. } = &mut *self.0.leases.lock();
        let Some(feed) = reader.feed(id, &self.0.store) else { return };
        ownership.removed(id);
        let uncovered = coverage.look(&feed, ownership.ranges(&feed));
        uncovered.into_iter().for_each(|breach| self.breach(breach));
    }
}

fn feed(processor: &str, fleet: &str, source: &str) -> Feed {
    Feed { processor: format!("{processor}{fleet}"), source: source.to_owned() }
}

impl Witness for Rules {
    fn sends(&self, sender: &str, container: &str) {
        let breach = self.0.writes.lock().sends(sender, container);
        breach.into_iter().for_each(|breach| self.breach(breach));
    }

    fn waits_no_more(&self, sender: &str, container: &str) {
        self.0.writes.lock().waits_no_more(sender, container);
    }

    fn landed(&self, sender: &str, container: &str, operation: &Operation) {
        if container != containers::LEASES {
            return;
        }
        match operation {
            Operation::Create { body, .. } | Operation::Replace { body, .. } | Operation::Upsert { body, .. } => {
                self.written(sender, &serde_json::from_slice(body).expect("documents are JSON"));
            }
            Operation::Delete { id, .. } => self.removed(id.as_str()),
        }
    }
}
