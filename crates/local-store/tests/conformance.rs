//! The suite of `feedmill-store-api`, over memory and over disk.

#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions of such a file, not its helpers")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

// Who fuzzes the library builds this file with the same instrumentation, which must be linked.
use bolero as _;
use feedmill_clock::ManualClock;
use feedmill_local_store::{LocalStore, Options};
use feedmill_store_api::conformance::Harness;
use feedmill_store_api::{Database, FeedRange};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tempfile::TempDir;

struct Local {
    clock: ManualClock,
    store: LocalStore,
    database: Arc<dyn Database>,
    containers: AtomicU32,
    _dir: Option<TempDir>,
}

impl Local {
    async fn memory() -> Self {
        let clock = clock();
        Self::over(LocalStore::memory(Options::default(), Arc::new(clock.clone())), clock, None).await
    }

    async fn disk() -> Self {
        let (clock, dir) = (clock(), tempfile::tempdir().unwrap());
        let store = LocalStore::open(dir.path(), Options::default(), Arc::new(clock.clone())).unwrap();
        Self::over(store, clock, Some(dir)).await
    }

    async fn over(store: LocalStore, clock: ManualClock, dir: Option<TempDir>) -> Self {
        let database = store.database("conformance").await.unwrap();
        Self { clock, store, database, containers: AtomicU32::new(0), _dir: dir }
    }
}

/// Whatever a case has done, what is stored must not contradict itself.
impl Drop for Local {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.store.check().unwrap(), []);
        }
    }
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap())
}

impl Harness for Local {
    fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.database)
    }

    fn container_name(&self) -> String {
        format!("c{}", self.containers.fetch_add(1, Ordering::Relaxed))
    }

    fn advance(&self, seconds: u32) -> BoxFuture<'_, bool> {
        self.clock.advance(Duration::from_secs(u64::from(seconds)));
        Box::pin(std::future::ready(true))
    }

    fn split<'a>(&'a self, container: &'a str, range: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.store.split("conformance", container, range).await.is_ok() })
    }

    fn merge<'a>(&'a self, container: &'a str, low: &'a FeedRange, high: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.store.merge("conformance", container, low, high).await.is_ok() })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        let task = tokio::spawn(task);
        Box::pin(async { task.await.unwrap() })
    }
}

mod memory {
    feedmill_store_api::conformance_tests!(super::Local::memory().await);
}

mod disk {
    feedmill_store_api::conformance_tests!(super::Local::disk().await);
}
