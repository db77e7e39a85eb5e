use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use feedmill_store_api::Change;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{Delivery, Handler, Outcome, SettleError, Settler};

/// A handler that does what a test says, and notes what it was given.
pub(super) struct Scripted {
    pub(super) seen: Arc<Seen>,
    act: Act,
}

type Act = Box<dyn Fn(Delivery) -> BoxFuture<'static, Result<Outcome, SettleError>> + Send + Sync>;

/// What handlers were given and accepted.
#[derive(Default)]
pub(super) struct Seen {
    accepted: Mutex<Vec<(String, Vec<Change>)>>,
    calls: Mutex<u64>,
    busy: Mutex<BTreeSet<String>>,
}

impl Scripted {
    pub(super) fn new(
        act: impl Fn(Delivery) -> BoxFuture<'static, Result<Outcome, SettleError>> + Send + Sync + 'static,
    ) -> (Arc<Self>, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Arc::new(Self { seen: Arc::clone(&seen), act: Box::new(act) }), seen)
    }

    /// Accepts everything at once.
    pub(super) fn accepting() -> (Arc<Self>, Arc<Seen>) {
        Self::new(|_| Box::pin(async { Ok(Outcome::default()) }))
    }
}

impl Handler for Scripted {
    fn handle<'a>(&'a self, delivery: &'a Delivery, _: &'a Settler<'a>) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        Box::pin(async move {
            let key = delivery.key.to_string();
            *self.seen.calls.lock() += 1;
            assert!(!delivery.changes.is_empty());
            let _busy = Busy::begin(&self.seen, &key);
            let outcome = (self.act)(delivery.clone()).await?;
            self.seen.accepted.lock().push((key.clone(), delivery.changes.clone()));
            Ok(outcome)
        })
    }
}

struct Busy<'a>(&'a Seen, String);

impl<'a> Busy<'a> {
    fn begin(seen: &'a Seen, key: &str) -> Self {
        // A violation is kept for the test to find: a panic here would count as the handler's.
        if !seen.busy.lock().insert(key.to_owned()) {
            seen.busy.lock().insert(format!("twice: {key}"));
        }
        Self(seen, key.to_owned())
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().remove(&self.1);
    }
}

impl Seen {
    /// Ids in the order in which they were accepted, by key.
    pub(super) fn by_key(&self) -> BTreeMap<String, Vec<String>> {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, changes) in &*self.accepted.lock() {
            ids.entry(key.clone()).or_default().extend(changes.iter().map(id));
        }
        ids
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.accepted.lock().iter().flat_map(|(_, changes)| changes.iter().map(id)).collect()
    }

    pub(super) fn batches(&self) -> Vec<Vec<String>> {
        self.accepted.lock().iter().map(|(_, changes)| changes.iter().map(id).collect()).collect()
    }

    pub(super) fn calls(&self) -> u64 {
        *self.calls.lock()
    }

    /// Fails when the changes of a key came out of order, or a key was handled twice at once.
    pub(super) fn check_order(&self) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (key, changes) in &*self.accepted.lock() {
            for change in changes {
                let before = last.insert(key.clone(), change.lsn);
                assert!(before.is_none_or(|before| before <= change.lsn), "{key} went back to {}", change.lsn);
            }
        }
        assert_eq!(*self.busy.lock(), BTreeSet::new());
    }
}

pub(super) fn id(change: &Change) -> String {
    field(change, "id")
}

pub(super) fn field(change: &Change, name: &str) -> String {
    let body: serde_json::Value = serde_json::from_slice(&change.body).unwrap();
    body[name].as_str().unwrap_or_default().to_owned()
}
