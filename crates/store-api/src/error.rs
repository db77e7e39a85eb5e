use std::fmt;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do next, not what happened inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Create: the id is taken. Read it and decide again.
    Conflict,
    /// Replace or delete: the document has another etag by now. Read it and decide again.
    Precondition,
    /// Replace, delete or container look-up: there is no such thing.
    NotFound,
    /// Wait this long, then send the same again.
    Throttled { after: Duration },
    /// The store cannot be reached or is not well. Wait with growing delays, then send the same again.
    Unavailable,
    /// The range is no longer one physical partition: look the ranges up again.
    Gone,
    /// Credentials or permissions. Waiting helps once somebody has granted them.
    Forbidden,
    /// The request can never succeed as it is (a body too large, a malformed query, a document without its key).
    Invalid,
    /// What is stored cannot be understood. Nobody should write over it.
    Corrupt,
}

/// Whether a failed write may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Surely not: it was refused, or never sent.
    No,
    /// Perhaps: the reply was lost. A 409 or 412 that follows may be our own success.
    Perhaps,
}

/// A store's failure: what was attempted on what, and the remedy.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    applied: Applied,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, applied: Applied::No, text: text.into(), source: None }
    }

    #[must_use]
    pub fn perhaps_applied(mut self) -> Self {
        self.applied = Applied::Perhaps;
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn applied(&self) -> Applied {
        self.applied
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
