//! Removing databases and containers.

use std::sync::Arc;

use feedmill_store_api::{Database, Result};

use crate::catalog::Catalog;
use crate::container::Core;
use crate::database::LocalStore;
use crate::error::unavailable;
use crate::storage::{Batch, Direction, Table};

/// Entries removed in one step, so that writers elsewhere are not held up for longer than a page takes.
const ERASED_MAX: usize = 1_000;

impl LocalStore {
    /// Names of all databases, sorted.
    pub fn databases(&self) -> Result<Vec<String>> {
        Catalog::of(self.storage()).databases()
    }

    /// The database of this name, if there is one. [`LocalStore::database`] makes it.
    pub async fn find_database(&self, name: &str) -> Result<Option<Arc<dyn Database>>> {
        match Catalog::of(self.storage()).database(name)? {
            Some(_) => self.database(name).await.map(Some),
            None => Ok(None),
        }
    }

    /// Removes a database with all its containers; whether there was one. Its name is free again as soon as this is
    /// acknowledged, and what takes it has another rid.
    ///
    /// Requests under way on its containers may still succeed; nobody will see what they did. Documents go after the names: when
    /// the process ends in between they stay on disk, out of reach.
    pub async fn drop_database(&self, name: &str) -> Result<bool> {
        let Some(database) = self.forget_database(name)? else { return Ok(false) };
        let (cores, ticket) = database;
        self.synced(ticket).await?;
        for core in cores {
            erase_all(&core).await?;
        }
        Ok(true)
    }

    /// Removes a container; whether there was one. As [`LocalStore::drop_database`] does with all of them.
    pub async fn drop_container(&self, database: &str, name: &str) -> Result<bool> {
        let Some((core, ticket)) = self.forget_container(database, name)? else { return Ok(false) };
        self.synced(ticket).await?;
        erase_all(&core).await?;
        Ok(true)
    }
}

async fn erase_all(core: &Core) -> Result<()> {
    for table in Table::ALL {
        erase(core, table).await?;
    }
    Ok(())
}

/// Removes all that a table has, in steps.
pub(crate) async fn erase(core: &Core, table: Table) -> Result<()> {
    let mut erased = None;
    loop {
        core.room().await?;
        let mut batch = Batch::default();
        {
            let view = core.shard.view();
            let mut cursor = view.cursor(table, &[], &[u8::MAX; 8], Direction::Forward);
            while batch.changes.len() < ERASED_MAX && cursor.advance().map_err(|failure| unavailable(&failure))? {
                batch.remove(table, cursor.key().to_vec());
            }
        }
        if batch.changes.is_empty() {
            break;
        }
        erased = Some(core.shard.apply(batch).map_err(|failure| unavailable(&failure))?);
    }
    match erased {
        Some(ticket) => core.synced(ticket).await,
        None => Ok(()),
    }
}
