use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::Clock;
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Container, ContainerSpec, Database, DocumentId, Error, ErrorKind, Operation, PartitionKey, ReadLevel, Result,
};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::definition::Definition;
use crate::fault::Fault;
use crate::offers::Throughput;

/// Where definitions are kept: in the store itself, so that one sync makes them as safe as documents. Never listed.
const OWN_DATABASE: &str = "_feedmill";
const OWN_CONTAINER: &str = "definitions";

/// Which databases and containers there are, under the names and resource ids that requests use.
pub(crate) struct Directory {
    pub(crate) store: LocalStore,
    clock: Arc<dyn Clock>,
    own: Arc<dyn Container>,
    databases: RwLock<BTreeMap<String, Arc<DatabaseEntry>>>,
    /// Held by whoever makes, changes or removes something, so that no two do at once.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

pub(crate) struct DatabaseEntry {
    pub(crate) name: String,
    pub(crate) rid: String,
    pub(crate) kept: Kept,
    handle: Arc<dyn Database>,
    containers: RwLock<BTreeMap<String, Arc<ContainerEntry>>>,
}

pub(crate) struct ContainerEntry {
    pub(crate) container: Arc<dyn Container>,
    pub(crate) database: String,
    pub(crate) database_rid: String,
    pub(crate) definition: Definition,
    pub(crate) kept: Kept,
}

/// What is kept of a database or container beyond what the store itself has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Resource id.
    id: String,
    /// Counts changes; an etag is made of it.
    version: u64,
    pub(crate) timestamp_seconds: i64,
    pub(crate) throughput: Option<Throughput>,
    definition: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Kept {
    pub(crate) fn etag(&self) -> String {
        format!("\"{:08x}-{:x}\"", self.timestamp_seconds, self.version)
    }
}

impl Directory {
    pub(crate) async fn open(store: LocalStore, clock: Arc<dyn Clock>) -> Result<Self> {
        let own = store.served(OWN_DATABASE).await?;
        own.provision(&ContainerSpec::new(OWN_CONTAINER, "/id")).await?;
        let own = own.container(OWN_CONTAINER).await?;
        let directory =
            Self { store, clock, own, databases: RwLock::default(), changing: tokio::sync::Mutex::default() };
        for name in directory.store.databases()? {
            if name != OWN_DATABASE {
                directory.load(&name).await?;
            }
        }
        Ok(directory)
    }

    pub(crate) fn databases(&self) -> Vec<Arc<DatabaseEntry>> {
        self.databases.read().values().cloned().collect()
    }

    /// By name or resource id.
    pub(crate) fn database(&self, name: &str) -> std::result::Result<Arc<DatabaseEntry>, Fault> {
        let databases = self.databases.read();
        let found = databases.get(name).or_else(|| databases.values().find(|entry| entry.rid == name));
        found.cloned().ok_or_else(|| Fault::not_found(format!("there is no database {name}")))
    }

    /// By names or resource ids.
    pub(crate) fn container(&self, database: &str, name: &str) -> std::result::Result<Arc<ContainerEntry>, Fault> {
        let database = self.database(database).map_err(|fault| Fault::owner_not_found(fault.message))?;
        let found = database.find(name);
        found.ok_or_else(|| Fault::owner_not_found(format!("there is no container {name} in {}", database.name)))
    }

    pub(crate) async fn add_database(&self, name: &str, throughput: Option<Throughput>) -> Result<Arc<DatabaseEntry>> {
        let handle = self.store.served(name).await?;
        let kept = self.keep(handle.rid(), None, throughput, None).await?;
        let (name, rid) = (name.to_owned(), handle.rid().to_owned());
        let entry = Arc::new(DatabaseEntry { name: name.clone(), rid, kept, handle, containers: RwLock::default() });
        self.databases.write().insert(name, Arc::clone(&entry));
        Ok(entry)
    }

    pub(crate) async fn remove_database(&self, database: &DatabaseEntry) -> Result<()> {
        self.databases.write().remove(&database.name);
        for container in database.containers() {
            self.forget(container.container.rid()).await?;
        }
        self.forget(&database.rid).await?;
        self.store.drop_database(&database.name).await?;
        Ok(())
    }

    pub(crate) async fn add_container(
        &self,
        database: &DatabaseEntry,
        definition: Definition,
        spec: &ContainerSpec,
        throughput: Option<Throughput>,
    ) -> Result<Arc<ContainerEntry>> {
        database.handle.provision(spec).await?;
        let container = database.handle.container(&spec.name).await?;
        self.store.keep_history(&database.name, &spec.name, definition.history_seconds()).await?;
        let kept = self.keep(container.rid(), Some(&definition), throughput, None).await?;
        Ok(database.put(container, definition, kept))
    }

    /// With another definition or throughput.
    pub(crate) async fn change_container(
        &self,
        entry: &ContainerEntry,
        definition: Definition,
        throughput: Option<Throughput>,
    ) -> Result<Arc<ContainerEntry>> {
        let container = Arc::clone(&entry.container);
        self.store.keep_history(&entry.database, container.name(), definition.history_seconds()).await?;
        let kept = self.keep(container.rid(), Some(&definition), throughput, Some(&entry.kept)).await?;
        let database = self.database(&entry.database);
        let database = database.map_err(|fault| Error::new(ErrorKind::NotFound, fault.message))?;
        Ok(database.put(container, definition, kept))
    }

    pub(crate) async fn remove_container(&self, entry: &ContainerEntry) -> Result<()> {
        if let Ok(database) = self.database(&entry.database) {
            database.containers.write().remove(entry.container.name());
        }
        self.forget(entry.container.rid()).await?;
        self.store.drop_container(&entry.database, entry.container.name()).await?;
        Ok(())
    }

    async fn load(&self, name: &str) -> Result<()> {
        let handle = self.store.served(name).await?;
        let kept = self.kept(handle.rid()).await?;
        let (own_name, rid) = (name.to_owned(), handle.rid().to_owned());
        let names = handle.containers().await?;
        let entry = Arc::new(DatabaseEntry { name: own_name, rid, kept, handle, containers: RwLock::default() });
        for name in names {
            let container = entry.handle.container(&name).await?;
            let kept = self.kept(container.rid()).await?;
            let definition = kept.definition.clone().map(Definition);
            let definition = definition.unwrap_or_else(|| Definition::of_spec(container.spec()));
            entry.put(container, definition, kept);
        }
        self.databases.write().insert(name.to_owned(), entry);
        Ok(())
    }

    /// What is kept under a resource id; of what was made without this protocol, nothing is.
    async fn kept(&self, rid: &str) -> Result<Kept> {
        let (found, _) = self.own.read(&PartitionKey::from(rid), &own_id(rid)?, &ReadLevel::Quorum).await?;
        match found {
            Some(document) => document.parse(),
            None => {
                Ok(Kept { id: rid.to_owned(), version: 0, timestamp_seconds: 0, throughput: None, definition: None })
            }
        }
    }

    async fn keep(
        &self,
        rid: &str,
        definition: Option<&Definition>,
        throughput: Option<Throughput>,
        before: Option<&Kept>,
    ) -> Result<Kept> {
        let kept = Kept {
            id: rid.to_owned(),
            version: before.map_or(0, |before| before.version + 1),
            timestamp_seconds: self.clock.now().as_second(),
            throughput,
            definition: definition.map(|definition| definition.0.clone()),
        };
        let body = Bytes::from(serde_json::to_vec(&kept).expect("what is kept is JSON"));
        self.own.write(&PartitionKey::from(rid), Operation::Upsert { id: own_id(rid)?, body }).await?;
        Ok(kept)
    }

    async fn forget(&self, rid: &str) -> Result<()> {
        let delete = Operation::Delete { id: own_id(rid)?, if_match: None };
        match self.own.write(&PartitionKey::from(rid), delete).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Resource ids have none of the characters that ids may not have.
fn own_id(rid: &str) -> Result<DocumentId> {
    DocumentId::new(rid)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("use the resource id {rid}")).with_source(error))
}

impl DatabaseEntry {
    /// In the order of their names.
    pub(crate) fn containers(&self) -> Vec<Arc<ContainerEntry>> {
        self.containers.read().values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<ContainerEntry>> {
        let containers = self.containers.read();
        containers.get(name).or_else(|| containers.values().find(|entry| entry.container.rid() == name)).cloned()
    }

    fn put(&self, container: Arc<dyn Container>, definition: Definition, kept: Kept) -> Arc<ContainerEntry> {
        let (database, database_rid) = (self.name.clone(), self.rid.clone());
        let name = container.name().to_owned();
        let entry = Arc::new(ContainerEntry { container, database, database_rid, definition, kept });
        self.containers.write().insert(name, Arc::clone(&entry));
        entry
    }
}

impl ContainerEntry {
    pub(crate) fn rid(&self) -> &str {
        self.container.rid()
    }

    /// As clients address it, and as offers name it.
    pub(crate) fn self_link(&self) -> String {
        format!("dbs/{}/colls/{}/", self.database_rid, self.rid())
    }
}
