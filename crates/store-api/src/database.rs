use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{ChangeFeed, ContainerSpec, Documents, Result};

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    Created,
    Unchanged,
    /// What is there differs from the specification: each difference in words.
    Differs(Vec<String>),
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
