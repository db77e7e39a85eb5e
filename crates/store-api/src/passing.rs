//! Stores that are another store with something in between: for whoever watches, disturbs or measures one.
//!
//! Implement what differs; everything else is passed on.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Database, Document, DocumentId, Documents, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Provisioned, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Throughput, Written,
};

/// A [`Database`] before another one, whose containers are wrapped as they are opened.
pub trait PassingDatabase: Send + Sync {
    fn inner(&self) -> &dyn Database;

    fn wrap(&self, container: Arc<dyn Container>) -> Arc<dyn Container>;
}

impl<P: PassingDatabase> Database for P {
    fn host(&self) -> &str {
        self.inner().host()
    }

    fn rid(&self) -> &str {
        self.inner().rid()
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let opened = self.inner().container(name);
        Box::pin(async move { Ok(self.wrap(opened.await?)) })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.inner().containers()
    }

    fn provision<'a>(&'a self, spec: &ContainerSpec) -> BoxFuture<'a, Result<Provisioned>> {
        self.inner().provision(spec)
    }

    fn throughput<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Option<Throughput>>> {
        self.inner().throughput(container)
    }
}

/// A [`Container`] before another one. Methods are those of [`Documents`] and [`ChangeFeed`].
pub trait PassingContainer: Send + Sync {
    fn inner(&self) -> &dyn Container;

    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        self.inner().read(key, id, level)
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        self.inner().read_many(key, ids, level)
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        self.inner().write(key, operation)
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        self.inner().batch(key, operations)
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        self.inner().query(scope, query, page, level)
    }

    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        self.inner().feed_ranges()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        self.inner().read_page(range, start, items_max)
    }
}

impl<P: PassingContainer> Documents for P {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        PassingContainer::read(self, key, id, level)
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        PassingContainer::read_many(self, key, ids, level)
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        PassingContainer::write(self, key, operation)
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        PassingContainer::batch(self, key, operations)
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        PassingContainer::query(self, scope, query, page, level)
    }
}

impl<P: PassingContainer> ChangeFeed for P {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        PassingContainer::feed_ranges(self)
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        PassingContainer::read_page(self, range, start, items_max)
    }
}

impl<P: PassingContainer> Container for P {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn rid(&self) -> &str {
        self.inner().rid()
    }

    fn partition_key_paths(&self) -> &[String] {
        self.inner().partition_key_paths()
    }

    fn spec(&self) -> &ContainerSpec {
        self.inner().spec()
    }
}
