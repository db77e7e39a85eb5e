use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::ManualClock;
use feedmill_store_api::{ContainerSpec, Database, DefaultTtl, DocumentId, ErrorKind, Operation, PartitionKey};
use futures::FutureExt;
use jiff::Timestamp;

use super::*;
use crate::Options;

struct World {
    clock: ManualClock,
    store: LocalStore,
    database: Arc<dyn Database>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap());
        let store = LocalStore::memory(Options::default(), Arc::new(clock.clone()));
        let database = store.database("d").now_or_never().unwrap().unwrap();
        let spec = ContainerSpec::new("c", "/k").ttl(DefaultTtl::Forever);
        database.provision(&spec).now_or_never().unwrap().unwrap();
        Self { clock, store, database }
    }

    fn keep(&self, seconds: Option<u32>) {
        self.store.keep_history("d", "c", seconds).now_or_never().unwrap().unwrap();
    }

    fn write(&self, key: &str, operations: Vec<Operation>) {
        let container = self.database.container("c").now_or_never().unwrap().unwrap();
        container.batch(&PartitionKey::from(key), operations).now_or_never().unwrap().unwrap();
    }

    fn read(&self, range: &FeedRange, start: FeedStart, items_max: usize) -> Result<HistoryPage> {
        self.store.read_history(("d", "c"), range, &start, items_max).now_or_never().unwrap().map(Option::unwrap)
    }

    fn now(&self) -> FeedStart {
        FeedStart::Position(self.read(&FeedRange::full(), FeedStart::Now, 1).unwrap().position)
    }

    /// All that has happened since, in pages of one.
    fn since(&self, mut start: FeedStart) -> Vec<(EventKind, u64, Option<u64>, i64)> {
        let mut all = Vec::new();
        loop {
            let page = self.read(&FeedRange::full(), start, 1).unwrap();
            if page.events.is_empty() {
                return all;
            }
            all.extend(page.events.iter().map(|event| {
                let document: serde_json::Value = serde_json::from_slice(&event.document).unwrap();
                (event.kind, event.lsn, event.previous_lsn, document["n"].as_i64().unwrap())
            }));
            start = FeedStart::Position(page.position);
        }
    }
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

fn upsert(key: &str, name: &str, n: u32, more: &str) -> Operation {
    Operation::Upsert { id: id(name), body: format!(r#"{{"id":"{name}","k":"{key}","n":{n}{more}}}"#).into() }
}

fn delete(name: &str) -> Operation {
    Operation::Delete { id: id(name), if_match: None }
}

#[test]
fn every_version_and_every_deletion_is_told_once_in_order() {
    use EventKind::{Create, Delete, Replace};
    let world = World::new();
    world.write("k", vec![upsert("k", "before", 0, "")]);
    world.keep(Some(600));
    let start = world.now();
    world.write("k", vec![upsert("k", "a", 1, "")]);
    world.write("k", vec![upsert("k", "a", 2, ""), upsert("k", "a", 3, ""), delete("a")]);
    world.write("k", vec![upsert("k", "a", 4, "")]);
    world.write("k", vec![delete("before")]);
    let expected = [
        (Create, 2, None, 1),
        (Replace, 3, Some(2), 2),
        (Replace, 3, Some(3), 3),
        (Delete, 3, Some(3), 3),
        (Create, 4, None, 4),
        (Delete, 5, Some(1), 0),
    ];
    assert_eq!(world.since(start), expected);
}

#[test]
fn what_expires_is_a_deletion_too_whoever_finds_it() {
    use EventKind::{Create, Expire};
    let world = World::new();
    world.keep(Some(600));
    let start = world.now();
    world.write("k", vec![upsert("k", "a", 1, r#","ttl":1"#), upsert("k", "b", 2, r#","ttl":1"#)]);
    world.clock.advance(Duration::from_secs(2));
    // Finds one in its way and sweeps the other up.
    world.write("k", vec![upsert("k", "a", 3, "")]);
    let mut told = world.since(start);
    told.sort_by_key(|(kind, lsn, ..)| (*lsn, *kind as u8));
    let expected = [
        (Create, 1, None, 1),
        (Create, 1, None, 2),
        (Create, 2, None, 3),
        (Expire, 2, Some(1), 1),
        (Expire, 2, Some(1), 2),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_position_before_what_is_kept_is_refused_and_no_other() {
    let world = World::new();
    let container = || {
        world.store.read_history(("d", "c"), &FeedRange::full(), &FeedStart::Now, 1).now_or_never().unwrap().unwrap()
    };
    assert!(container().is_none(), "nothing is kept unless somebody says so");
    world.write("k", vec![upsert("k", "a", 1, "")]);
    world.keep(Some(60));
    let first = FeedStart::Position(Position::new("\"0\""));
    assert_eq!(world.read(&FeedRange::full(), first, 9).unwrap_err().kind(), ErrorKind::Invalid);
    let start = world.now();
    world.write("k", vec![upsert("k", "a", 2, "")]);
    let later = world.now();
    world.clock.advance(Duration::from_secs(61));
    world.write("k", vec![upsert("k", "a", 3, "")]);
    assert_eq!(world.read(&FeedRange::full(), start, 9).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(world.since(later), [(EventKind::Replace, 3, Some(2), 3)]);
    assert_eq!(world.read(&FeedRange::full(), FeedStart::Beginning, 9).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn what_is_kept_no_longer_is_erased_and_a_later_history_begins_anew() {
    let world = World::new();
    world.keep(Some(600));
    world.write("k", vec![upsert("k", "a", 1, "")]);
    let core = world.store.core("d", "c").unwrap();
    let entries = || {
        let view = core.shard.view();
        let mut cursor = view.cursor(Table::History, &[], &[u8::MAX; 8], Direction::Forward);
        std::iter::from_fn(|| cursor.advance().unwrap().then_some(())).count()
    };
    assert_eq!(entries(), 1);
    world.keep(None);
    assert_eq!(entries(), 0);
    world.keep(Some(600));
    let start = world.now();
    world.write("k", vec![upsert("k", "a", 2, "")]);
    assert_eq!(world.since(start), [(EventKind::Replace, 2, Some(1), 2)]);
}

#[test]
fn a_position_goes_on_in_both_halves_of_a_split() {
    let world = World::new();
    world.keep(Some(600));
    let start = world.now();
    for n in 0..20 {
        world.write(&format!("k{n}"), vec![upsert(&format!("k{n}"), "a", n, "")]);
    }
    let halves = world.store.split("d", "c", &FeedRange::full()).now_or_never().unwrap().unwrap();
    for n in 0..20 {
        world.write(&format!("k{n}"), vec![delete("a")]);
    }
    let told: Vec<_> = halves
        .iter()
        .flat_map(|half| world.read(half, start.clone(), 100).unwrap().events)
        .map(|event| event.kind)
        .collect();
    let count = |wanted| told.iter().filter(|kind| **kind == wanted).count();
    assert_eq!((count(EventKind::Create), count(EventKind::Delete), told.len()), (20, 20, 40));
    assert_eq!(world.read(&FeedRange::full(), start, 1).unwrap_err().kind(), ErrorKind::Gone);
}
