use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use feedmill_store_api::{
    BatchOutcome, Container, Database, Document, DocumentId, FeedPage, FeedRange, FeedStart, Operation, PageRequest,
    PartitionKey, PassingContainer, PassingDatabase, Query, QueryPage, ReadLevel, RequestCharge, Result, Scope,
    Written,
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

impl PassingDatabase for MeasuredDatabase {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(Measured { inner, times: Arc::clone(&self.times) })
    }
}

struct Measured {
    inner: Arc<dyn Container>,
    times: Arc<Times>,
}

impl PassingContainer for Measured {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

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

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(self.times.feed.over(self.inner.read_page(range, start, items_max)))
    }
}
