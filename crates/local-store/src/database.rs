use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use feedmill_clock::Clock;
use feedmill_store_api::{Container, ContainerSpec, Database, Error, ErrorKind, Provisioned, Result};
use futures::channel::oneshot;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::adapter::LocalContainer;
use crate::catalog::Catalog;
use crate::container::{Core, finish};
use crate::directory::Directory;
use crate::error::{OpenError, unavailable};
use crate::options::Options;
use crate::rid;
use crate::schema::Schema;
use crate::served::ServedDatabase;
use crate::storage::{DiskStorage, MemoryStorage, Opening, Storage, Ticket};

/// What stands for the account's host name in lease prefixes.
const HOST: &str = "local";

/// A store in this process: databases, their containers, their documents. Clones share it.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    options: Arc<Options>,
    clock: Arc<dyn Clock>,
    databases: Mutex<BTreeMap<String, Arc<LocalDatabase>>>,
    /// Held while something is added to the catalog: it numbers databases and containers in one sequence.
    adding: Arc<Mutex<()>>,
}

/// What a store holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Documents, expired ones that are not yet purged included; an estimate on disk.
    pub documents: u64,
    /// Bytes of keys and values in memory, or of all files on disk.
    pub bytes: u64,
    /// Commits to the databases that are open, since their containers were made.
    pub commits: u64,
    /// Syncs since the store was opened. Many commits share one.
    pub syncs: u64,
}

impl LocalStore {
    /// A store that is gone with the process.
    pub fn memory(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self::over(Arc::new(MemoryStorage::default()), options, clock)
    }

    /// Opens the store in `dir`, or makes one where there is nothing. Recovers what every acknowledged write has written,
    /// however the last process ended. Blocks.
    ///
    /// The directory is this process' until the last handle is gone: of the store, its databases and its containers.
    pub fn open(dir: &Path, options: Options, clock: Arc<dyn Clock>) -> std::result::Result<Self, OpenError> {
        let directory = Directory::hold(dir)?;
        let opening = Opening {
            shown: dir.to_owned(),
            cache_bytes: options.cache_bytes,
            memtable_bytes: options.memtable_bytes.max(1024 * 1024),
            sync: options.sync,
        };
        let storage = DiskStorage::open(directory, opening)?;
        Ok(Self::over(Arc::new(storage), options, clock))
    }

    pub(crate) fn over(storage: Arc<dyn Storage>, options: Options, clock: Arc<dyn Clock>) -> Self {
        let (databases, adding) = (Mutex::default(), Arc::default());
        Self { inner: Arc::new(Inner { storage, options: Arc::new(options), clock, databases, adding }) }
    }

    /// The database of this name; created when it is missing.
    pub async fn database(&self, name: &str) -> Result<Arc<dyn Database>> {
        let (database, ticket) = self.inner.database(name)?;
        if let Some(ticket) = ticket {
            synced(&*self.inner.storage, ticket).await?;
        }
        Ok(database)
    }

    /// The database for readers that outlive this process, as those of a server do: what they are shown survives a power
    /// cut.
    ///
    /// Others may see what is not yet synced: they are gone with it. Whoever outlives it could go on behind a change that
    /// was lost, and pass over the one that took its place.
    pub async fn served(&self, name: &str) -> Result<Arc<dyn Database>> {
        let (inner, storage) = (self.database(name).await?, Arc::clone(&self.inner.storage));
        Ok(Arc::new(ServedDatabase { inner, storage }))
    }

    /// Writes out and syncs what is left. From then on nothing is acknowledged any more.
    pub async fn close(self) -> Result<()> {
        let (done, closed) = oneshot::channel();
        let storage = Arc::clone(&self.inner.storage);
        let closing = std::thread::Builder::new().name("feedmill:close".to_owned()).spawn(move || {
            let closed = storage.close();
            // Whoever is told may open the directory again at once.
            drop(storage);
            // Whoever dropped the future does not want to know.
            let _gone = done.send(closed);
        });
        closing.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "start a thread that closes the store").with_source(error)
        })?;
        finish(closed).await.map_err(|failure| unavailable(&failure))
    }

    /// Resolves once the store has failed: from then on it acknowledges nothing, until it is opened again. Never for a store
    /// in memory, nor because it is closed.
    pub fn failed(&self) -> BoxFuture<'static, Error> {
        let failed = self.inner.storage.failed();
        Box::pin(async move {
            match failed {
                Some(failed) => match failed.await {
                    Ok(failure) => unavailable(&failure),
                    Err(_closed) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        })
    }

    pub fn stats(&self) -> Stats {
        let usage = self.inner.storage.usage();
        let cores = self.cores();
        let commits = cores.iter().map(|core| core.layout().commits()).sum();
        Stats { documents: usage.documents, bytes: usage.bytes, commits, syncs: usage.syncs }
    }

    pub(crate) fn find(&self, database: &str, container: &str) -> Option<Arc<Core>> {
        let databases = self.inner.databases.lock();
        databases.get(database)?.containers.lock().get(container).map(Arc::clone)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.inner.storage
    }

    pub(crate) async fn synced(&self, ticket: Ticket) -> Result<()> {
        synced(self.storage(), ticket).await
    }

    /// Takes a database out of the catalog; its containers, whose documents are still there.
    pub(crate) fn forget_database(&self, name: &str) -> Result<Option<(Vec<Arc<Core>>, Ticket)>> {
        if Catalog::of(self.storage()).database(name)?.is_none() {
            return Ok(None);
        }
        // Opened, so that what has to be erased is known.
        let (database, _made) = self.inner.database(name)?;
        let mut databases = self.inner.databases.lock();
        let mut containers = database.containers.lock();
        let ticket = Catalog::of(self.storage()).remove_database(name, database.id)?;
        databases.remove(name);
        Ok(Some((std::mem::take(&mut *containers).into_values().collect(), ticket)))
    }

    /// As [`Self::forget_database`], of one container.
    pub(crate) fn forget_container(&self, database: &str, name: &str) -> Result<Option<(Arc<Core>, Ticket)>> {
        if Catalog::of(self.storage()).database(database)?.is_none() {
            return Ok(None);
        }
        let (database, _made) = self.inner.database(database)?;
        let mut containers = database.containers.lock();
        let Some(core) = containers.get(name).map(Arc::clone) else { return Ok(None) };
        let ticket = Catalog::of(self.storage()).remove_container(database.id, name)?;
        containers.remove(name);
        Ok(Some((core, ticket)))
    }

    /// All containers that are in use; for [`crate::check`].
    pub(crate) fn cores(&self) -> Vec<Arc<Core>> {
        let databases = self.inner.databases.lock();
        databases
            .values()
            .flat_map(|database| database.containers.lock().values().cloned().collect::<Vec<_>>())
            .collect()
    }
}

impl Inner {
    fn database(&self, name: &str) -> Result<(Arc<LocalDatabase>, Option<Ticket>)> {
        let mut databases = self.databases.lock();
        if let Some(database) = databases.get(name) {
            return Ok((Arc::clone(database), None));
        }
        let catalog = Catalog::of(&*self.storage);
        let (id, ticket) = match catalog.database(name)? {
            Some(id) => (id, None),
            None => {
                let _adding = self.adding.lock();
                catalog.add_database(name).map(|(id, ticket)| (id, Some(ticket)))?
            }
        };
        let mut containers = BTreeMap::new();
        for (container, spec) in catalog.containers(id)? {
            let name = spec.name.clone();
            let core = Core::open((id, container), Schema::new(spec)?, &self.storage, &self.options, &self.clock)?;
            containers.insert(name, Arc::new(core));
        }
        let database = Arc::new(LocalDatabase {
            id,
            rid: rid::database(id),
            containers: Mutex::new(containers),
            storage: Arc::clone(&self.storage),
            options: Arc::clone(&self.options),
            clock: Arc::clone(&self.clock),
            adding: Arc::clone(&self.adding),
        });
        databases.insert(name.to_owned(), Arc::clone(&database));
        Ok((database, ticket))
    }
}

struct LocalDatabase {
    id: u32,
    rid: String,
    containers: Mutex<BTreeMap<String, Arc<Core>>>,
    storage: Arc<dyn Storage>,
    options: Arc<Options>,
    clock: Arc<dyn Clock>,
    adding: Arc<Mutex<()>>,
}

impl LocalDatabase {
    fn provision(&self, spec: &ContainerSpec) -> Result<(Provisioned, Option<Ticket>)> {
        let mut containers = self.containers.lock();
        if let Some(there) = containers.get(&spec.name) {
            let differences = there.schema.spec.differences(spec);
            let unchanged = differences.is_empty();
            return Ok((if unchanged { Provisioned::Unchanged } else { Provisioned::Differs(differences) }, None));
        }
        let schema = Schema::new(spec.clone())?;
        let (id, ticket) = {
            let _adding = self.adding.lock();
            Catalog::of(&*self.storage).add_container(self.id, spec)?
        };
        let core = Core::open((self.id, id), schema, &self.storage, &self.options, &self.clock)?;
        containers.insert(spec.name.clone(), Arc::new(core));
        Ok((Provisioned::Created, Some(ticket)))
    }
}

impl Database for LocalDatabase {
    fn host(&self) -> &str {
        HOST
    }

    fn rid(&self) -> &str {
        &self.rid
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let found = self.containers.lock().get(name).map(Arc::clone);
        let missing = || Error::new(ErrorKind::NotFound, format!("open container {name}: there is no such container"));
        let container = found.map(|core| Arc::new(LocalContainer(core)) as Arc<dyn Container>).ok_or_else(missing);
        Box::pin(std::future::ready(container))
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        let names = self.containers.lock().keys().cloned().collect();
        Box::pin(std::future::ready(Ok(names)))
    }

    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>> {
        let spec = spec.clone();
        Box::pin(async move {
            let (provisioned, ticket) = Self::provision(self, &spec)?;
            if let Some(ticket) = ticket {
                synced(&*self.storage, ticket).await?;
            }
            Ok(provisioned)
        })
    }
}

async fn synced(storage: &dyn Storage, ticket: Ticket) -> Result<()> {
    match storage.synced(ticket) {
        Some(wait) => finish(wait).await.map_err(|failure| unavailable(&failure).perhaps_applied()),
        None => Ok(()),
    }
}
