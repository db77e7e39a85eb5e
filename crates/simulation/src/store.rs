//! What the world itself does with its store, past all faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_clock::ManualClock;
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    ContainerSpec, Database, DocumentId, Operation, PageRequest, PartitionKey, Query, ReadLevel, Scope,
};
use serde_json::Value;

use crate::documents::Source;

/// The store of a world.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) database: Arc<dyn Database>,
}

impl Store {
    pub(crate) async fn new(clock: &ManualClock, containers: impl IntoIterator<Item = ContainerSpec>) -> Self {
        let options = feedmill_local_store::Options::default();
        let store = LocalStore::memory(options, Arc::new(clock.clone()));
        let database = store.database("world").await.expect("memory does not fail");
        for spec in containers {
            database.provision(&spec).await.expect("memory does not fail");
        }
        Self { database }
    }

    pub(crate) async fn put(&self, source: &Source) {
        let container = self.database.container(source.container).await.expect("every play provisions what it writes");
        let operation = Operation::Upsert { id: source.id.clone(), body: source.body.clone() };
        container.write(&source.key, operation).await.expect("the actors write sound documents");
    }

    /// A person marks what they were told as read, if it is there: one step, on the version they saw.
    pub(crate) async fn mark_as_read(&self, container: &str, key: &str, id: &DocumentId) -> bool {
        let container = self.database.container(container).await.expect("every play provisions what it reads");
        let key = PartitionKey::from(key);
        let read = container.read(&key, id, &ReadLevel::Quorum).await.expect("memory does not fail").0;
        let Some(document) = read else { return false };
        let mut body: Value = document.parse().expect("documents are JSON");
        if body.get("deletedAt").is_some() {
            return false;
        }
        body["read"] = true.into();
        let operation = Operation::Replace {
            id: id.clone(),
            body: bytes::Bytes::from(body.to_string()),
            if_match: Some(document.etag),
        };
        container.write(&key, operation).await.expect("nothing happens between the read and the write");
        true
    }

    /// Every document of a container, in the order of the store.
    pub(crate) async fn all(&self, container: &str) -> Vec<bytes::Bytes> {
        let container = self.database.container(container).await.expect("every play provisions what it reads");
        let (query, mut page) = (Query::new("SELECT * FROM c"), PageRequest::first(1_000));
        let mut all = Vec::new();
        loop {
            let read = container.query(&Scope::Container, &query, &page, &ReadLevel::Quorum).await;
            let read = read.expect("memory does not fail");
            all.extend(read.items);
            page.continuation = read.continuation;
            if page.continuation.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn by_id(&self, container: &str) -> BTreeMap<String, Value> {
        let all = self.all(container).await.into_iter();
        all.map(|body| {
            let document: Value = serde_json::from_slice(&body).expect("documents are JSON");
            (document["id"].as_str().unwrap_or_default().to_owned(), document)
        })
        .collect()
    }
}
