use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use feedmill_store_api::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Database, Document, DocumentId, Documents, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Provisioned, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Written,
};
use futures::future::BoxFuture;

/// Time spent inside the store, summed over all that call it.
#[derive(Default)]
pub struct Times {
    feed: Spending,
    reads: Spending,
    writes: Spending,
}

#[derive(Default)]
struct Spending {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub calls: u64,
    pub time: Duration,
}

impl Times {
    pub fn feed(&self) -> Spent {
        self.feed.spent()
    }

    /// Point reads and queries.
    pub fn reads(&self) -> Spent {
        self.reads.spent()
    }

    pub fn writes(&self) -> Spent {
        self.writes.spent()
    }
}

impl Spending {
    fn spent(&self) -> Spent {
        let time = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed));
        Spent { calls: self.calls.load(Ordering::Relaxed), time }
    }

    async fn over<T>(&self, work: impl Future<Output = T>) -> T {
        let began = SystemClock.monotonic();
        let done = work.await;
        let took = SystemClock.monotonic().since(began);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        done
    }
}

/// A database that passes everything on and keeps the time.
pub struct MeasuredDatabase {
    inner: Arc<dyn Database>,
    times: Arc<Times>,
}

impl MeasuredDatabase {
    pub fn new(inner: Arc<dyn Database>) -> (Arc<Self>, Arc<Times>) {
        let times = Arc::<Times>::default();
        (Arc::new(Self { inner, times: Arc::clone(&times) }), times)
    }
}

impl Database for MeasuredDatabase {
    fn host(&self) -> &str {
        self.inner.host()
    }

    fn rid(&self) -> &str {
        self.inner.rid()
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let inner = self.inner.container(&name).await?;
            Ok(Arc::new(Measured { inner, times: Arc::clone(&self.times) }) as Arc<dyn Container>)
        })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.inner.containers()
    }

    fn provision<'a>(&'a self, spec: &ContainerSpec) -> BoxFuture<'a, Result<Provisioned>> {
        self.inner.provision(spec)
    }
}

struct Measured {
    inner: Arc<dyn Container>,
    times: Arc<Times>,
}

impl Documents for Measured {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(self.times.reads.over(self.inner.read(key, id, level)))
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(self.times.reads.over(self.inner.read_many(key, ids, level)))
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(self.times.writes.over(self.inner.write(key, operation)))
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(self.times.writes.over(self.inner.batch(key, operations)))
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        Box::pin(self.times.reads.over(self.inner.query(scope, query, page, level)))
    }
}

impl ChangeFeed for Measured {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        self.inner.feed_ranges()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(self.times.feed.over(self.inner.read_page(range, start, items_max)))
    }
}

impl Container for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn rid(&self) -> &str {
        self.inner.rid()
    }

    fn partition_key_paths(&self) -> &[String] {
        self.inner.partition_key_paths()
    }

    fn spec(&self) -> &ContainerSpec {
        self.inner.spec()
    }
}
