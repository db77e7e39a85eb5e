use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Url;
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, OperationOptions, OperationOptionsBuilder, Region, RoutingStrategy,
    ServerCertificateValidation, ThrottlingRetryOptionsBuilder, UserAgentSuffix,
};
use azure_data_cosmos::{CosmosClient, CosmosClientBuilder, CosmosRuntime, CosmosRuntimeBuilder};
use feedmill_store_api::{Database, Result};

use crate::AccountKey;
use crate::credential::{Credential, Shown, is_loopback};
use crate::database::CosmosDatabase;
use crate::metrics::Requests;
use crate::options::{Create, Options};

/// The key of every local emulator, published by Microsoft: a name for "this machine", no secret.
/// <https://learn.microsoft.com/azure/cosmos-db/emulator#authentication>
const EMULATOR_KEY: &str = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// The client makes nothing shorter of it.
const DEADLINE_MIN: Duration = Duration::from_secs(1);

/// A region that fails is left for another one once. Whatever fails then is the caller's to try again, with delays.
const FAILOVERS: u32 = 1;

/// Why there is no connection to an account.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("connect to {endpoint:?}: that is not a URL such as https://name.documents.azure.com")]
    Endpoint { endpoint: String },
    #[error(
        "connect to {endpoint} with its key: cosmos.key_allowed is false, and keys are for this machine's own server"
    )]
    KeyNotAllowed { endpoint: String },
    #[error("connect to {endpoint}: no account key was given")]
    NoKey { endpoint: String },
    #[error("connect with credential {kind}")]
    Identity { kind: Shown, source: azure_core::Error },
    #[error("connect to {endpoint} with a deadline of {} ms: it must be at least a second", deadline.as_millis())]
    Deadline { endpoint: String, deadline: Duration },
    #[error("connect to {endpoint}")]
    Store { endpoint: String, source: feedmill_store_api::Error },
}

/// What a connection is made of.
pub struct Connection<'a> {
    pub options: &'a Options,
    /// The account's key. This machine's own server is tried with the key of all emulators when there is none.
    pub key: Option<AccountKey>,
    /// The client's runtime where another transport is wanted than HTTP; tests and simulations have one.
    pub runtime: Option<CosmosRuntime>,
}

/// A connected account. Its databases keep what they need of it.
pub struct Account {
    pub(crate) client: CosmosClient,
    pub(crate) host: String,
    pub(crate) may_create: bool,
    pub(crate) throughput: Throughput,
}

/// Request units a second of new containers.
#[derive(Clone, Copy)]
pub(crate) enum Throughput {
    /// As many as give a container the partitions it is to begin with.
    ByPartitions,
    Fixed(u32),
    /// Whatever the database or the account gives.
    Unnamed,
}

impl Account {
    /// Reads the account's properties, so it fails when nobody answers there.
    pub async fn connect(connection: Connection<'_>) -> std::result::Result<Self, ConnectError> {
        let Connection { options, key, runtime } = connection;
        let endpoint = options.endpoint.clone();
        let url: Url = endpoint.parse().map_err(|_| ConnectError::Endpoint { endpoint: endpoint.clone() })?;
        let Some(host) = url.host_str().map(str::to_owned) else { return Err(ConnectError::Endpoint { endpoint }) };
        if options.deadline < DEADLINE_MIN {
            return Err(ConnectError::Deadline { endpoint, deadline: options.deadline });
        }
        let local = is_loopback(&url);
        let key = key.or_else(|| local.then(|| AccountKey::from(EMULATOR_KEY.to_owned())));
        let credential = Credential::choose(options, &url, key)?;
        let failed = |source| {
            let error = crate::error::failed(|| format!("connect to {endpoint}"), source);
            ConnectError::Store { endpoint: endpoint.clone(), source: error }
        };
        let runtime = match runtime {
            Some(runtime) => runtime,
            None => own_runtime().await.map_err(failed)?,
        };
        let builder = CosmosClientBuilder::new()
            .with_runtime(runtime)
            .with_default_operation_options(operation_options(options.deadline))
            // A body goes out as the text we were given; the binary form is made by parsing it again, and refuses raw text.
            .with_binary_encoding_options(BinaryEncodingOptions::new().with_enabled(false))
            .with_diagnostics_handler(Arc::new(Requests));
        let regions = options.regions.iter().map(|name| Region::new(name.clone())).collect();
        let build = builder.build(credential.reference(url), RoutingStrategy::PreferredRegions(regions));
        let client = Box::pin(build).await.map_err(failed)?;
        let may_create = match options.create {
            Create::Loopback => local,
            Create::Always => true,
            Create::Never => false,
        };
        let throughput = match options.throughput {
            Some(units) => Throughput::Fixed(units),
            None if local => Throughput::ByPartitions,
            None => Throughput::Unnamed,
        };
        Ok(Self { client, host, may_create, throughput })
    }

    /// One database; `NotFound` when there is none.
    pub async fn database(&self, name: &str) -> Result<Arc<dyn Database>> {
        Ok(Arc::new(CosmosDatabase::open(self, name).await?))
    }

    /// One database, made when it is missing and the options allow it.
    pub async fn create_database(&self, name: &str) -> Result<Arc<dyn Database>> {
        if self.may_create {
            crate::database::create(self, name).await?;
        }
        self.database(name).await
    }
}

/// One for each account: the global one of the process would share what tests set up.
async fn own_runtime() -> azure_data_cosmos::Result<CosmosRuntime> {
    let pool = ConnectionPoolOptions::builder()
        // Emulators sign their own certificates; the client accepts those on this machine only.
        .with_server_certificate_validation(ServerCertificateValidation::RequiredUnlessEmulator)
        .build()?;
    let mut builder = CosmosRuntimeBuilder::new().with_connection_pool(pool);
    if let Ok(suffix) = UserAgentSuffix::try_from("feedmill") {
        builder = builder.with_user_agent_suffix(suffix);
    }
    Box::pin(builder.build()).await
}

fn operation_options(deadline: Duration) -> OperationOptions {
    OperationOptionsBuilder::new()
        .with_end_to_end_latency_policy(deadline.into())
        .with_max_failover_retry_count(FAILOVERS)
        // The first 429 comes back: our own window has to learn of it.
        .with_throttling_retry_options(ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build())
        .build()
}
