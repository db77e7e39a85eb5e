use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Entropy, ManualClock};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{
    Container, ContainerSpec, Database, DefaultTtl, DocumentId, Operation, PageRequest, PartitionKey, Query, ReadLevel,
    Scope,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::spy::{SpiedDatabase, Spy};
use crate::{Engine, EngineError, Handler, Lifetime, Options, Parts, Processor, StartFrom, Summary};

pub(super) const SOURCE: &str = "source";
pub(super) const NEXT: &str = "next";

/// A store with two sources, and a clock that moves on when nothing else happens.
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) spy: Arc<Spy>,
    pub(super) options: Options,
    pub(super) exclusive: bool,
    pub(super) host: &'static str,
    /// Not spied upon: for what the test itself does.
    pub(super) database: Arc<dyn Database>,
    /// For splits and merges.
    pub(super) store: LocalStore,
    /// Engines made so far: each draws other incarnations.
    engines: AtomicU64,
    _time: AbortOnDropHandle<()>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_partitions(1).await
    }

    pub(super) async fn with_partitions(partitions: u32) -> Self {
        let leases = ContainerSpec::new("leases", "/id").ttl(DefaultTtl::Forever);
        Self::with(partitions, Some(leases)).await
    }

    pub(super) async fn with(partitions: u32, leases: Option<ContainerSpec>) -> Self {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(clock.clone()));
        let database = store.database("db").await.unwrap();
        let source = |name| ContainerSpec::new(name, "/k").ttl(DefaultTtl::Forever).partitions(partitions);
        let dead_letters = ContainerSpec::new("deadLetters", "/id").ttl(DefaultTtl::Forever);
        for spec in [source(SOURCE), source(NEXT), dead_letters].into_iter().chain(leases) {
            database.provision(&spec).await.unwrap();
        }
        let time = tokio::spawn(pass_time(clock.clone()));
        Self {
            clock,
            spy: Arc::default(),
            options: Options::default(),
            exclusive: true,
            host: "host-1",
            database,
            store,
            engines: AtomicU64::new(0),
            _time: AbortOnDropHandle::new(time),
        }
    }

    pub(super) async fn put(&self, key: &str, id: &str) {
        self.put_in(SOURCE, key, id, "").await;
    }

    pub(super) async fn put_in(&self, container: &str, key: &str, id: &str, value: &str) {
        put(&*self.database, container, key, id, value).await;
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine_on(self.host, &self.spy)
    }

    /// An engine whose requests `spy` sees.
    pub(super) fn engine_on(&self, host: &str, spy: &Arc<Spy>) -> Engine {
        Engine::new(Parts {
            database: Arc::new(SpiedDatabase { inner: Arc::clone(&self.database), spy: Arc::clone(spy) }),
            clock: Arc::new(self.clock.clone()),
            entropy: Entropy::seeded(7 + self.engines.fetch_add(1, Ordering::Relaxed)),
            host: host.to_owned(),
            exclusive: self.exclusive,
            options: self.options.clone(),
        })
    }

    pub(super) fn engine_of(&self, handler: Arc<dyn Handler>) -> Engine {
        let mut engine = self.engine();
        engine.add(processor("p", SOURCE, handler));
        engine
    }

    pub(super) async fn until_caught_up(&self, handler: Arc<dyn Handler>) -> Summary {
        caught_up(self.engine_of(handler)).await.unwrap()
    }

    /// Runs until stopped, in a task.
    pub(super) fn start(&self, engine: Engine) -> Running {
        let stop = CancellationToken::new();
        let task = tokio::spawn(engine.run(Lifetime::UntilStopped, stop.clone()));
        Running { stop, task: AbortOnDropHandle::new(task) }
    }

    pub(super) async fn leases(&self) -> Vec<Value> {
        self.all("leases").await.into_iter().filter(|lease| lease.get("LeaseToken").is_some()).collect()
    }

    pub(super) async fn letters(&self) -> Vec<Value> {
        self.all("deadLetters").await
    }

    pub(super) async fn all(&self, container: &str) -> Vec<Value> {
        let container = self.database.container(container).await.unwrap();
        let (query, mut request) = (Query::new("SELECT * FROM c"), PageRequest::first(1_000));
        let mut all = Vec::new();
        loop {
            let page = container.query(&Scope::Container, &query, &request, &ReadLevel::Quorum).await.unwrap();
            all.extend(page.items.iter().map(|item| serde_json::from_slice::<Value>(item).unwrap()));
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => return all,
            }
        }
    }

    /// Writes over a lease or a dead letter, as an operator or another host would.
    pub(super) async fn overwrite(&self, container: &str, document: &Value) {
        let id = document["id"].as_str().unwrap();
        let operation = Operation::Upsert { id: DocumentId::new(id).unwrap(), body: Bytes::from(document.to_string()) };
        let container = self.database.container(container).await.unwrap();
        container.write(&PartitionKey::from(id), operation).await.unwrap();
    }

    /// A lease or a dead letter, as an operator or another host would.
    pub(super) async fn remove(&self, container: &str, id: &str) {
        let operation = Operation::Delete { id: DocumentId::new(id).unwrap(), if_match: None };
        let container = self.database.container(container).await.unwrap();
        container.write(&PartitionKey::from(id), operation).await.unwrap();
    }

    pub(super) async fn source(&self) -> Arc<dyn Container> {
        self.database.container(SOURCE).await.unwrap()
    }

    /// Lets things happen until `done`. Bounded by turns, not by time.
    pub(super) async fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..200_000 {
            if done() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("it never came to this: {what}");
    }
}

pub(super) struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<Summary, EngineError>>,
}

impl Running {
    pub(super) async fn stop(self) -> Summary {
        self.stop.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// Its own end. Bounded by turns, not by time.
    pub(super) async fn ended(self) -> Result<Summary, EngineError> {
        for _ in 0..200_000 {
            if self.task.is_finished() {
                return self.task.await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        panic!("the engine goes on");
    }

    /// As a kill does: nothing more happens.
    pub(super) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

pub(super) fn processor(name: &str, source: &str, handler: Arc<dyn Handler>) -> Processor {
    Processor {
        name: name.to_owned(),
        source: source.to_owned(),
        start: StartFrom::Beginning,
        handler,
        gather: false,
        ranges_min: 1,
    }
}

pub(super) async fn caught_up(engine: Engine) -> Result<Summary, EngineError> {
    let quiet = CancellationToken::new();
    quiet.cancel();
    engine.run(Lifetime::UntilCaughtUp { quiet }, CancellationToken::new()).await
}

pub(super) async fn put(database: &dyn Database, container: &str, key: &str, id: &str, value: &str) {
    let body = Bytes::from(json!({"id": id, "k": key, "value": value}).to_string());
    let operation = Operation::Upsert { id: DocumentId::new(id).unwrap(), body };
    let container = database.container(container).await.unwrap();
    container.write(&PartitionKey::from(key), operation).await.unwrap();
}

/// Moves the clock to the next sleeper's time whenever everybody has had many turns.
async fn pass_time(clock: ManualClock) {
    loop {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        match clock.next_due() {
            Some(due) => clock.advance(due.max(Duration::from_nanos(1))),
            None => tokio::task::yield_now().await,
        }
    }
}
