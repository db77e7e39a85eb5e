//! What requests cost in entries read: in proportion to what they give, never to what there is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::ManualClock;
use feedmill_store_api::{
    Container, ContainerSpec, DefaultTtl, DocumentId, FeedRange, FeedStart, Operation, Order, PageRequest,
    PartitionKey, Query, ReadLevel, Scope,
};
use jiff::Timestamp;

use crate::LocalStore;
use crate::epk::boundary;
use crate::options::Options;
use crate::storage::{CountingStorage, Reads};

struct World {
    store: LocalStore,
    container: Arc<dyn Container>,
    reads: Reads,
    clock: ManualClock,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap());
        let storage = CountingStorage::default();
        let reads = storage.reads.clone();
        let store = LocalStore::over(Arc::new(storage), Options::default(), Arc::new(clock.clone()));
        let spec = ContainerSpec::new("c", "/pk")
            .ttl(DefaultTtl::Forever)
            .composite_index(&[("/pk", Order::Ascending), ("/n", Order::Descending)]);
        let database = store.database("costs").await.unwrap();
        database.provision(&spec).await.unwrap();
        let container = database.container("c").await.unwrap();
        Self { store, container, reads, clock }
    }

    async fn fill(&self, keys: u64, each: u64, more: &str) {
        for n in 0..keys * each {
            self.upsert(&format!("k{}", n % keys), &format!("d{n:06}"), n, more).await;
        }
        self.reads.take();
    }

    async fn upsert(&self, key: &str, id: &str, n: u64, more: &str) {
        let body = Bytes::from(format!(r#"{{"id":"{id}","pk":"{key}","n":{n}{more}}}"#));
        let operation = Operation::Upsert { id: DocumentId::new(id).unwrap(), body };
        self.container.write(&PartitionKey::from(key), operation).await.unwrap();
    }

    async fn page_reads(&self, range: &FeedRange, start: &FeedStart, items_max: usize) -> (usize, usize) {
        let page = self.container.read_page(range, start, items_max).await.unwrap();
        (page.changes.len(), self.reads.take())
    }
}

#[tokio::test]
async fn a_feed_page_costs_what_it_holds_wherever_it_begins() {
    let world = World::new().await;
    world.fill(50, 100, "").await;
    let range = &world.container.feed_ranges().await.unwrap()[0];
    let mut start = FeedStart::Beginning;
    for _ in 0..50 {
        let page = world.container.read_page(range, &start, 20).await.unwrap();
        let reads = world.reads.take();
        assert!(reads <= 20 + 20, "{reads} entries for 20 changes");
        start = FeedStart::Position(page.position);
    }
    assert_eq!(world.page_reads(range, &FeedStart::Now, 20).await, (0, 0));
    // Finding a time is a search through each part of the log.
    world.clock.advance(Duration::from_secs(10));
    let late = FeedStart::Time(Timestamp::from_second(1_700_000_005).unwrap());
    world.upsert("k1", "late", 1, "").await;
    world.reads.take();
    let (changes, reads) = world.page_reads(range, &late, 20).await;
    assert!(changes == 1 && reads < 16 * 70, "{reads} entries for {changes} change");
}

#[tokio::test]
async fn a_part_of_a_range_does_not_cost_the_whole() {
    let world = World::new().await;
    world.fill(64, 100, "").await;
    let mut changes = 0;
    for sixteenth in [0, 1, 7, 15] {
        let range = FeedRange::new(boundary(sixteenth, 16), boundary(sixteenth + 1, 16)).unwrap();
        let (found, reads) = world.page_reads(&range, &FeedStart::Beginning, 10_000).await;
        assert!(reads <= found + 2, "{reads} entries for {found} changes of {range}");
        changes += found;
    }
    assert!((400..3_200).contains(&changes), "{changes}");
    // Narrower than a part of the log: that part is what it costs.
    let (found, reads) = world.page_reads(&FeedRange::new("20", "21").unwrap(), &FeedStart::Beginning, 10_000).await;
    assert!(reads <= 1_600, "{reads} entries for {found} changes");
}

#[tokio::test]
async fn a_partition_costs_no_more_for_having_been_split_or_merged() {
    let world = World::new().await;
    world.fill(64, 20, "").await;
    for _ in 0..3 {
        let range = world.container.feed_ranges().await.unwrap()[0].clone();
        world.store.split("costs", "c", &range).await.unwrap();
        let reads = world.reads.take();
        assert!(reads <= 16, "{reads} entries for a split");
    }
    for range in world.container.feed_ranges().await.unwrap() {
        let (found, reads) = world.page_reads(&range, &FeedStart::Beginning, 10_000).await;
        assert!(found > 0 && reads <= found + 16, "{reads} entries for {found} changes of {range}");
    }
    let ranges = world.container.feed_ranges().await.unwrap();
    world.store.merge("costs", "c", &ranges[0], &ranges[1]).await.unwrap();
    assert!(world.reads.take() <= 16);
    let (found, reads) = world.page_reads(&ranges[0], &FeedStart::Beginning, 20).await;
    assert!(found == 20 && reads <= 40, "{reads} entries for {found} changes");
}

#[tokio::test]
async fn a_page_in_index_order_costs_what_it_holds() {
    let world = World::new().await;
    world.fill(2, 3_000, "").await;
    let scope = Scope::Partition(PartitionKey::from("k0"));
    for text in [
        "SELECT * FROM c ORDER BY c.n DESC",
        "SELECT * FROM c ORDER BY c.n",
        "SELECT * FROM c WHERE c.n < 2000 ORDER BY c.n DESC",
        "SELECT * FROM c WHERE c.n >= 4000 ORDER BY c.n",
        "SELECT * FROM c WHERE c.id > 'd003000'",
        "SELECT * FROM c ORDER BY c.id DESC",
    ] {
        let mut page = PageRequest::first(10);
        for _ in 0..5 {
            let found = world.container.query(&scope, &Query::new(text), &page, &ReadLevel::Quorum).await.unwrap();
            let reads = world.reads.take();
            assert_eq!(found.items.len(), 10, "{text}");
            assert!(reads <= 2 * 12, "{reads} entries for ten results of {text}");
            page.continuation = found.continuation;
        }
    }
}

#[tokio::test]
async fn what_expired_is_purged_in_small_steps() {
    let world = World::new().await;
    world.fill(1, 2_000, r#","ttl":100"#).await;
    world.clock.advance(Duration::from_secs(100));
    let range = &world.container.feed_ranges().await.unwrap()[0];
    assert!(world.container.read_page(range, &FeedStart::Beginning, 10).await.unwrap().changes.is_empty());
    world.reads.take();
    let mut writes = 0;
    while world.store.stats().documents > 1 + writes {
        world.upsert("k0", &format!("new{writes}"), writes, "").await;
        writes += 1;
        let reads = world.reads.take();
        assert!(reads <= 4 * 128 + 10, "{reads} entries for one write");
        assert!(writes < 40, "{:?} after {writes} writes", world.store.stats());
    }
    assert_eq!(world.store.check().unwrap(), []);
}

#[tokio::test]
async fn a_write_costs_the_same_however_much_there_is() {
    let world = World::new().await;
    world.fill(1, 10, "").await;
    world.upsert("k0", "new", 1, "").await;
    let of_few = world.reads.take();
    world.fill(1, 3_000, "").await;
    world.upsert("k0", "another", 1, "").await;
    assert_eq!(world.reads.take(), of_few);
}
