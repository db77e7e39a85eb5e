//! The suite of `store-api` through the official client: over the gateway on a loopback port, and over an account when one is
//! named.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use feedmill_clock::{Entropy, SystemClock};
use feedmill_cosmos::{Account, AccountKey, Connection, Create, CredentialKind, Options};
use feedmill_gateway::{Gateway, Server, ShiftedClock};
use feedmill_local_store::LocalStore;
use feedmill_store_api::conformance::Harness;
use feedmill_store_api::{Database, FeedRange};
use futures::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The account that the suite may fill with containers.
const ENDPOINT: &str = "FEEDMILL_TEST_COSMOS_ENDPOINT";
/// Its key; without it whoever is signed in to the Azure CLI, who must be allowed to make containers.
const KEY: &str = "FEEDMILL_TEST_COSMOS_KEY";

struct Wire {
    database: Arc<dyn Database>,
    containers: AtomicU32,
    /// Nobody moves the clock of an account, or splits it at once.
    gateway: Option<Behind>,
}

/// What a test does behind the gateway's back.
struct Behind {
    clock: ShiftedClock,
    store: LocalStore,
    /// The gateway serves as long as this lives.
    _stop: DropGuard,
}

const DATABASE: &str = "conformance";

impl Wire {
    /// A gateway with a store of its own, in memory, and the client over HTTP.
    async fn over_a_gateway() -> Self {
        let clock = ShiftedClock::new(Arc::new(SystemClock));
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(clock.clone()));
        let options = feedmill_gateway::Options::default();
        let gateway = Gateway::open(store.clone(), options, clock.clone(), Entropy::seeded(1)).await.unwrap();
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await.unwrap();
        let (endpoint, stop) = (server.endpoint(), CancellationToken::new());
        tokio::spawn(server.serve(gateway, stop.clone()));
        let options = Options { endpoint, ..Options::default() };
        let account = Account::connect(Connection { options: &options, key: None, runtime: None }).await.unwrap();
        let database = account.create_database(DATABASE).await.unwrap();
        let behind = Behind { clock, store, _stop: stop.drop_guard() };
        Self { database, containers: AtomicU32::new(0), gateway: Some(behind) }
    }

    /// `None` where no account is named, and then says so.
    async fn over_an_account() -> Option<Self> {
        let Ok(endpoint) = std::env::var(ENDPOINT) else {
            eprintln!("skipped: {ENDPOINT} names no account");
            return None;
        };
        let key = std::env::var(KEY).ok().map(AccountKey::from);
        let credential = if key.is_some() { CredentialKind::Key } else { CredentialKind::DeveloperTools };
        let options = Options { endpoint, credential, key_allowed: true, create: Create::Always, ..Options::default() };
        let account = Account::connect(Connection { options: &options, key, runtime: None }).await.unwrap();
        // A database for each case: names of containers are given anew in each, and what is left over is easily found.
        let name = format!("feedmill-conformance-{:x}", Entropy::from_os().unwrap().next_u64());
        let database = account.create_database(&name).await.unwrap();
        Some(Self { database, containers: AtomicU32::new(0), gateway: None })
    }
}

impl Harness for Wire {
    fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.database)
    }

    fn container_name(&self) -> String {
        format!("c{}", self.containers.fetch_add(1, Ordering::Relaxed))
    }

    fn advance(&self, seconds: u32) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if let Some(behind) = &self.gateway {
                behind.clock.advance(seconds);
            }
            self.gateway.is_some()
        })
    }

    fn split<'a>(&'a self, container: &'a str, range: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(behind) = &self.gateway else { return false };
            behind.store.split(DATABASE, container, range).await.is_ok()
        })
    }

    fn merge<'a>(&'a self, container: &'a str, low: &'a FeedRange, high: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(behind) = &self.gateway else { return false };
            behind.store.merge(DATABASE, container, low, high).await.is_ok()
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        let task = tokio::spawn(task);
        Box::pin(async move { task.await.unwrap() })
    }
}

mod over_a_gateway {
    feedmill_store_api::conformance_tests!(super::Wire::over_a_gateway().await);
}

mod over_an_account {
    feedmill_store_api::conformance_tests!(match super::Wire::over_an_account().await {
        Some(account) => account,
        None => return,
    });
}
