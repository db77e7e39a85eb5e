use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use feedmill_store_api::{
    BatchOutcome, Container, Database, Document, DocumentId, Error, ErrorKind, Operation, PartitionKey,
    PassingContainer, PassingDatabase, ReadLevel, RequestCharge, Result, Written,
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

impl PassingDatabase for Faulty {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(FaultyContainer { inner, faults: Arc::clone(&self.faults) })
    }
}

impl PassingContainer for FaultyContainer {
    fn inner(&self) -> &dyn Container {
        &*self.inner
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
}
