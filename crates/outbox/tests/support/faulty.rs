use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use feedmill_store_api::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Database, Document, DocumentId, Documents, Error, ErrorKind,
    FeedPage, FeedRange, FeedStart, Operation, PageRequest, PartitionKey, Provisioned, Query, QueryPage, ReadLevel,
    RequestCharge, Result, Scope, Written,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// A store that can be away, can keep its answers to itself, and remembers in which order ids were sent.
#[derive(Clone)]
pub(crate) struct Faulty {
    inner: Arc<dyn Database>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    away: AtomicBool,
    silent: AtomicBool,
    sent: Mutex<Vec<String>>,
}

struct FaultyContainer {
    inner: Arc<dyn Container>,
    faults: Arc<Faults>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Database>) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// Refuses everything from now on, or no longer.
    pub(crate) fn away(&self, away: bool) {
        self.faults.away.store(away, Ordering::SeqCst);
    }

    /// Applies writes from now on and never answers them.
    pub(crate) fn silent(&self, silent: bool) {
        self.faults.silent.store(silent, Ordering::SeqCst);
    }

    /// Ids of all writes so far, in the order in which they were sent.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.faults.sent.lock().clone()
    }
}

impl Faults {
    fn check(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
        }
        Ok(())
    }

    async fn answer(&self) {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

impl Database for Faulty {
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
            Ok(Arc::new(FaultyContainer { inner, faults: self.faults.clone() }) as Arc<dyn Container>)
        })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.inner.containers()
    }

    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>> {
        self.inner.provision(spec)
    }
}

impl Container for FaultyContainer {
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

impl ChangeFeed for FaultyContainer {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        self.inner.feed_ranges()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        self.inner.read_page(range, start, items_max)
    }
}

impl Documents for FaultyContainer {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        self.inner.read(key, id, level)
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move {
            self.faults.check()?;
            self.inner.read_many(key, ids, level).await
        })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            self.faults.check()?;
            self.faults.sent.lock().push(operation.id().to_string());
            // Another task may now overtake us, if nothing keeps it.
            tokio::task::yield_now().await;
            let written = self.inner.write(key, operation).await;
            self.faults.answer().await;
            written
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            self.faults.check()?;
            self.faults.sent.lock().extend(operations.iter().map(|operation| operation.id().to_string()));
            let outcome = self.inner.batch(key, operations).await;
            self.faults.answer().await;
            outcome
        })
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        self.inner.query(scope, query, page, level)
    }
}
