use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use feedmill_clock::Entropy;
use feedmill_store_api::{
    BatchOutcome, Container, Database, Document, DocumentId, Error, ErrorKind, Operation, PartitionKey,
    PassingContainer, PassingDatabase, ReadLevel, RequestCharge, Result, Written,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::world::TARGETS;

/// What happens to one request.
pub(super) enum Fault {
    /// Something else happens first; then the request goes on.
    Run(BoxFuture<'static, ()>),
    /// The request does not reach the store.
    Fail(fn() -> Error),
    /// The request takes effect, its reply does not arrive.
    LoseReply,
}

impl Fault {
    pub(super) fn run(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::Run(Box::pin(work))
    }
}

/// Planned faults, and counts of requests on the target container.
#[derive(Default)]
pub(super) struct Faults {
    before_write: Mutex<VecDeque<Fault>>,
    after_read: Mutex<VecDeque<Fault>>,
    after_source_read: Mutex<VecDeque<Fault>>,
    /// What a replica that lags behind says of any source, where the read allows it.
    stale: Mutex<Option<Document>>,
    reads: AtomicU64,
    writes: AtomicU64,
    /// Makes every request take a random number of turns.
    turns: Option<Entropy>,
}

impl Faults {
    pub(super) fn slow(turns: Option<Entropy>) -> Self {
        Self { turns, ..Self::default() }
    }

    pub(super) fn before_write(&self, fault: Fault) {
        self.before_write.lock().push_back(fault);
    }

    pub(super) fn after_read(&self, fault: Fault) {
        self.after_read.lock().push_back(fault);
    }

    pub(super) fn after_source_read(&self, fault: Fault) {
        self.after_source_read.lock().push_back(fault);
    }

    pub(super) fn lag_at(&self, source: Option<Document>) {
        *self.stale.lock() = source;
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    async fn take_turns(&self) {
        if let Some(entropy) = &self.turns {
            for _ in 0..entropy.below(0..5) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether the reply is lost.
    async fn at_write(&self) -> Result<bool> {
        self.take_turns().await;
        let fault = self.before_write.lock().pop_front();
        match fault {
            Some(Fault::Run(work)) => work.await,
            Some(Fault::Fail(error)) => return Err(error()),
            Some(Fault::LoseReply) => return Ok(true),
            None => {}
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    async fn at_read(&self, target: bool) {
        let planned = if target {
            self.reads.fetch_add(1, Ordering::Relaxed);
            &self.after_read
        } else {
            &self.after_source_read
        };
        let fault = planned.lock().pop_front();
        if let Some(Fault::Run(work)) = fault {
            work.await;
        }
        self.take_turns().await;
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the reply was lost").perhaps_applied()
}

pub(super) struct FaultyDatabase {
    pub(super) inner: Arc<dyn Database>,
    pub(super) faults: Arc<Faults>,
}

impl PassingDatabase for FaultyDatabase {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        let target = inner.name() == TARGETS;
        Arc::new(FaultyContainer { inner, target, faults: Arc::clone(&self.faults) })
    }
}

struct FaultyContainer {
    inner: Arc<dyn Container>,
    target: bool,
    faults: Arc<Faults>,
}

impl PassingContainer for FaultyContainer {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(async move {
            let (found, charge) = self.inner.read(key, id, level).await?;
            self.faults.at_read(self.target).await;
            let stale = self.faults.stale.lock().clone().filter(|_| !self.target && *level != ReadLevel::Quorum);
            Ok((stale.or(found), charge))
        })
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move {
            let found = self.inner.read_many(key, ids, level).await?;
            self.faults.at_read(self.target).await;
            Ok(found)
        })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            let lose = self.faults.at_write().await?;
            let written = self.inner.write(key, operation).await?;
            self.faults.take_turns().await;
            if lose { Err(lost()) } else { Ok(written) }
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            let lose = self.faults.at_write().await?;
            let outcome = self.inner.batch(key, operations).await?;
            self.faults.take_turns().await;
            if lose { Err(lost()) } else { Ok(outcome) }
        })
    }
}
