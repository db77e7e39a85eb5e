use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{ChangeFeed, ContainerSpec, Difference, Documents, Result};

/// One database of a store.
pub trait Database: Send + Sync {
    /// Host name of the account, as it goes into lease prefixes.
    fn host(&self) -> &str;

    /// Resource id; another one after the database was dropped and made again.
    fn rid(&self) -> &str;

    /// Fails with `NotFound` when there is no such container.
    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>>;

    /// Names of all containers, sorted.
    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Creates the container when it is missing; never changes one that is there.
    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>>;

    /// Request units a second that a container has of its own. `None` where nobody names any: in the embedded store, and where an
    /// account is serverless or the database shares its own.
    fn throughput<'a>(&'a self, _container: &'a str) -> BoxFuture<'a, Result<Option<Throughput>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    Created,
    Unchanged,
    /// What is there differs from the specification, and was left as it is.
    Differs(Vec<Difference>),
}

/// Request units a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throughput {
    /// So many.
    Manual(u64),
    /// So many at most, and a tenth of it at rest.
    Autoscale(u64),
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual(units) => write!(f, "{units} RU/s"),
            Self::Autoscale(units) => write!(f, "up to {units} RU/s"),
        }
    }
}

/// One container: its documents and their change feed.
pub trait Container: Documents + ChangeFeed {
    fn name(&self) -> &str;

    /// Resource id; another one after the container was dropped and made again.
    fn rid(&self) -> &str;

    /// Paths such as `/postId`.
    fn partition_key_paths(&self) -> &[String];

    /// The container as it is, indexes and time to live included.
    fn spec(&self) -> &ContainerSpec;
}
