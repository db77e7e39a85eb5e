use std::sync::Arc;

use feedmill_store_api::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Document, DocumentId, Documents, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, RequestCharge, Result, Scope,
    Written,
};
use futures::future::BoxFuture;

use crate::batch::{Prepared, check_limits};
use crate::commit::{Committed, Contents, Refused, commit};
use crate::container::Core;
use crate::{change_log, metrics, read, scan};

/// One container, as the rest of feedmill knows it.
///
/// There is one process and one copy, so every read is as fresh as a quorum read; only its charge differs. A read may give
/// what is not yet synced: whatever is derived from it and written here is synced after it, in the same journal.
pub(crate) struct LocalContainer(pub(crate) Arc<Core>);

/// Commits once there is room, and answers once the commit survives a power cut.
pub(crate) async fn commit_durably(
    core: &Core,
    key: &PartitionKey,
    operations: &[Prepared],
    contents: Contents,
) -> Result<std::result::Result<Committed, Refused>> {
    core.room().await?;
    let outcome = commit(core, key, operations, contents)?;
    match &outcome {
        Ok(committed) => {
            core.synced(committed.ticket).await?;
            metrics::committed(core.name());
        }
        Err(_) => metrics::refused(core.name()),
    }
    Ok(outcome)
}

impl Documents for LocalContainer {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(async move {
            let (mut documents, charge) = read::read(&self.0, key, std::slice::from_ref(id), level)?;
            Ok((documents.pop().flatten(), charge))
        })
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move { read::read(&self.0, key, ids, level) })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            self.0.schema.check_key(key)?;
            let operation = Prepared::new(&self.0.schema, key, operation)?;
            match commit_durably(&self.0, key, &[operation], Contents::OfReads).await? {
                Ok(mut committed) => {
                    let etag = committed.done.pop().and_then(|done| done.etag);
                    Ok(Written { etag, charge: committed.charge, session: committed.session })
                }
                Err(refused) => Err(refused.error),
            }
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            self.0.schema.check_key(key)?;
            let bytes = operations.iter().map(Operation::body_bytes).sum();
            check_limits(self.0.name(), operations.len(), bytes)?;
            let mut prepared = Vec::with_capacity(operations.len());
            for (index, operation) in operations.into_iter().enumerate() {
                match Prepared::new(&self.0.schema, key, operation) {
                    Ok(operation) => prepared.push(operation),
                    Err(error) => {
                        let charge = self.0.charge().refused();
                        return Ok(BatchOutcome::Refused { index, error, charge });
                    }
                }
            }
            Ok(match commit_durably(&self.0, key, &prepared, Contents::OfReads).await? {
                Ok(Committed { done, charge, session, .. }) => {
                    let etags = done.into_iter().map(|done| done.etag).collect();
                    BatchOutcome::Committed { etags, charge, session }
                }
                Err(Refused { index, error, charge }) => BatchOutcome::Refused { index, error, charge },
            })
        })
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        Box::pin(async move { scan::query(&self.0, &scope.into(), query, page, level) })
    }
}

impl ChangeFeed for LocalContainer {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        Box::pin(async { Ok(self.0.layout().partitions.iter().map(|partition| partition.range.clone()).collect()) })
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(async move { change_log::read_page(&self.0, range, start, items_max) })
    }
}

impl Container for LocalContainer {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rid(&self) -> &str {
        &self.0.rid
    }

    fn partition_key_paths(&self) -> &[String] {
        &self.0.schema.spec.partition_key
    }

    fn spec(&self) -> &ContainerSpec {
        &self.0.schema.spec
    }
}
