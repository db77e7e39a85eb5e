//! What documents cost in memory and how many a second one core takes. Run by hand, optimised:
//! `cargo test --release -p feedmill-local-store --test footprint -- --ignored --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions of such a file, not its helpers")]

use std::path::Path;
use std::sync::Arc;

// Who fuzzes the library builds this file with the same instrumentation, which must be linked.
use bolero as _;
use bytes::Bytes;
use feedmill_clock::{Clock, Monotonic, SystemClock};
use feedmill_local_store::{LocalStore, Options};
use feedmill_store_api::{
    BatchOutcome, Container, ContainerSpec, DefaultTtl, DocumentId, FeedStart, Operation, Order, PageRequest,
    PartitionKey, Query, ReadLevel, Scope,
};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Feed items of the data set that the demo loads.
const DOCUMENTS: u64 = 1_600_000;
const READERS: u64 = 1_000;

async fn user_feed(store: &LocalStore) -> Arc<dyn Container> {
    use Order::{Ascending, Descending};
    let spec = ContainerSpec::new("userFeed", "/recipientId")
        .ttl(DefaultTtl::Forever)
        .composite_index(&[("/recipientId", Ascending), ("/createdAt", Descending)])
        .composite_index(&[("/createdAt", Descending), ("/postId", Ascending)])
        .exclude("/_source/*");
    let database = store.database("load").await.unwrap();
    database.provision(&spec).await.unwrap();
    database.container("userFeed").await.unwrap()
}

/// About 450 bytes, as a feed item has.
fn item(reader: u64, post: u64) -> Operation {
    let id = format!("person-{reader:08}:post-{post:010}");
    let body = format!(
        r#"{{"id":"{id}","recipientId":"person-{reader:08}","authorId":"person-{:08}","postId":"post-{post:010}","createdAt":"2012-{:02}-{:02}T{:02}:{:02}:07.123Z","content":"{}","language":"en","_source":{{"rev":1,"of":[{{"c":"authorPosts","id":"post-{post:010}","etag":"\"0-{post:x}\""}},{{"c":"follows","id":"person-{reader:08}:person","etag":"\"0-{reader:x}\""}}]}}}}"#,
        post % 997,
        post % 12 + 1,
        post % 28 + 1,
        post % 24,
        post % 60,
        "About something that was long enough to be said. ".repeat(2),
    );
    Operation::Create { id: DocumentId::new(id).unwrap(), body: Bytes::from(body) }
}

/// Creates in batches of one key; gives the bytes of the bodies and the seconds of this core that the store took.
async fn load(container: &dyn Container, documents: u64, batch: u64, readers: std::ops::Range<u64>) -> (u64, f64) {
    let (mut bytes, mut seconds) = (0, 0.0);
    let count = readers.end - readers.start;
    for round in 0..documents / batch {
        let reader = readers.start + round % count;
        let key = PartitionKey::from(format!("person-{reader:08}"));
        // Posts reach each reader in another order than that of their ids.
        let post = |n: u64| (round / count * batch + n).wrapping_mul(7_919) % 1_000_003;
        let operations: Vec<_> = (0..batch).map(|n| item(reader, post(n))).collect();
        bytes += operations.iter().map(|operation| operation.body_bytes() as u64).sum::<u64>();
        let start = cpu_seconds();
        if batch == 1 {
            for operation in operations {
                container.write(&key, operation).await.unwrap();
            }
        } else {
            let outcome = container.batch(&key, operations).await.unwrap();
            assert!(matches!(outcome, BatchOutcome::Committed { .. }), "{outcome:?}");
        }
        seconds += cpu_seconds() - start;
    }
    (bytes, seconds)
}

/// Of this thread, so that a busy machine does not count.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn since(start: Monotonic) -> f64 {
    SystemClock.monotonic().since(start).as_secs_f64()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

async fn read_back(container: &dyn Container) {
    let start = SystemClock.monotonic();
    let (mut from, mut changes) = (FeedStart::Beginning, 0);
    let ranges = container.feed_ranges().await.unwrap();
    loop {
        let page = container.read_page(&ranges[0], &from, 100).await.unwrap();
        if page.changes.is_empty() {
            break;
        }
        changes += page.changes.len();
        from = FeedStart::Position(page.position);
    }
    println!("feed: {:.0} changes a second", changes as f64 / since(start));
    let start = SystemClock.monotonic();
    let query = Query::new("SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt) ORDER BY c.createdAt DESC, c.postId");
    for reader in 0..1_000 {
        let scope = Scope::Partition(PartitionKey::from(format!("person-{:08}", reader % READERS)));
        let page = container.query(&scope, &query, &PageRequest::first(20), &ReadLevel::Quorum).await.unwrap();
        assert_eq!(page.items.len(), 20);
    }
    println!("query of a page of 20 in order: {:.1} µs", since(start) * 1e6 / 1_000.0);
    let start = SystemClock.monotonic();
    for n in 0..100_000_u64 {
        let reader = n % READERS;
        let key = PartitionKey::from(format!("person-{reader:08}"));
        let id = DocumentId::new(format!("person-{reader:08}:post-{:010}", n * 7_919 % 1_000_003)).unwrap();
        container.read(&key, &id, &ReadLevel::Quorum).await.unwrap();
    }
    println!("read: {:.2} µs", since(start) * 1e6 / 100_000.0);
}

#[tokio::test]
#[ignore = "measures; run by hand"]
async fn what_a_million_documents_cost_in_memory() {
    let store = LocalStore::memory(Options::default(), Arc::new(SystemClock));
    let container = user_feed(&store).await;
    let before = resident_bytes();
    let (bytes, seconds) = load(&*container, DOCUMENTS, 20, 0..READERS).await;
    let resident = resident_bytes() - before;
    println!(
        "{DOCUMENTS} documents of {} bytes: {:.0} creates a second",
        bytes / DOCUMENTS,
        DOCUMENTS as f64 / seconds
    );
    println!("resident: {} MiB, {} bytes a document", resident >> 20, resident / DOCUMENTS);
    println!("{:?}", store.stats());
    read_back(&*container).await;
    for batch in [1, 10, 100] {
        let store = LocalStore::memory(Options::default(), Arc::new(SystemClock));
        let container = user_feed(&store).await;
        let (_, seconds) = load(&*container, 300_000, batch, 0..READERS).await;
        println!("batches of {batch}: {:.0} creates a second", 300_000.0 / seconds);
    }
}

#[tokio::test]
#[ignore = "measures; run by hand"]
async fn what_documents_cost_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), Options::default(), Arc::new(SystemClock)).unwrap();
    let container = user_feed(&store).await;
    for (batch, writers, documents) in [(1, 64, 100_000), (20, 64, 1_000_000)] {
        let start = SystemClock.monotonic();
        let tasks = (0..writers).map(|writer| {
            let container = Arc::clone(&container);
            // Each has its own readers, so that nothing is created twice.
            let readers = batch * 1_000_000 + writer * 20..batch * 1_000_000 + (writer + 1) * 20;
            tokio::spawn(async move { load(&*container, documents / writers, batch, readers).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        println!("{writers} writers, batches of {batch}: {:.0} creates a second", documents as f64 / since(start));
        println!("{:?}, resident {} MiB", store.stats(), resident_bytes() >> 20);
    }
    read_back_disk(&*container).await;
    drop(container);
    store.close().await.unwrap();
    let start = SystemClock.monotonic();
    let store = LocalStore::open(dir.path(), Options::default(), Arc::new(SystemClock)).unwrap();
    user_feed(&store).await;
    println!("opened in {:.2} s", since(start));
}

async fn read_back_disk(container: &dyn Container) {
    let start = SystemClock.monotonic();
    let (mut from, mut changes) = (FeedStart::Beginning, 0);
    let ranges = container.feed_ranges().await.unwrap();
    loop {
        let page = container.read_page(&ranges[0], &from, 100).await.unwrap();
        if page.changes.is_empty() {
            break;
        }
        changes += page.changes.len();
        from = FeedStart::Position(page.position);
    }
    println!("feed: {:.0} changes a second", changes as f64 / since(start));
}
