//! The loader on a real store in memory, and on one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    BatchOutcome, Container, ContainerSpec, Database, Document, DocumentId, Error, ErrorKind, Operation, PartitionKey,
    PassingContainer, PassingDatabase, ReadLevel, RequestCharge, Result, Written,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{LoadError, Loader, Options, Progress};
use crate::SourceWrite;
use crate::ldbc::Event;

pub(super) fn write(key: &str, id: &str, version: u64) -> SourceWrite {
    let body = serde_json::json!({"id": id, "postId": key, "version": version}).to_string();
    SourceWrite {
        container: "reactions",
        key: PartitionKey::from(key),
        id: DocumentId::new(id).unwrap(),
        body: body.into(),
        version,
    }
}

/// A clock on which waiting takes no time of ours.
#[derive(Default)]
struct Skipping(Mutex<Duration>);

impl Clock for Skipping {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + *self.0.lock()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(*self.0.lock())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        *self.0.lock() += duration;
        Box::pin(std::future::ready(()))
    }
}

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Throttled,
    Unavailable,
    /// The write happens, the reply does not come.
    LostReply,
    /// Just before, somebody else writes version 9 of the document.
    Overtaken,
    Invalid,
}

/// A database whose writes fail as told, the first one first.
struct Troubled {
    inner: Arc<dyn Container>,
    troubles: Arc<Mutex<Vec<Trouble>>>,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Store {
    database: Arc<dyn Database>,
    troubles: Arc<Mutex<Vec<Trouble>>>,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Store {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let store = LocalStore::memory(feedmill_local_store::Options::default(), clock);
        let database = store.database("test").await.unwrap();
        database.provision(&ContainerSpec::new("reactions", "/postId")).await.unwrap();
        Self { database, troubles: Arc::default(), reads: Arc::default(), writes: Arc::default() }
    }

    fn loader(&self, options: Options) -> Loader {
        Loader::new(Arc::new(self.clone()), Arc::new(Skipping::default()), Entropy::seeded(1), options)
    }

    async fn load(&self, writes: &[SourceWrite]) -> std::result::Result<Progress, LoadError> {
        self.loader(Options::default()).load(writes.iter().cloned().map(Ok), |_| {}).await
    }

    async fn version(&self, write: &SourceWrite) -> u64 {
        let container = self.database.container("reactions").await.unwrap();
        let (document, _) = container.read(&write.key, &write.id, &ReadLevel::Quorum).await.unwrap();
        let document: serde_json::Value = document.unwrap().parse().unwrap();
        document["version"].as_u64().unwrap()
    }
}

impl PassingDatabase for Store {
    fn inner(&self) -> &dyn Database {
        &*self.database
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        let (troubles, reads, writes) = (Arc::clone(&self.troubles), Arc::clone(&self.reads), Arc::clone(&self.writes));
        Arc::new(Troubled { inner, troubles, reads, writes })
    }
}

impl Troubled {
    /// Counts the request; gives what goes wrong with it.
    fn trouble(&self) -> Option<Trouble> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut troubles = self.troubles.lock();
        if troubles.is_empty() { None } else { Some(troubles.remove(0)) }
    }
}

fn error(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Throttled => Error::new(ErrorKind::Throttled { after: Duration::from_secs(1) }, "slow down"),
        Trouble::Unavailable => Error::new(ErrorKind::Unavailable, "nobody there"),
        Trouble::LostReply => Error::new(ErrorKind::Unavailable, "no reply").perhaps_applied(),
        Trouble::Overtaken => Error::new(ErrorKind::Precondition, "somebody else was faster"),
        Trouble::Invalid => Error::new(ErrorKind::Invalid, "too large"),
    }
}

impl PassingContainer for Troubled {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_many(key, ids, level)
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            match self.trouble() {
                None => self.inner.write(key, operation).await,
                Some(Trouble::Overtaken) => {
                    let id = operation.id().clone();
                    let body = write(key.as_str().unwrap(), id.as_str(), 9).body;
                    self.inner.write(key, Operation::Upsert { id, body }).await?;
                    self.inner.write(key, operation).await
                }
                Some(trouble) => {
                    if trouble == Trouble::LostReply {
                        self.inner.write(key, operation).await?;
                    }
                    Err(error(trouble))
                }
            }
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            match self.trouble() {
                None => self.inner.batch(key, operations).await,
                Some(trouble) => {
                    if trouble == Trouble::LostReply {
                        self.inner.batch(key, operations).await?;
                    }
                    Err(error(trouble))
                }
            }
        })
    }
}

/// Written and unchanged.
fn counts(progress: Progress) -> (u64, u64) {
    (progress.written, progress.unchanged)
}

#[tokio::test]
async fn a_repeated_load_writes_nothing_and_reads_before_it_tries() {
    let store = Store::new().await;
    let writes = [write("a", "a:1", 0), write("a", "a:2", 0), write("b", "b:1", 0)];
    assert_eq!(counts(store.load(&writes).await.unwrap()), (3, 0));
    assert_eq!((store.writes.load(Ordering::Relaxed), store.reads.load(Ordering::Relaxed)), (2, 0));
    let options = Options { chunk_writes_max: 1, ..Options::default() };
    let again = store.loader(options).load(writes.iter().cloned().map(Ok), |_| {}).await.unwrap();
    assert_eq!(counts(again), (0, 3));
    // One attempt to create met a document; from then on nothing but reads.
    assert_eq!((store.writes.load(Ordering::Relaxed), store.reads.load(Ordering::Relaxed)), (3, 3));
}

#[tokio::test]
async fn a_load_may_run_on_any_thread() {
    let store = Store::new().await;
    let loader = store.loader(Options::default());
    let load = tokio::spawn(async move { loader.load([Ok(write("a", "a:1", 0))], |_| {}).await });
    assert_eq!(counts(load.await.unwrap().unwrap()), (1, 0));
}

#[tokio::test]
async fn a_half_finished_load_is_completed() {
    let store = Store::new().await;
    let writes = [write("a", "a:1", 0), write("a", "a:2", 0), write("b", "b:1", 0)];
    store.load(&writes[1..2]).await.unwrap();
    assert_eq!(counts(store.load(&writes).await.unwrap()), (2, 1));
    for write in &writes {
        assert_eq!(store.version(write).await, 0);
    }
}

#[tokio::test]
async fn a_newer_version_replaces_an_older_one_and_never_the_other_way_round() {
    let store = Store::new().await;
    for (version, expected) in [(3, 3), (1, 3), (3, 3), (4, 4), (0, 4)] {
        store.load(&[write("a", "a:1", version)]).await.unwrap();
        assert_eq!(store.version(&write("a", "a:1", 0)).await, expected, "after version {version}");
    }
}

#[tokio::test]
async fn a_newer_version_that_comes_between_reading_and_writing_stays() {
    let store = Store::new().await;
    // The attempt to create meets version 1; the replacement of that one is overtaken.
    store.load(&[write("a", "a:1", 1)]).await.unwrap();
    let first = store.loader(Options { chunk_writes_max: 1, ..Options::default() });
    let (before, after) = (write("a", "a:1", 1), write("a", "a:1", 2));
    let mut chunks = 0;
    let troubles = Arc::clone(&store.troubles);
    let overtake = |_: &Progress| {
        chunks += 1;
        if chunks == 1 {
            troubles.lock().push(Trouble::Overtaken);
        }
    };
    let done = first.load([Ok(before), Ok(after)], overtake).await.unwrap();
    assert_eq!(counts(done), (0, 2));
    assert_eq!(store.version(&write("a", "a:1", 0)).await, 9);
}

#[tokio::test]
async fn a_document_without_a_version_is_older_than_any() {
    let store = Store::new().await;
    let container = store.database.container("reactions").await.unwrap();
    let body = Bytes::from_static(br#"{"id":"a:1","postId":"a","version":"x"}"#);
    let upsert = Operation::Upsert { id: DocumentId::new("a:1").unwrap(), body };
    container.write(&PartitionKey::from("a"), upsert).await.unwrap();
    assert_eq!(counts(store.load(&[write("a", "a:1", 0)]).await.unwrap()), (1, 0));
}

#[tokio::test]
async fn failures_that_pass_are_waited_for() {
    let store = Store::new().await;
    store.troubles.lock().extend([Trouble::Throttled, Trouble::Unavailable, Trouble::Unavailable]);
    assert_eq!(counts(store.load(&[write("a", "a:1", 0), write("a", "a:2", 0)]).await.unwrap()), (2, 0));
    assert_eq!(store.version(&write("a", "a:1", 0)).await, 0);
}

#[tokio::test]
async fn a_lost_reply_is_found_out_by_reading_back() {
    let store = Store::new().await;
    for writes in [vec![write("a", "a:1", 0)], vec![write("b", "b:1", 0), write("b", "b:2", 0)]] {
        store.troubles.lock().push(Trouble::LostReply);
        assert_eq!(counts(store.load(&writes).await.unwrap()), (0, writes.len() as u64));
    }
    store.troubles.lock().push(Trouble::LostReply);
    store.load(&[write("a", "a:1", 5)]).await.unwrap();
    assert_eq!(store.version(&write("a", "a:1", 0)).await, 5);
}

#[tokio::test]
async fn a_store_that_stays_away_ends_the_load_and_what_cannot_work_ends_it_at_once() {
    let store = Store::new().await;
    store.troubles.lock().extend([Trouble::Unavailable; 1_000]);
    let error = store.load(&[write("a", "a:1", 0)]).await.unwrap_err();
    assert!(matches!(&error, LoadError::GaveUp { tried, .. } if *tried > Duration::from_secs(100)), "{error}");
    *store.troubles.lock() = vec![Trouble::Invalid];
    let error = store.load(&[write("a", "a:1", 0)]).await.unwrap_err();
    assert_eq!(error.to_string(), "load a:1 into reactions");
    let missing = SourceWrite { container: "nowhere", ..write("a", "a:1", 0) };
    let error = store.load(&[missing]).await.unwrap_err();
    assert_eq!(error.to_string(), "open container nowhere to load into it");
}

#[tokio::test]
async fn a_stream_is_applied_in_order_whatever_the_chunks_are() {
    for chunk_writes_max in [1, 2, 100] {
        let store = Store::new().await;
        let event = |(seq, id): (u64, &str)| {
            Ok(Event { seq, at: Timestamp::UNIX_EPOCH, writes: vec![write("a", id, seq + 1)] })
        };
        let events = [(0, "a:1"), (1, "a:2"), (2, "a:1"), (3, "a:1"), (4, "a:2")];
        let loader = store.loader(Options { chunk_writes_max, ..Options::default() });
        let mut seen = Vec::new();
        let done = loader.replay(events.map(event), |progress| seen.push(progress.events)).await.unwrap();
        assert_eq!((done.events, done.writes), (5, 5));
        assert_eq!(seen.last(), Some(&5));
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!((store.version(&write("a", "a:1", 0)).await, store.version(&write("a", "a:2", 0)).await), (4, 5));
    }
}
