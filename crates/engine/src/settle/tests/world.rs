use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Change, ContainerSpec, Database, DefaultTtl, Document, DocumentId, ETag, Operation, PartitionKey, ReadLevel,
    SessionToken,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::faults::{Faults, FaultyDatabase};
use crate::{
    Address, Basis, Delivery, Desired, Expiry, Fields, Projection, Reader, SettleError, SettleOptions, SourceRef,
    Writer,
};

pub(super) const TARGETS: &str = "targets";
const SOURCES: &str = "sources";

/// A source container, a target container, and one writer between them.
#[derive(Clone)]
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) faults: Arc<Faults>,
    /// Without the faults: for what the test itself does.
    database: Arc<dyn Database>,
    writer: Writer,
}

/// What a handler knows of the sources when it names its targets.
pub(super) enum Known {
    Now,
    Old(Found),
}

/// Source id and, where there is one, the document.
pub(super) type Found = (String, Option<Document>);

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Faults::default()).await
    }

    pub(super) async fn seeded(seed: u64) -> Self {
        Self::with(Faults::slow(Some(Entropy::seeded(seed)))).await
    }

    async fn with(faults: Faults) -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(clock.clone()));
        let database = store.database("db").await.unwrap();
        for spec in [
            ContainerSpec::new(SOURCES, "/id").ttl(DefaultTtl::Forever),
            ContainerSpec::new(TARGETS, "/k").ttl(DefaultTtl::Forever),
        ] {
            database.provision(&spec).await.unwrap();
        }
        let faults = Arc::new(faults);
        let faulty = Arc::new(FaultyDatabase { inner: Arc::clone(&database), faults: Arc::clone(&faults) });
        let writer = Writer::new(faulty, Arc::new(clock.clone()), Entropy::seeded(1), SettleOptions::default());
        Self { clock, faults, database, writer }
    }

    /// Writes a source; `None` withdraws it.
    pub(super) async fn put(&self, id: &str, value: Option<&str>) {
        let body = match value {
            Some(value) => json!({"id": id, "value": value}),
            None => json!({"id": id, "deletedAt": "1970-01-01T00:00:01.000Z"}),
        };
        let operation = Operation::Upsert { id: DocumentId::new(id).unwrap(), body: Bytes::from(body.to_string()) };
        let sources = self.database.container(SOURCES).await.unwrap();
        sources.write(&PartitionKey::from(id), operation).await.unwrap();
    }

    pub(super) async fn known(&self, id: &str) -> Found {
        (id.to_owned(), self.get(SOURCES, id, id).await)
    }

    pub(super) async fn settle(&self, id: &str) {
        self.try_settle(id).await.unwrap();
    }

    pub(super) async fn try_settle(&self, id: &str) -> Result<(), SettleError> {
        self.run(vec![id.to_owned()], None).await
    }

    pub(super) async fn settle_knowing(&self, id: &str, known: Known) {
        let found = match known {
            Known::Now => self.known(id).await,
            Known::Old(found) => found,
        };
        self.run(vec![id.to_owned()], Some(vec![found])).await.unwrap();
    }

    pub(super) async fn settle_all(&self, ids: &[String]) {
        let mut known = Vec::new();
        for id in ids {
            known.push(self.known(id).await);
        }
        self.run(ids.to_vec(), Some(known)).await.unwrap();
    }

    async fn run(&self, ids: Vec<String>, known: Option<Vec<Found>>) -> Result<(), SettleError> {
        let change = Change { lsn: 1, timestamp_seconds: 0, etag: ETag::new("\"1\""), body: Bytes::from_static(b"{}") };
        let delivery = Delivery {
            container: SOURCES.into(),
            container_rid: "rid".into(),
            key: PartitionKey::from(ids[0].as_str()),
            changes: vec![change],
            session: SessionToken(String::new()),
        };
        let settler = self.writer.settler(&delivery);
        let settled = settler.settle(&Copied, ids, known);
        tokio::pin!(settled);
        // Backoffs wait on the manual clock: time passes whenever nothing else can go on.
        loop {
            tokio::select! {
                biased;
                done = &mut settled => return done,
                () = tokio::task::yield_now() => {
                    if let Some(due) = self.clock.next_due() {
                        self.clock.advance(due);
                    }
                }
            }
        }
    }

    /// The target's value; `None` when there is none, or a tombstone.
    pub(super) async fn target(&self, id: &str) -> Option<String> {
        let target: Value = self.get(TARGETS, "k", &format!("k:{id}")).await?.parse().unwrap();
        target["value"].as_str().map(str::to_owned)
    }

    pub(super) async fn has_tombstone(&self, id: &str) -> bool {
        let target = self.get(TARGETS, "k", &format!("k:{id}")).await;
        target.is_some_and(|target| target.parse::<Value>().unwrap().get("deletedAt").is_some())
    }

    pub(super) async fn source(&self, id: &str) -> Option<String> {
        let source: Value = self.get(SOURCES, id, id).await?.parse().unwrap();
        source["value"].as_str().map(str::to_owned)
    }

    pub(super) fn written(&self) -> u64 {
        self.writer.totals().total().written
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic().since(Monotonic::from_origin(Duration::ZERO))
    }

    async fn get(&self, container: &str, key: &str, id: &str) -> Option<Document> {
        let container = self.database.container(container).await.unwrap();
        let id = DocumentId::new(id).unwrap();
        container.read(&PartitionKey::from(key), &id, &ReadLevel::Quorum).await.unwrap().0
    }
}

/// Polls `work` that often, then drops it wherever it is.
pub(super) async fn poll_at_most(polls: u64, work: impl Future<Output = ()>) {
    tokio::pin!(work);
    for _ in 0..polls {
        if futures::poll!(&mut work).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Target `k:{id}` has the value of source `id`.
struct Copied;

impl Projection for Copied {
    type Target = String;
    type Sources = Vec<Found>;

    fn container(&self) -> &str {
        TARGETS
    }

    fn address(&self, id: &String) -> Address {
        Address { key: PartitionKey::from("k"), id: DocumentId::new(format!("k:{id}")).unwrap() }
    }

    fn read<'a>(&'a self, ids: &'a [String], reader: &'a Reader<'a>) -> BoxFuture<'a, Result<Vec<Found>, SettleError>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for id in ids {
                let key = PartitionKey::from(id.as_str());
                found.push((id.clone(), reader.read(SOURCES, &key, &DocumentId::new(id.as_str()).unwrap()).await?));
            }
            Ok(found)
        })
    }

    fn compute(&self, id: &String, found: &Vec<Found>, _current: Option<&Document>) -> Result<Desired, String> {
        let source = found.iter().find(|(known, _)| known == id).and_then(|(_, source)| source.as_ref());
        let etag = source.map(|source| source.etag.clone());
        let basis = Basis::Sources { rev: 1, sources: vec![SourceRef(SOURCES.into(), id.clone(), etag)] };
        let source: Option<Value> = source.map(|source| source.parse().unwrap());
        Ok(match source.as_ref().and_then(|source| source["value"].as_str()) {
            Some(value) => {
                let fields = Fields::of(&json!({"value": value})).map_err(|error| error.to_string())?;
                Desired::Document { fields, expires: Expiry::ContainerDefault, basis }
            }
            None => Desired::Absent { deleted_at: Timestamp::UNIX_EPOCH, basis },
        })
    }
}
