//! The REST protocol of Azure Cosmos DB over a [`feedmill_local_store::LocalStore`], as the official SDKs speak it: accounts of one
//! region and one key, databases, containers, items, batches, queries, change feeds.
//!
//! What it refuses: any credential but the account's key, stored procedures, triggers, user-defined functions, and every request it
//! would have to guess at; those get a 4xx that names what is missing. Nothing is answered before the store has synced it.
//!
//! Read `router.rs` first: it turns a request into a call on the store. `server.rs` only moves bytes.

mod account;
mod all_versions;
mod auth;
mod batches;
mod binary;
mod body;
mod change_feed;
mod containers;
mod control;
mod databases;
mod definition;
mod directory;
mod fault;
mod feed_scope;
mod headers;
mod items;
mod metrics;
mod offers;
mod options;
mod partition_key;
mod patch;
mod path;
mod queries;
mod ranges;
mod reply;
mod router;
mod server;
mod sessions;
mod shifted;
mod tls;

pub use options::{InvalidKey, Key, Options};
pub use router::Gateway;
pub use server::{ServeError, Server};
pub use shifted::ShiftedClock;
pub use tls::{Identity, TlsError};
