use std::sync::Arc;

use feedmill_store_api::{
    Applied, BatchOutcome, ChangeFeed, Container, ContainerSpec, Document, DocumentId, Documents, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, RequestCharge, Result, Scope,
    Written,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::link::{Link, Read, Sender};

/// A container as one host sees it.
pub(super) struct FaultyContainer {
    pub(super) container: Arc<dyn Container>,
    pub(super) link: Link,
}

impl FaultyContainer {
    /// `request` is what the store is asked; it gets the container anew each time it is sent.
    fn sender<T, F>(&self, request: F) -> Sender<T>
    where
        F: Fn(Arc<dyn Container>, Link) -> BoxFuture<'static, Result<T>> + Send + Sync + 'static,
    {
        let (container, link) = (Arc::clone(&self.container), self.link.clone());
        Box::new(move || request(Arc::clone(&container), link.clone()))
    }
}

impl Documents for FaultyContainer {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        let (key, id, level) = (key.clone(), id.clone(), level.clone());
        let shown = id.clone();
        let send = self.sender(move |container, link| {
            let (key, id, level) = (key.clone(), id.clone(), level.clone());
            async move {
                let (found, charge) = container.read(&key, &id, &level).await?;
                let read = Read { key: &key, ids: &[id], level: &level, found: vec![found] };
                Ok((link.seen(container.name(), read).pop().flatten(), charge))
            }
            .boxed()
        });
        self.link.request(self.container.name(), move || format!("read {shown}"), false, send).boxed()
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        let (key, ids, level): (_, Arc<[DocumentId]>, _) = (key.clone(), ids.into(), level.clone());
        let shown = Arc::clone(&ids);
        let send = self.sender(move |container, link| {
            let (key, ids, level) = (key.clone(), Arc::clone(&ids), level.clone());
            async move {
                let (found, charge) = container.read_many(&key, &ids, &level).await?;
                let read = Read { key: &key, ids: &ids, level: &level, found };
                Ok((link.seen(container.name(), read), charge))
            }
            .boxed()
        });
        self.link.request(self.container.name(), move || format!("read {}", names(&shown)), false, send).boxed()
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        let (key, operation) = (key.clone(), Arc::new(operation));
        let shown = Arc::clone(&operation);
        let send = self.sender(move |container, link| {
            let (key, operation) = (key.clone(), Arc::clone(&operation));
            async move {
                let written = container.write(&key, (*operation).clone()).await;
                match &written {
                    Ok(written) => link.landed(&*container, &key, [&*operation], &written.session),
                    Err(error) if error.applied() == Applied::Perhaps => {
                        link.survived(container.name(), &key, &operation).await;
                    }
                    Err(_) => {}
                }
                written
            }
            .boxed()
        });
        self.link.request(self.container.name(), move || describe(&shown), true, send).boxed()
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        let (key, operations): (_, Arc<[Operation]>) = (key.clone(), operations.into());
        let shown = Arc::clone(&operations);
        let send = self.sender(move |container, link| {
            let (key, operations) = (key.clone(), Arc::clone(&operations));
            async move {
                let outcome = container.batch(&key, operations.to_vec()).await?;
                if let BatchOutcome::Committed { session, .. } = &outcome {
                    link.landed(&*container, &key, &*operations, session);
                }
                Ok(outcome)
            }
            .boxed()
        });
        let what = move || shown.iter().map(describe).collect::<Vec<_>>().join(", ");
        self.link.request(self.container.name(), what, true, send).boxed()
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        let (scope, query, page, level) = (scope.clone(), query.clone(), page.clone(), level.clone());
        let shown = scope.clone();
        let send = self.sender(move |container, link| {
            let (scope, query, page, level) = (scope.clone(), query.clone(), page.clone(), level.clone());
            async move {
                let found = container.query(&scope, &query, &page, &level).await?;
                Ok(link.listed(container.name(), &scope, found))
            }
            .boxed()
        });
        self.link.request(self.container.name(), move || format!("query {shown:?}"), false, send).boxed()
    }
}

impl ChangeFeed for FaultyContainer {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        let send = self.sender(|container, _| async move { container.feed_ranges().await }.boxed());
        self.link.request(self.container.name(), || "ranges".to_owned(), false, send).boxed()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        let (range, start) = (range.clone(), start.clone());
        let shown = start.clone();
        let send = self.sender(move |container, _| {
            let (range, start) = (range.clone(), start.clone());
            async move { container.read_page(&range, &start, items_max).await }.boxed()
        });
        self.link.request(self.container.name(), move || format!("feed from {shown:?}"), false, send).boxed()
    }
}

impl Container for FaultyContainer {
    fn name(&self) -> &str {
        self.container.name()
    }

    fn rid(&self) -> &str {
        self.container.rid()
    }

    fn partition_key_paths(&self) -> &[String] {
        self.container.partition_key_paths()
    }

    fn spec(&self) -> &ContainerSpec {
        self.container.spec()
    }
}

fn names(ids: &[DocumentId]) -> String {
    ids.iter().map(DocumentId::as_str).collect::<Vec<_>>().join(" ")
}

fn describe(operation: &Operation) -> String {
    match operation {
        Operation::Create { id, .. } => format!("create {id}"),
        Operation::Upsert { id, .. } => format!("upsert {id}"),
        Operation::Replace { id, if_match, .. } => format!("replace {id}{}", condition(if_match.as_ref())),
        Operation::Delete { id, if_match } => format!("delete {id}{}", condition(if_match.as_ref())),
    }
}

fn condition(etag: Option<&feedmill_store_api::ETag>) -> String {
    etag.map_or_else(String::new, |etag| format!(" of {etag}"))
}
