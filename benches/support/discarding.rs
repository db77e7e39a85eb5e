use std::sync::Arc;

use feedmill_store_api::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Database, Document, DocumentId, Documents, ETag, FeedPage,
    FeedRange, FeedStart, Operation, PageRequest, PartitionKey, Provisioned, Query, QueryPage, ReadLevel,
    RequestCharge, Result, Scope, SessionToken, Written,
};
use futures::future::BoxFuture;

/// A database that takes every write at once and keeps none: what is left is the cost of whoever writes.
pub struct DiscardingDatabase(pub Arc<dyn Database>);

impl Database for DiscardingDatabase {
    fn host(&self) -> &str {
        self.0.host()
    }

    fn rid(&self) -> &str {
        self.0.rid()
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(Arc::new(Discarding(self.0.container(&name).await?)) as Arc<dyn Container>) })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.0.containers()
    }

    fn provision<'a>(&'a self, spec: &ContainerSpec) -> BoxFuture<'a, Result<Provisioned>> {
        self.0.provision(spec)
    }
}

struct Discarding(Arc<dyn Container>);

fn etag() -> Option<ETag> {
    Some(ETag::new("\"discarded\""))
}

impl Documents for Discarding {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        self.0.read(key, id, level)
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        self.0.read_many(key, ids, level)
    }

    fn write<'a>(&'a self, _: &'a PartitionKey, _: Operation) -> BoxFuture<'a, Result<Written>> {
        let written = Written { etag: etag(), charge: RequestCharge::ZERO, session: SessionToken(String::new()) };
        Box::pin(std::future::ready(Ok(written)))
    }

    fn batch<'a>(&'a self, _: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        let etags = operations.iter().map(|_| etag()).collect();
        let (charge, session) = (RequestCharge::ZERO, SessionToken(String::new()));
        Box::pin(std::future::ready(Ok(BatchOutcome::Committed { etags, charge, session })))
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        self.0.query(scope, query, page, level)
    }
}

impl ChangeFeed for Discarding {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        self.0.feed_ranges()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        self.0.read_page(range, start, items_max)
    }
}

impl Container for Discarding {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rid(&self) -> &str {
        self.0.rid()
    }

    fn partition_key_paths(&self) -> &[String] {
        self.0.partition_key_paths()
    }

    fn spec(&self) -> &ContainerSpec {
        self.0.spec()
    }
}
