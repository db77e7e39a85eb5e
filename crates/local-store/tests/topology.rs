//! Random writes, deletes, splits, merges and reopenings against a model of what a reader must see.

#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions of such a file, not its helpers")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

// Who fuzzes the library builds this file with the same instrumentation, which must be linked.
use bolero as _;
use bytes::Bytes;
use feedmill_clock::ManualClock;
use feedmill_local_store::{LocalStore, Options};
use feedmill_store_api::{
    Container, ContainerSpec, DefaultTtl, DocumentId, ErrorKind, FeedRange, FeedStart, Operation, Order, PageRequest,
    PartitionKey, Query, ReadLevel, Scope,
};
use jiff::Timestamp;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write {
        key: u8,
        lives: bool,
    },
    Delete {
        key: u8,
    },
    Split {
        at: u8,
    },
    Merge {
        at: u8,
    },
    /// One page of one of the ranges that the reader holds.
    Read {
        at: u8,
        items_max: u8,
    },
    Wait {
        seconds: u8,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..24_u8, prop::bool::weighted(0.2)).prop_map(|(key, lives)| Step::Write { key, lives }),
        2 => (0..24_u8).prop_map(|key| Step::Delete { key }),
        2 => any::<u8>().prop_map(|at| Step::Split { at }),
        2 => any::<u8>().prop_map(|at| Step::Merge { at }),
        5 => (any::<u8>(), 1..5_u8).prop_map(|(at, items_max)| Step::Read { at, items_max }),
        1 => (1..20_u8).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    dir: Option<tempfile::TempDir>,
    clock: ManualClock,
    store: LocalStore,
    container: Arc<dyn Container>,
    writes: u64,
    /// What is there and not expired, and the number of its last write. `None` in time: it stays.
    documents: BTreeMap<u8, (u64, Option<Timestamp>)>,
    /// The reader: disjoint ranges that cover everything, each with its position.
    reader: Vec<(FeedRange, FeedStart)>,
    seen: BTreeMap<u8, u64>,
}

async fn open(dir: Option<&Path>, clock: &ManualClock) -> (LocalStore, Arc<dyn Container>) {
    let options = Options { sync: false, ..Options::default() };
    let clock = Arc::new(clock.clone());
    let store = match dir {
        Some(dir) => LocalStore::open(dir, options, clock).unwrap(),
        None => LocalStore::memory(options, clock),
    };
    let database = store.database("d").await.unwrap();
    let spec = ContainerSpec::new("c", "/id").ttl(DefaultTtl::Forever).composite_index(&[("/n", Order::Descending)]);
    database.provision(&spec).await.unwrap();
    let container = database.container("c").await.unwrap();
    (store, container)
}

fn id(key: u8) -> DocumentId {
    DocumentId::new(format!("key{key}")).unwrap()
}

impl World {
    async fn new(dir: Option<tempfile::TempDir>) -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap());
        let (store, container) = open(dir.as_ref().map(tempfile::TempDir::path), &clock).await;
        let reader = vec![(FeedRange::full(), FeedStart::Beginning)];
        let (documents, seen) = (BTreeMap::new(), BTreeMap::new());
        Self { dir, clock, store, container, writes: 0, documents, reader, seen }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { key, lives } => {
                self.writes += 1;
                let (n, ttl) = (self.writes, if lives { r#","ttl":15"# } else { "" });
                let body = Bytes::from(format!(r#"{{"id":"key{key}","key":{key},"n":{n}{ttl}}}"#));
                let operation = Operation::Upsert { id: id(key), body };
                self.container.write(&PartitionKey::from(format!("key{key}")), operation).await.unwrap();
                let until = lives.then(|| self.clock_now() + jiff::SignedDuration::from_secs(15));
                self.documents.insert(key, (n, until));
            }
            Step::Delete { key } => {
                let operation = Operation::Delete { id: id(key), if_match: None };
                let deleted = self.container.write(&PartitionKey::from(format!("key{key}")), operation).await;
                assert_eq!(deleted.is_ok(), self.documents.remove(&key).is_some());
            }
            Step::Split { at } => {
                let ranges = self.container.feed_ranges().await.unwrap();
                let range = &ranges[usize::from(at) % ranges.len()];
                match self.store.split("d", "c", range).await {
                    Ok(halves) => assert_eq!(halves.len(), 2),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
                }
            }
            Step::Merge { at } => {
                let ranges = self.container.feed_ranges().await.unwrap();
                if ranges.len() > 1 {
                    let at = usize::from(at) % (ranges.len() - 1);
                    self.store.merge("d", "c", &ranges[at], &ranges[at + 1]).await.unwrap();
                }
            }
            Step::Read { at, items_max } => {
                let at = usize::from(at) % self.reader.len();
                self.read(at, usize::from(items_max)).await;
            }
            Step::Wait { seconds } => {
                self.clock.advance(std::time::Duration::from_secs(u64::from(seconds)));
                let now = self.clock_now();
                self.documents.retain(|_, (_, until)| until.is_none_or(|until| now < until));
            }
            Step::Reopen => self.reopen().await,
        }
    }

    fn clock_now(&self) -> Timestamp {
        feedmill_clock::Clock::now(&self.clock)
    }

    async fn reopen(&mut self) {
        let Some(dir) = &self.dir else { return };
        let before = self.store.partitions("d", "c").unwrap();
        let commits = self.store.stats().commits;
        // Nobody may hold the old one.
        let (nothing, container) = open(None, &self.clock).await;
        self.container = container;
        std::mem::replace(&mut self.store, nothing).close().await.unwrap();
        (self.store, self.container) = open(Some(dir.path()), &self.clock).await;
        assert_eq!(self.store.partitions("d", "c").unwrap(), before);
        assert_eq!(self.store.stats().commits, commits);
    }

    /// Whether there was anything.
    async fn read(&mut self, at: usize, items_max: usize) -> bool {
        let (range, start) = self.reader.remove(at);
        let page = match self.container.read_page(&range, &start, items_max).await {
            Ok(page) => page,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
                let ranges = self.container.feed_ranges().await.unwrap();
                let parts: Vec<_> = ranges.iter().filter_map(|present| present.intersection(&range)).collect();
                assert!(parts.len() > 1, "{range} is gone without having been split");
                self.reader.extend(parts.into_iter().map(|part| (part, start.clone())));
                return true;
            }
        };
        for change in &page.changes {
            let body: serde_json::Value = serde_json::from_slice(&change.body).unwrap();
            let (key, n) = (u8::try_from(body["key"].as_u64().unwrap()).unwrap(), body["n"].as_u64().unwrap());
            assert_eq!(self.documents.get(&key).map(|&(n, _)| n), Some(n), "a change is the newest version");
            let before = self.seen.insert(key, n);
            assert!(before.is_none_or(|before| before < n), "key {key}: {n} after {before:?}");
        }
        let more = !page.changes.is_empty();
        self.reader.push((range, start.after(page.position)));
        more
    }

    /// Whatever happened: the reader has seen everything that is there, a query and the store's own check agree.
    async fn end(mut self) {
        loop {
            let mut more = false;
            for _ in 0..self.reader.len() {
                more |= self.read(0, 7).await;
            }
            if !more {
                break;
            }
        }
        for (key, (n, _)) in &self.documents {
            assert_eq!(self.seen.get(key), Some(n), "key {key} was lost");
        }
        let query = Query::new("SELECT VALUE c.n FROM c");
        let page = self.container.query(&Scope::Container, &query, &PageRequest::first(100), &ReadLevel::Quorum).await;
        let mut found: Vec<u64> =
            page.unwrap().items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = self.documents.values().map(|&(n, _)| n).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(self.store.check().unwrap(), []);
    }
}

fn run(steps: &[Step], dir: Option<tempfile::TempDir>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(dir).await;
        for step in steps {
            world.take(step).await;
        }
        world.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory_nothing_is_lost_and_keys_stay_in_order(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_disk_nothing_is_lost_and_keys_stay_in_order(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps, Some(tempfile::tempdir().unwrap()));
    }
}
