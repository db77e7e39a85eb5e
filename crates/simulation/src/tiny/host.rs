use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_engine::{Delivery, Handler, Processor, SettleError, SettleOptions, Writer};
use feedmill_store_api::{Change, Container, Database, FeedPage, FeedStart, KeyPart, PartitionKey};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;

use super::play::Play;
use crate::gate::Gate;
use crate::host_clock::HostClock;
use crate::network::{FaultyDatabase, Link, Network, Reach};
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;

/// How long a host waits before it tries again what failed.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// A host that delivers every change of every feed, whoever else does.
pub(super) struct Host {
    pub(super) name: &'static str,
    is_first: bool,
    pub(super) clock: HostClock,
    gate: Gate,
    chance: Entropy,
    trace: Trace,
    /// What runs while it is up.
    life: Option<Life>,
    /// Where the next life begins, by processor.
    saved: BTreeMap<usize, Saved>,
    faults: Arc<Mutex<Vec<String>>>,
}

struct Life {
    feeds: Vec<Arc<AtomicBool>>,
    /// Ends with the life.
    _tasks: JoinSet<()>,
}

type Saved = Arc<Mutex<FeedStart>>;

impl Host {
    pub(super) fn new(name: &'static str, is_first: bool, seed: Seed, clock: &ManualClock, trace: &Trace) -> Self {
        let (gate, chance) = (Gate::open(), seed.stream(name));
        let clock = HostClock::new(clock, &gate, &chance);
        let trace = trace.clone();
        let (saved, faults) = (BTreeMap::new(), Arc::default());
        Self { name, is_first, clock, gate, chance, trace, life: None, saved, faults }
    }

    pub(super) fn start(&mut self, play: &Play, store: &Store, network: &Network) {
        self.trace.say(self.name, || "starts".to_owned());
        let link = Link::new(network, self.name, &self.gate, &Reach::default());
        let database: Arc<dyn Database> = Arc::new(FaultyDatabase::new(&store.served, &link));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let writer =
            Writer::new(Arc::clone(&database), Arc::clone(&clock), self.chance.clone(), SettleOptions::default());
        let mut life = Life { feeds: Vec::new(), _tasks: JoinSet::new() };
        for (index, Processor { source, handler, .. }) in play.processors(self.is_first).into_iter().enumerate() {
            let busy = Arc::new(AtomicBool::new(true));
            life.feeds.push(Arc::clone(&busy));
            let saved = self.saved.entry(index).or_insert_with(|| Arc::new(Mutex::new(FeedStart::Beginning)));
            let feed = Feed {
                source,
                handler,
                writer: writer.clone(),
                database: Arc::clone(&database),
                clock: Arc::clone(&clock),
                chance: self.chance.clone(),
                network: network.clone(),
                saved: Arc::clone(saved),
                busy,
                faults: Arc::clone(&self.faults),
            };
            life._tasks.spawn(feed.follow());
        }
        self.life = Some(life);
    }

    pub(super) fn crash(&mut self) {
        self.trace.say(self.name, || "crashes".to_owned());
        self.life = None;
    }

    pub(super) fn freeze(&self) {
        self.trace.say(self.name, || "freezes".to_owned());
        self.gate.set_open(false);
    }

    pub(super) fn thaw(&self) {
        if self.is_frozen() {
            self.trace.say(self.name, || "wakes up".to_owned());
        }
        self.gate.set_open(true);
    }

    pub(super) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn is_frozen(&self) -> bool {
        !self.gate.is_open()
    }

    /// Whether it may have something to deliver.
    pub(super) fn is_busy(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.feeds.iter().any(|busy| busy.load(Ordering::Relaxed)))
    }

    /// What handlers refused: nothing in a world of sound documents.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().clone()
    }
}

/// One processor's way through one feed.
struct Feed {
    source: String,
    handler: Arc<dyn Handler>,
    writer: Writer,
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    chance: Entropy,
    network: Network,
    saved: Saved,
    busy: Arc<AtomicBool>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Feed {
    async fn follow(self) {
        let container = self.open().await;
        let range = loop {
            match container.feed_ranges().await {
                Ok(mut ranges) => break ranges.remove(0),
                Err(_) => self.wait().await,
            }
        };
        let landings = self.network.landings(&self.source);
        let items_max = usize::try_from(self.chance.below(1..6)).expect("it is small");
        let mut from = self.saved.lock().clone();
        loop {
            let seen = landings.value();
            let Ok(page) = container.read_page(&range, &from, items_max).await else {
                self.wait().await;
                continue;
            };
            from = FeedStart::Position(page.position.clone());
            if page.changes.is_empty() {
                self.busy.store(false, Ordering::Relaxed);
                landings.wait_for(|now| now != seen).await;
                self.busy.store(true, Ordering::Relaxed);
                continue;
            }
            self.deliver(&*container, page).await;
            if self.chance.happens(0.5) {
                *self.saved.lock() = from.clone();
            }
        }
    }

    async fn open(&self) -> Arc<dyn Container> {
        loop {
            match self.database.container(&self.source).await {
                Ok(container) => return container,
                Err(_) => self.wait().await,
            }
        }
    }

    async fn wait(&self) {
        self.clock.sleep(self.chance.up_to(RETRY_MAX)).await;
    }

    /// Keys in parallel, the changes of one in order.
    async fn deliver(&self, container: &dyn Container, page: FeedPage) {
        let field = container.partition_key_paths()[0].trim_start_matches('/').to_owned();
        let mut keys: BTreeMap<PartitionKey, Vec<Change>> = BTreeMap::new();
        for change in page.changes {
            keys.entry(key(&field, &change)).or_default().push(change);
        }
        let (name, rid): (Arc<str>, Arc<str>) = (container.name().into(), container.rid().into());
        let deliveries = keys.into_iter().map(|(key, changes)| Delivery {
            container: Arc::clone(&name),
            container_rid: Arc::clone(&rid),
            key,
            changes,
            session: page.session.clone(),
        });
        let mut under_way: FuturesUnordered<_> = deliveries.map(|delivery| self.handle(delivery)).collect();
        while under_way.next().await.is_some() {}
    }

    async fn handle(&self, delivery: Delivery) {
        loop {
            let settler = self.writer.settler(&delivery);
            match self.handler.handle(&delivery, &settler).await {
                Ok(outcome) => {
                    let reasons = outcome.rejected.into_iter().map(|rejection| rejection.reason);
                    return self.faults.lock().extend(reasons);
                }
                Err(SettleError::Store(_)) => self.wait().await,
                Err(SettleError::Invalid(reason)) => return self.faults.lock().push(reason),
            }
        }
    }
}

fn key(field: &str, change: &Change) -> PartitionKey {
    let body: Value = serde_json::from_slice(&change.body).expect("documents are JSON");
    match body[field].as_str() {
        Some(key) => PartitionKey::from(key),
        None => PartitionKey::from_parts(vec![KeyPart::Undefined]),
    }
}
