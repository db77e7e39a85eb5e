use feedmill_store_api::InvalidId;

use crate::{OptionsError, lease};

/// Why an engine could not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("container {name} is missing; create it with `feedmill provision`")]
    MissingContainer { name: String },
    #[error(
        "container {name} has a default time to live of {seconds} s, which would expire what it keeps; \
         set DefaultTimeToLive to -1"
    )]
    Expires { name: String, seconds: u32 },
    #[error("container {name} must have the partition key {expected}, not {found}")]
    PartitionKey { name: String, expected: &'static str, found: String },
    #[error("processor {processor} reads {source_container} twice")]
    Duplicate { processor: String, source_container: String },
    #[error("processor {processor} cannot have leases")]
    Name { processor: String, source: InvalidId },
    #[error(
        "lease {lease} was written within the last minute by {owner}, who takes leases by other rules; run with \
         engine.lease_mode = \"shared\" beside such hosts, and switch once they are stopped"
    )]
    Foreign { lease: String, owner: String },
    #[error(
        "host {host} works on the same leases with engine.lease_mode = \"own\", and would lose all of them to this one; stop such \
         hosts first"
    )]
    Own { host: String },
    #[error("another process has begun as host {host}; give each its own name")]
    Replaced { host: String },
    #[error("host {host} cannot be announced")]
    Host { host: String, source: InvalidId },
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("{attempted}")]
    Store { attempted: String, source: feedmill_store_api::Error },
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error("task {task} panicked: {message}")]
    Panicked { task: String, message: String },
}
