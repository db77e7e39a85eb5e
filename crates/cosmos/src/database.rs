use std::sync::Arc;

use azure_data_cosmos::CosmosError;
use azure_data_cosmos::clients::DatabaseClient;
use azure_data_cosmos::models::ContainerProperties;
use azure_data_cosmos::options::CreateContainerOptions;
use feedmill_store_api::{Container, ContainerSpec, Database, Error, ErrorKind, Provisioned, Result};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};

use crate::account::{Account, Throughput};
use crate::container::CosmosContainer;
use crate::error::{failed, write_failed};
use crate::provision;

/// One database of an account.
pub(crate) struct CosmosDatabase {
    client: DatabaseClient,
    name: String,
    host: String,
    rid: String,
    may_create: bool,
    throughput: Throughput,
}

impl CosmosDatabase {
    pub(crate) async fn open(account: &Account, name: &str) -> Result<Self> {
        let client = account.client.database_client(name.to_owned());
        let rid = rid(&client, name).await?;
        let (name, host) = (name.to_owned(), account.host.clone());
        Ok(Self { client, name, host, rid, may_create: account.may_create, throughput: account.throughput })
    }

    async fn look_up(&self, name: &str) -> std::result::Result<CosmosContainer, CosmosError> {
        let client = Box::pin(self.client.container_client(name.to_owned(), None)).await?;
        let properties: ContainerProperties = Box::pin(client.read(None)).await?.into_model()?;
        let partitions = Box::pin(client.read_feed_ranges(None)).await?.len();
        let rid = properties.system_properties.resource_id.clone().unwrap_or_default();
        let spec = provision::spec(&properties, u32::try_from(partitions).unwrap_or(u32::MAX));
        Ok(CosmosContainer { client, rid, spec })
    }

    fn missing(&self, name: &str) -> Error {
        let text = format!(
            "container {name} is not in database {}, and cosmos.create does not allow making it at {}",
            self.name, self.host
        );
        Error::new(ErrorKind::NotFound, text)
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<Provisioned> {
        let mut options = CreateContainerOptions::default();
        if let Some(throughput) = provision::throughput(spec, self.throughput) {
            options = options.with_throughput(throughput);
        }
        let created = Box::pin(self.client.create_container(provision::properties(spec), Some(options))).await;
        match created.map_err(|error| write_failed(|| format!("create container {}", spec.name), error)) {
            Ok(_) => Ok(Provisioned::Created),
            // Another worker was faster, or our own first attempt was.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let there = self.look_up(&spec.name).await;
                let there = there.map_err(|error| failed(|| format!("look container {} up", spec.name), error))?;
                Ok(compared(&there.spec, spec))
            }
            Err(error) => Err(error),
        }
    }
}

/// Creates the database unless there is one.
pub(crate) async fn create(account: &Account, name: &str) -> Result<()> {
    match rid(&account.client.database_client(name.to_owned()), name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => return known.map(drop),
    }
    let created = Box::pin(account.client.create_database(name, None)).await;
    match created.map_err(|error| write_failed(|| format!("create database {name}"), error)) {
        // A conflict is another worker that was faster.
        Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}

async fn rid(client: &DatabaseClient, name: &str) -> Result<String> {
    let attempted = || format!("look database {name} up");
    let read = Box::pin(client.read(None)).await.and_then(|response| response.into_model());
    let properties = read.map_err(|error| failed(attempted, error))?;
    properties.system_properties.resource_id.ok_or_else(|| Error::new(ErrorKind::Corrupt, attempted()))
}

fn compared(there: &ContainerSpec, wanted: &ContainerSpec) -> Provisioned {
    let differences = there.differences(wanted);
    if differences.is_empty() { Provisioned::Unchanged } else { Provisioned::Differs(differences) }
}

impl Database for CosmosDatabase {
    fn host(&self) -> &str {
        &self.host
    }

    fn rid(&self) -> &str {
        &self.rid
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let found = self.look_up(&name).await;
            let found = found.map_err(|error| failed(|| format!("look container {name} up"), error))?;
            Ok(Arc::new(found) as Arc<dyn Container>)
        })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let attempted = || format!("list the containers of database {}", self.name);
            let pages = Box::pin(self.client.query_containers("SELECT * FROM c", None)).await;
            let pages = pages.map_err(|error| failed(attempted, error))?;
            let listed: Vec<_> = pages
                .map(|found| found.map(|found| found.id.to_string()))
                .try_collect()
                .await
                .map_err(|error| failed(attempted, error))?;
            let mut names = listed;
            names.sort();
            Ok(names)
        })
    }

    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>> {
        let spec = spec.clone();
        Box::pin(async move {
            match self.look_up(&spec.name).await {
                Ok(there) => Ok(compared(&there.spec, &spec)),
                Err(error) => match failed(|| format!("look container {} up", spec.name), error) {
                    error if error.kind() != ErrorKind::NotFound => Err(error),
                    _ if !self.may_create => Err(self.missing(&spec.name)),
                    _ => self.create(&spec).await,
                },
            }
        })
    }

    fn throughput<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Option<feedmill_store_api::Throughput>>> {
        Box::pin(async move {
            let attempted = || format!("read the throughput of container {container}");
            let client = Box::pin(self.client.container_client(container.to_owned(), None)).await;
            let client = client.map_err(|error| failed(attempted, error))?;
            match Box::pin(client.read_throughput(None)).await {
                Ok(offer) => Ok(offer.as_ref().and_then(provision::named)),
                Err(error) => Err(failed(attempted, error)),
            }
        })
    }
}
