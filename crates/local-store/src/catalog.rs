//! Which databases and containers there are, and under which numbers their documents are kept.

use std::sync::Arc;

use feedmill_store_api::{ContainerSpec, Error};
use serde::{Deserialize, Serialize};

use crate::error::{corrupt, unavailable};
use crate::storage::{Batch, Direction, Shard, ShardId, Storage, Table, Ticket, after_prefix};

const NEXT_ID: &[u8] = b"next";
const DATABASES: &str = "database/";
const CONTAINERS: &str = "container/";

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    id: u32,
    is: T,
}

pub(crate) struct Catalog(Arc<dyn Shard>);

impl Catalog {
    pub(crate) fn of(storage: &dyn Storage) -> Self {
        Self(storage.shard(ShardId::CATALOG))
    }

    pub(crate) fn database(&self, name: &str) -> Result<Option<u32>, Error> {
        Ok(self.get::<()>(&format!("{DATABASES}{name}"))?.map(|entry| entry.id))
    }

    pub(crate) fn add_database(&self, name: &str) -> Result<(u32, Ticket), Error> {
        self.add(&format!("{DATABASES}{name}"), ())
    }

    pub(crate) fn add_container(&self, database: u32, spec: &ContainerSpec) -> Result<(u32, Ticket), Error> {
        self.add(&format!("{CONTAINERS}{database}/{}", spec.name), spec.clone())
    }

    /// Sorted.
    pub(crate) fn databases(&self) -> Result<Vec<String>, Error> {
        let prefix = DATABASES.as_bytes();
        let view = self.0.view();
        let mut cursor =
            view.cursor(Table::State, prefix, &after_prefix(prefix).unwrap_or_default(), Direction::Forward);
        let mut names = Vec::new();
        while cursor.advance().map_err(|failure| unavailable(&failure))? {
            let name = std::str::from_utf8(&cursor.key()[prefix.len()..]);
            names.push(name.map_err(|error| corrupt("read a database's name").with_source(error))?.to_owned());
        }
        Ok(names)
    }

    pub(crate) fn remove_container(&self, database: u32, name: &str) -> Result<Ticket, Error> {
        let mut batch = Batch::default();
        batch.remove(Table::State, format!("{CONTAINERS}{database}/{name}").into_bytes());
        self.0.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())
    }

    /// With all its containers.
    pub(crate) fn remove_database(&self, name: &str, database: u32) -> Result<Ticket, Error> {
        let mut batch = Batch::default();
        batch.remove(Table::State, format!("{DATABASES}{name}").into_bytes());
        for (_, spec) in self.containers(database)? {
            batch.remove(Table::State, format!("{CONTAINERS}{database}/{}", spec.name).into_bytes());
        }
        self.0.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())
    }

    /// Sorted by name.
    pub(crate) fn containers(&self, database: u32) -> Result<Vec<(u32, ContainerSpec)>, Error> {
        let prefix = format!("{CONTAINERS}{database}/").into_bytes();
        let to = after_prefix(&prefix).unwrap_or_default();
        let view = self.0.view();
        let mut cursor = view.cursor(Table::State, &prefix, &to, Direction::Forward);
        let mut containers = Vec::new();
        while cursor.advance().map_err(|failure| unavailable(&failure))? {
            let entry: Entry<ContainerSpec> = serde_json::from_slice(cursor.value())
                .map_err(|error| corrupt("read a container's definition").with_source(error))?;
            containers.push((entry.id, entry.is));
        }
        Ok(containers)
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>, Error> {
        let view = self.0.view();
        let found = view.get(Table::State, key.as_bytes()).map_err(|failure| unavailable(&failure))?;
        let parse = |bytes: crate::storage::Value<'_>| serde_json::from_slice(&bytes);
        found.map(parse).transpose().map_err(|error| corrupt(format!("read {key} in the catalog")).with_source(error))
    }

    /// The caller has made sure that nobody else adds at the same time.
    fn add<T: Serialize>(&self, key: &str, is: T) -> Result<(u32, Ticket), Error> {
        let id = {
            let view = self.0.view();
            let next = view.get(Table::State, NEXT_ID).map_err(|failure| unavailable(&failure))?;
            // 0 is the catalog's own shard.
            next.as_deref().map_or(Ok(1), |bytes| {
                let bytes = bytes.try_into().map_err(|_| corrupt("read the next number in the catalog"))?;
                Ok(u32::from_be_bytes(bytes))
            })?
        };
        let entry = serde_json::to_vec(&Entry { id, is });
        let entry = entry.map_err(|error| corrupt(format!("write {key} to the catalog")).with_source(error))?;
        let mut batch = Batch::default();
        batch.put(Table::State, NEXT_ID.to_vec(), (id + 1).to_be_bytes().to_vec());
        batch.put(Table::State, key.as_bytes().to_vec(), entry);
        let ticket = self.0.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())?;
        Ok((id, ticket))
    }
}
