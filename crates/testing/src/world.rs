use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::{Entropy, ManualClock};
use feedmill_documents::containers;
use feedmill_engine::{Delivery, Handler, Outcome, Processor, SettleError, SettleOptions, Settler, Writer};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Change, Container, ContainerSpec, Database, DocumentId, FeedRange, FeedStart, Operation, PageRequest, PartitionKey,
    Query, ReadLevel, RequestCharge, Scope, SessionToken,
};
use serde_json::Value;

use crate::Ledger;

/// Changes of a page: the default of the engine.
const PAGE_ITEMS: usize = 1_000;

/// A store, and how far processors have read in it.
pub struct World {
    /// Stands still unless a test moves it.
    pub clock: ManualClock,
    /// What processors have asked of the store, and what it charged; what the test itself asks is not in it.
    pub ledger: Ledger,
    database: Arc<dyn Database>,
    /// The same for processors.
    noted: Arc<dyn Database>,
    writer: Writer,
    /// How far the processors have read, by name, source container and range.
    positions: BTreeMap<(String, String, FeedRange), FeedStart>,
}

impl World {
    /// At noon of 1 January 2020.
    pub async fn new() -> Self {
        let clock = ManualClock::new("2020-01-01T12:00:00Z".parse().unwrap());
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(clock.clone()));
        let database = store.database("db").await.unwrap();
        for spec in containers::all(2) {
            database.provision(&spec).await.unwrap();
        }
        let ledger = Ledger::default();
        let noted = ledger.of(Arc::clone(&database));
        let (clock_of_writer, entropy) = (Arc::new(clock.clone()), Entropy::seeded(1));
        let writer = Writer::new(Arc::clone(&noted), clock_of_writer, entropy, SettleOptions::default());
        Self { clock, ledger, database, noted, writer, positions: BTreeMap::new() }
    }

    /// Writes a document, as the customer's application would; its key is in it.
    pub async fn put(&self, container: &str, document: Value) {
        let container = self.database.container(container).await.unwrap();
        let id = DocumentId::new(document["id"].as_str().unwrap()).unwrap();
        let key = key(&*container, &document);
        let body = Bytes::from(document.to_string());
        container.write(&key, Operation::Upsert { id, body }).await.unwrap();
    }

    /// Delivers what the processors have not seen, in their order, until there is nothing more. Returns what they rejected.
    pub async fn deliver(&mut self, processors: &[Processor]) -> Vec<String> {
        let mut rejected = Vec::new();
        for Processor { name, source, handler, .. } in processors {
            let container = self.noted.container(source).await.unwrap();
            for range in container.feed_ranges().await.unwrap() {
                loop {
                    let at = (name.clone(), source.clone(), range.clone());
                    let start = self.positions.get(&at).cloned().unwrap_or(FeedStart::Beginning);
                    let page = container.read_page(&range, &start, PAGE_ITEMS).await.unwrap();
                    self.positions.insert(at, FeedStart::Position(page.position));
                    if page.changes.is_empty() {
                        break;
                    }
                    for (key, changes) in by_key(&*container, page.changes) {
                        let outcome = self.handle(&**handler, &*container, key, changes, page.session.clone()).await;
                        rejected.extend(outcome.unwrap().rejected.into_iter().map(|rejection| rejection.reason));
                    }
                }
            }
        }
        rejected
    }

    /// From now on processors write through what `wrap` puts before the store.
    pub fn write_through(&mut self, wrap: impl FnOnce(Arc<dyn Database>) -> Arc<dyn Database>) {
        let (database, clock) = (wrap(Arc::clone(&self.database)), Arc::new(self.clock.clone()));
        self.writer = Writer::new(database, clock, Entropy::seeded(1), SettleOptions::default());
    }

    /// Makes the next [`Self::deliver`] begin from the beginning.
    pub fn rewind(&mut self) {
        self.positions.clear();
    }

    /// The store itself, for what works on all of it.
    pub fn database(&self) -> &Arc<dyn Database> {
        &self.database
    }

    /// What writes, for operators' tools.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Makes a container that is not one of the customer's.
    pub async fn provision(&self, spec: &ContainerSpec) {
        self.database.provision(spec).await.unwrap();
    }

    /// What somebody does by hand; with `repair` nothing is skipped.
    pub fn operator(&self, repair: bool) -> Settler<'_> {
        self.writer.operator(repair)
    }

    /// What creating all live documents of a container would cost where they are not.
    pub async fn bare_creates(&self, container: &str) -> RequestCharge {
        let source = self.database.container(container).await.unwrap();
        let spec = ContainerSpec { name: format!("{container}Again"), ..source.spec().clone() };
        self.database.provision(&spec).await.unwrap();
        let copy = self.database.container(&spec.name).await.unwrap();
        let mut charge = RequestCharge::ZERO;
        let mut page = PageRequest::first(1_000);
        loop {
            let query = Query::new("SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt)");
            let read = source.query(&Scope::Container, &query, &page, &ReadLevel::Quorum).await.unwrap();
            for item in read.items {
                let mut document: Value = serde_json::from_slice(&item).unwrap();
                let own = |name: &str| !["_rid", "_self", "_etag", "_ts"].contains(&name);
                document.as_object_mut().unwrap().retain(|name, _| own(name));
                let id = DocumentId::new(document["id"].as_str().unwrap()).unwrap();
                let operation = Operation::Create { id, body: Bytes::from(document.to_string()) };
                charge += copy.write(&key(&*copy, &document), operation).await.unwrap().charge;
            }
            page.continuation = read.continuation;
            if page.continuation.is_none() {
                return charge;
            }
        }
    }

    /// Documents that processors have written so far.
    pub fn written(&self) -> u64 {
        self.writer.totals().total().written
    }

    /// All documents of a container by id, tombstones included, without what differs from run to run.
    pub async fn documents(&self, container: &str) -> BTreeMap<String, Value> {
        let container = self.database.container(container).await.unwrap();
        let query = Query::new("SELECT * FROM c");
        let mut found = BTreeMap::new();
        let mut page = PageRequest::first(1_000);
        loop {
            let read = container.query(&Scope::Container, &query, &page, &ReadLevel::Quorum).await.unwrap();
            for item in read.items {
                let mut item: Value = serde_json::from_slice(&item).unwrap();
                item.as_object_mut()
                    .unwrap()
                    .retain(|name, _| !name.starts_with('_') && name != "ttl" && name != "asOf");
                found.insert(item["id"].as_str().unwrap().to_owned(), item);
            }
            page.continuation = read.continuation;
            if page.continuation.is_none() {
                return found;
            }
        }
    }

    async fn handle(
        &self,
        handler: &dyn Handler,
        container: &dyn Container,
        key: PartitionKey,
        changes: Vec<Change>,
        session: SessionToken,
    ) -> Result<Outcome, SettleError> {
        let (name, rid) = (container.name().into(), container.rid().into());
        let delivery = Delivery { container: name, container_rid: rid, key, changes, session };
        let settler = self.writer.settler(&delivery);
        handler.handle(&delivery, &settler).await
    }
}

fn key(container: &dyn Container, document: &Value) -> PartitionKey {
    let field = container.partition_key_paths()[0].trim_start_matches('/');
    match &document[field] {
        Value::String(key) => PartitionKey::from(key.as_str()),
        _ => PartitionKey::from_parts(vec![feedmill_store_api::KeyPart::Undefined]),
    }
}

fn by_key(container: &dyn Container, changes: Vec<Change>) -> BTreeMap<PartitionKey, Vec<Change>> {
    let mut keys: BTreeMap<PartitionKey, Vec<Change>> = BTreeMap::new();
    for change in changes {
        let document = serde_json::from_slice(&change.body).unwrap();
        keys.entry(key(container, &document)).or_default().push(change);
    }
    keys
}
