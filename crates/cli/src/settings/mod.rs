//! All options of all crates in one struct, and where their values come from.

mod defaults;
mod keys;
mod load;
mod place;
mod sources;

use serde::{Deserialize, Serialize};

pub(crate) use load::{SettingsError, load};
pub(crate) use sources::{Given, Override, environment};

pub(crate) use defaults::shown;

/// One section a crate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) store: StoreOptions,
    pub(crate) host: HostOptions,
    pub(crate) local_store: feedmill_local_store::Options,
    pub(crate) cosmos: feedmill_cosmos::Options,
    pub(crate) engine: feedmill_engine::Options,
    pub(crate) index: feedmill_index::Options,
    pub(crate) user_feed: feedmill_user_feed::Options,
    pub(crate) counters: feedmill_counters::Options,
    pub(crate) notifications: feedmill_notifications::Options,
    pub(crate) cache: feedmill_cache::Options,
    pub(crate) postgres: PostgresOptions,
    pub(crate) outbox: feedmill_outbox::Options,
    pub(crate) loader: feedmill_workload::loader::Options,
    pub(crate) generate: feedmill_workload::generate::Options,
    pub(crate) telemetry: feedmill_telemetry::Options,
}

/// Which store the commands work on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreOptions {
    /// Folder of the store on disk, made when it is missing. Default `none`: memory, gone when the command ends.
    pub(crate) data_dir: String,
    /// Database within the store. Default `feedmill`.
    pub(crate) database: String,
    /// Physical partitions of each new container that grows with the customer; each is one feed range. Default 4. Containers
    /// that are there keep theirs.
    pub(crate) partitions: u32,
}

/// Who we are among the hosts that share the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HostOptions {
    /// Name in leases and heartbeats. Default `none`: what the platform calls this replica.
    pub(crate) name: String,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { name: "none".to_owned() }
    }
}

/// Where the canonical database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PostgresOptions {
    /// File that holds the database's address. Default `none`: FEEDMILL_POSTGRES_URL has it, which counts before the file.
    pub(crate) url_file: String,
    /// Connections at most, besides one of each relay for its claims. Default 8; never fewer than the relays need.
    pub(crate) connections_max: u32,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { url_file: "none".to_owned(), connections_max: 8 }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { data_dir: "none".to_owned(), database: "feedmill".to_owned(), partitions: 4 }
    }
}
