//! What the world itself does with its store, past all faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_clock::{Entropy, ManualClock};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Applied, ContainerSpec, Database, DocumentId, Operation, PageRequest, PartitionKey, Query, ReadLevel, Scope,
};
use serde_json::Value;

use crate::documents::Source;
use crate::network::Replicas;
use crate::power::{Power, Reader};
use crate::seed::Chance;

/// More are of no use to a world of a few keys.
const PARTITIONS_MAX: usize = 4;

/// The store of a world.
#[derive(Clone)]
pub(crate) struct Store {
    /// As the world itself sees it.
    pub(crate) database: Arc<dyn Database>,
    /// As hosts do.
    pub(crate) served: Arc<dyn Database>,
    pub(crate) replicas: Replicas,
    ground: Ground,
}

/// What is under it.
#[derive(Clone)]
enum Ground {
    Memory(LocalStore),
    Disk(Power),
}

const DATABASE: &str = "world";

impl Store {
    pub(crate) async fn new(clock: &ManualClock, containers: impl IntoIterator<Item = ContainerSpec>) -> Self {
        let options = feedmill_local_store::Options::default();
        let store = LocalStore::memory(options, Arc::new(clock.clone()));
        let database = store.database(DATABASE).await.expect("memory does not fail");
        for spec in containers {
            database.provision(&spec).await.expect("memory does not fail");
        }
        let served = Arc::clone(&database);
        Self { database, served, replicas: Replicas::new(clock), ground: Ground::Memory(store) }
    }

    /// On a disk whose power may go. Hosts read as `reader` does.
    pub(crate) async fn on_disk(
        power: &Power,
        reader: Reader,
        containers: impl IntoIterator<Item = ContainerSpec>,
    ) -> Self {
        let (database, served) = (power.database(Reader::World).await, power.database(reader).await);
        for spec in containers {
            database.provision(&spec).await.expect("nothing is cut before the world begins");
        }
        Self { database, served, replicas: Replicas::none(), ground: Ground::Disk(power.clone()) }
    }

    fn local(&self) -> LocalStore {
        match &self.ground {
            Ground::Memory(store) => store.clone(),
            Ground::Disk(power) => {
                power.sync_soon();
                power.store()
            }
        }
    }

    /// Splits one of the container's partitions, or merges two neighbours. What came of it, for the trace.
    pub(crate) async fn reshape(&self, container: &str, chance: &Entropy) -> String {
        let local = self.local();
        let partitions = local.partitions(DATABASE, container).expect("every world provisions what it reshapes");
        let ranges: Vec<_> = partitions.into_iter().map(|partition| partition.range).collect();
        if ranges.len() < PARTITIONS_MAX && chance.happens(if ranges.len() > 1 { 0.5 } else { 1.0 }) {
            let range = chance.one_of(&ranges);
            return match local.split(DATABASE, container, range).await {
                Ok(parts) => format!("splits {range} of {container} into {} and {}", parts[0], parts[1]),
                Err(error) => format!("cannot split {range} of {container}: {error}"),
            };
        }
        let pair = *chance.one_of(&ranges.windows(2).collect::<Vec<_>>());
        match local.merge(DATABASE, container, &pair[0], &pair[1]).await {
            Ok(whole) => format!("merges {} and {} of {container} to {whole}", pair[0], pair[1]),
            Err(error) => format!("cannot merge {} and {} of {container}: {error}", pair[0], pair[1]),
        }
    }

    pub(crate) async fn put(&self, source: &Source) {
        let container = self.database.container(source.container).await.expect("every play provisions what it writes");
        let operation = Operation::Upsert { id: source.id.clone(), body: source.body.clone() };
        match container.write(&source.key, operation).await {
            Ok(written) => self.replicas.landed(&*container, &source.key, &source.id, &written.session),
            // The power went: it is there or it is not, and what is there counts.
            Err(error) => assert_eq!(error.applied(), Applied::Perhaps, "the actors write sound documents: {error}"),
        }
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
        // Nothing happens between the read and the write.
        match container.write(&key, operation).await {
            Ok(written) => self.replicas.landed(&*container, &key, id, &written.session),
            Err(error) => assert_eq!(error.applied(), Applied::Perhaps, "it was read just now: {error}"),
        }
        let found = container.read(&key, id, &ReadLevel::Quorum).await.expect("memory does not fail").0;
        let body = found.map(|document| document.parse::<Value>().expect("documents are JSON"));
        body.is_some_and(|body| body["read"] == true)
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
