use std::sync::Arc;

use feedmill_store_api::{
    Applied, BatchOutcome, Container, Database, Document, DocumentId, FeedPage, FeedRange, FeedStart, Operation,
    PageRequest, PartitionKey, PassingContainer, PassingDatabase, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Written,
};
use futures::future::BoxFuture;

use crate::container::finish;
use crate::error::unavailable;
use crate::storage::Storage;

/// A database whose answers survive a power cut, refusals included: they tell what is there too.
pub(crate) struct ServedDatabase {
    pub(crate) inner: Arc<dyn Database>,
    pub(crate) storage: Arc<dyn Storage>,
}

struct Served {
    inner: Arc<dyn Container>,
    storage: Arc<dyn Storage>,
}

impl PassingDatabase for ServedDatabase {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(Served { inner, storage: Arc::clone(&self.storage) })
    }
}

/// An answer, once everything that it may have been made from is safe.
pub(crate) async fn safe<T>(storage: &dyn Storage, answer: Result<T>) -> Result<T> {
    // Whoever does not know what became of a write shows nothing, and must not be told that it was not done.
    if answer.as_ref().is_err_and(|error| error.applied() == Applied::Perhaps) {
        return answer;
    }
    if let Some(wait) = storage.shown() {
        finish(wait).await.map_err(|failure| unavailable(&failure))?;
    }
    answer
}

impl Served {
    async fn safe<T>(&self, answer: Result<T>) -> Result<T> {
        safe(&*self.storage, answer).await
    }
}

impl PassingContainer for Served {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(async move { self.safe(self.inner.read(key, id, level).await).await })
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move { self.safe(self.inner.read_many(key, ids, level).await).await })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            match self.inner.write(key, operation).await {
                // It waited for its own sync, and says nothing of others.
                Ok(written) => Ok(written),
                refused => self.safe(refused).await,
            }
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            match self.inner.batch(key, operations).await {
                Ok(committed @ BatchOutcome::Committed { .. }) => Ok(committed),
                refused => self.safe(refused).await,
            }
        })
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        Box::pin(async move { self.safe(self.inner.query(scope, query, page, level).await).await })
    }

    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        Box::pin(async move { self.safe(self.inner.feed_ranges().await).await })
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(async move { self.safe(self.inner.read_page(range, start, items_max).await).await })
    }
}
