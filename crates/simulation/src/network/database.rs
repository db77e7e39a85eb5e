use std::sync::Arc;

use feedmill_store_api::{Container, ContainerSpec, Database, Provisioned, Result};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::container::FaultyContainer;
use super::link::Link;

/// A database as one host sees it.
pub(crate) struct FaultyDatabase {
    database: Arc<dyn Database>,
    link: Link,
    /// What the account calls itself, and so part of lease prefixes.
    account: String,
}

impl FaultyDatabase {
    pub(crate) fn new(database: &Arc<dyn Database>, link: &Link) -> Self {
        Self { database: Arc::clone(database), link: link.clone(), account: database.host().to_owned() }
    }

    /// Another name for the account: leases of hosts that call it differently do not meet.
    #[must_use]
    pub(crate) fn called(mut self, account: &str) -> Self {
        account.clone_into(&mut self.account);
        self
    }
}

impl Database for FaultyDatabase {
    fn host(&self) -> &str {
        &self.account
    }

    fn rid(&self) -> &str {
        self.database.rid()
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let name = name.to_owned();
        async move {
            let (database, wanted) = (Arc::clone(&self.database), name.clone());
            let send = move || {
                let (database, name) = (Arc::clone(&database), wanted.clone());
                async move { database.container(&name).await }.boxed()
            };
            let container = self.link.request(&name, || "open".to_owned(), false, Box::new(send)).await?;
            Ok(Arc::new(FaultyContainer { container, link: self.link.clone() }) as Arc<dyn Container>)
        }
        .boxed()
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.database.containers()
    }

    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>> {
        self.database.provision(spec)
    }
}
