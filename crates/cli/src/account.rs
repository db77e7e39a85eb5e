use feedmill_cosmos::{Account, AccountKey, ConnectError, Connection};

use crate::error::{Failure, Result};
use crate::settings::Settings;
use crate::store::Opened;

/// Holds the account's key; not a setting, so that no file and no listing of settings shows it.
const KEY: &str = "FEEDMILL_COSMOS_KEY";

/// Whether the settings name an account instead of a store of our own.
pub(crate) fn is_named(settings: &Settings) -> bool {
    settings.cosmos.endpoint != "none"
}

/// Connects to the account of the settings. A missing database is made where `cosmos.create` allows it, if `may_create`.
pub(crate) async fn open(settings: &Settings, may_create: bool) -> Result<Opened> {
    let account = connect(settings).await?;
    let name = &settings.store.database;
    let database = if may_create { account.create_database(name).await? } else { account.database(name).await? };
    // An account that is away may come back, whatever it says meanwhile.
    Ok(Opened { database, failed: Box::pin(std::future::pending()) })
}

/// Connects to the account of the settings.
pub(crate) async fn connect(settings: &Settings) -> Result<Account> {
    if settings.store.data_dir != "none" {
        let error = anyhow::anyhow!("--data-dir and --endpoint name two stores");
        return Err(Failure::misuse(error, "`feedmill config show` prints both; leave one of them at none"));
    }
    let key = std::env::var(KEY).ok().filter(|key| !key.is_empty()).map(AccountKey::from);
    Ok(Account::connect(Connection { options: &settings.cosmos, key, runtime: None }).await?)
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hint = match &error {
            ConnectError::Endpoint { .. } => "--endpoint https://name.documents.azure.com".to_owned(),
            ConnectError::KeyNotAllowed { .. } => {
                "cosmos.credential = \"managed-identity\" needs no key; or --set cosmos.key_allowed=true".to_owned()
            }
            ConnectError::NoKey { .. } => format!("put the key into the environment variable {KEY}"),
            ConnectError::Identity { .. } => {
                "cosmos.credential names managed-identity, workload-identity, developer-tools or key".to_owned()
            }
            ConnectError::Deadline { .. } => "--set cosmos.deadline=10s".to_owned(),
            ConnectError::Store { .. } => {
                "is that the right --endpoint, and does anybody answer there? `feedmill store serve` is one on this machine"
                    .to_owned()
            }
        };
        match error {
            ConnectError::Store { .. } | ConnectError::Identity { .. } => Self::failed(error, hint),
            _ => Self::misuse(error, hint),
        }
    }
}
