use feedmill_store_api::InvalidId;

/// Why leases could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{attempted}")]
    Store { attempted: String, source: feedmill_store_api::Error },
    #[error("cannot understand lease {id}: {reason}; nobody should write over it")]
    Unreadable { id: String, reason: String },
    #[error(
        "lease {id} reads in mode {mode:?}, and this processor reads incrementally; give the processor another name"
    )]
    Mode { id: String, mode: String },
    #[error("no processor {processor} reads {source_container}")]
    Unknown { processor: String, source_container: String },
    #[error("cannot name a lease {prefix}..{token}")]
    Id { prefix: String, token: String, source: InvalidId },
}

impl Error {
    pub(crate) fn store(attempted: impl Into<String>) -> impl FnOnce(feedmill_store_api::Error) -> Self {
        let attempted = attempted.into();
        move |source| Self::Store { attempted, source }
    }
}
