use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::Clock;
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Container, Database, ErrorKind, PageRequest, PartitionKey, Provisioned, Query, ReadLevel, Scope,
};
use futures::future::BoxFuture;

use crate::account;
use crate::containers;
use crate::error::{Failure, Result};
use crate::settings::Settings;

/// Results of one page of a query.
const PAGE_ITEMS_MAX: usize = 1_000;

const MAKE_ONE: &str = "`feedmill demo --data-dir DIR` makes a store with data in it";

/// A store that is open.
pub(crate) struct Opened {
    pub(crate) database: Arc<dyn Database>,
    /// Resolves once the store is of no more use to this process: waiting for it to come back would be in vain.
    pub(crate) failed: BoxFuture<'static, feedmill_store_api::Error>,
}

/// Opens the store of the settings, in memory where they name neither folder nor account.
pub(crate) async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Opened> {
    if account::is_named(settings) {
        return account::open(settings, true).await;
    }
    let store = open_whole(settings, clock)?;
    Ok(Opened { database: store.database(&settings.store.database).await?, failed: store.failed() })
}

/// The embedded store with all its databases.
pub(crate) fn open_whole(settings: &Settings, clock: Arc<dyn Clock>) -> Result<LocalStore> {
    match folder(settings) {
        None => Ok(LocalStore::memory(settings.local_store.clone(), clock)),
        Some(folder) => LocalStore::open(&folder, settings.local_store.clone(), clock).map_err(|error| {
            Failure::failed(error, "a store on disk is one process's at a time; --data-dir names another folder")
        }),
    }
}

/// Opens the store of the settings where there is one already: a folder mistyped is not a new store.
pub(crate) async fn open_existing(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Opened> {
    if account::is_named(settings) {
        return account::open(settings, false).await;
    }
    let Some(folder) = folder(settings) else {
        return Err(Failure::misuse(
            anyhow::anyhow!("no store is named: memory has nothing in it yet"),
            format!("--data-dir DIR, or --endpoint URL; {MAKE_ONE}"),
        ));
    };
    if !folder.is_dir() {
        return Err(Failure::failed(
            anyhow::anyhow!("there is no store in {}: no such folder", folder.display()),
            MAKE_ONE,
        ));
    }
    open(settings, clock).await
}

/// Opens the store of the settings, and makes it where there is none; memory would forget what is put into it.
pub(crate) async fn open_named(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Opened> {
    if folder(settings).is_none() && !account::is_named(settings) {
        let error = anyhow::anyhow!("no store is named: memory would forget it at once");
        return Err(Failure::misuse(error, "--data-dir DIR, or --endpoint URL"));
    }
    open(settings, clock).await
}

/// Creates the containers that are missing. One that is there and is not as it should be is refused: an index or a time to live
/// that is missing shows much later, and as something else.
pub(crate) async fn provision(database: &dyn Database, settings: &Settings) -> Result<()> {
    for spec in containers::wanted(settings) {
        let spec = containers::as_it_may_be(database, settings, spec).await?;
        if let Provisioned::Differs(differences) = database.provision(&spec).await? {
            let said: Vec<_> = differences.iter().map(ToString::to_string).collect();
            return Err(Failure::failed(
                anyhow::anyhow!("container {} is not as it should be: {}", spec.name, said.join("; ")),
                "`feedmill provision --check` shows all differences and what to do; or another --data-dir or store.database",
            ));
        }
    }
    Ok(())
}

/// The container, or which ones there are.
pub(crate) async fn container(database: &dyn Database, name: &str) -> Result<Arc<dyn Container>> {
    match database.container(name).await {
        Ok(container) => Ok(container),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let names = database.containers().await?;
            let hint = if names.is_empty() { MAKE_ONE.to_owned() } else { format!("there are {}", names.join(", ")) };
            Err(Failure::failed(anyhow::anyhow!("there is no container {name}"), hint))
        }
        Err(error) => Err(error.into()),
    }
}

/// All results of a query within one key.
pub(crate) async fn query_all(
    container: &dyn Container,
    key: PartitionKey,
    query: &Query,
) -> feedmill_store_api::Result<Vec<Bytes>> {
    let (scope, mut page) = (Scope::Partition(key), PageRequest::first(PAGE_ITEMS_MAX));
    let mut items = Vec::new();
    loop {
        let read = container.query(&scope, query, &page, &ReadLevel::Quorum).await?;
        items.extend(read.items);
        match read.continuation {
            Some(continuation) => page.continuation = Some(continuation),
            None => return Ok(items),
        }
    }
}

/// The folder of a store on disk.
pub(crate) fn folder(settings: &Settings) -> Option<PathBuf> {
    Some(settings.store.data_dir.as_str()).filter(|folder| *folder != "none").map(|folder| Path::new(folder).to_owned())
}
