//! Azure Cosmos DB as a store: `azure_data_cosmos` behind the traits of `store-api`.
//!
//! It refuses to retry in the dark: a throttle is the caller's to wait for, and a write that may have happened says so. It
//! makes no container on an account unless told to, and takes an account key for this machine's own server only unless told
//! otherwise. Read `account.rs` first, then `feed.rs` and `documents.rs`.
//!
//! What has run: everything against the in-process emulator of the driver and against `feedmill store serve`. What has never
//! run: an account in Azure, and with it managed identity, workload identity and quorum reads across replicas.

mod account;
mod batch;
mod body;
mod container;
mod credential;
mod database;
mod documents;
mod error;
mod feed;
mod metrics;
mod options;
mod provision;
mod query;
mod token;

pub use account::{Account, ConnectError, Connection};
pub use azure_core::credentials::Secret as AccountKey;
pub use azure_data_cosmos::CosmosRuntime;
pub use options::{Create, CredentialKind, Options};
