use std::sync::Arc;

use feedmill_documents::containers;
use feedmill_engine::Processor;
use feedmill_store_api::Operation;
use parking_lot::Mutex;
use serde_json::Value;

use super::checkpoints::Checkpoints;
use super::deliveries::{Deliveries, Watched};
use crate::network::Witness;
use crate::store::Store;
use crate::trace::Trace;

/// What must hold at every moment. Clones share what they have seen.
#[derive(Clone)]
pub(crate) struct Rules(Arc<Inner>);

struct Inner {
    broken: Mutex<Vec<String>>,
    deliveries: Mutex<Deliveries>,
    checkpoints: Mutex<Checkpoints>,
    store: Store,
    trace: Trace,
}

impl Rules {
    pub(crate) fn new(store: &Store, trace: Trace) -> Self {
        Self(Arc::new(Inner {
            broken: Mutex::default(),
            deliveries: Mutex::default(),
            checkpoints: Mutex::default(),
            store: store.clone(),
            trace,
        }))
    }

    /// The processor, with every delivery seen. `fleet`: whose leases it works with; `life`: which process it is in.
    pub(crate) fn watched(&self, mut processor: Processor, fleet: &str, life: &str) -> Processor {
        let (name, source) = (format!("{}{fleet}", processor.name), processor.source.clone());
        let inner = Arc::clone(&processor.handler);
        processor.handler = Arc::new(Watched { inner, rules: self.clone(), name, source, life: life.to_owned() });
        processor
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.0.broken.lock().clone()
    }

    pub(super) fn deliveries(&self) -> &Mutex<Deliveries> {
        &self.0.deliveries
    }

    pub(super) fn breach(&self, what: String) {
        self.0.trace.say("oracle", || what.clone());
        self.0.broken.lock().push(what);
    }
}

impl Witness for Rules {
    fn landed(&self, host: &str, container: &str, operation: &Operation) {
        if container != containers::LEASES {
            return;
        }
        let (Operation::Create { body, .. } | Operation::Replace { body, .. } | Operation::Upsert { body, .. }) =
            operation
        else {
            return;
        };
        let lease: Value = serde_json::from_slice(body).expect("documents are JSON");
        let inner = &self.0;
        let mut deliveries = inner.deliveries.lock();
        for breach in inner.checkpoints.lock().landed(host, &lease, &inner.store, &mut deliveries) {
            self.breach(breach);
        }
    }
}
