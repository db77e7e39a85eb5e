//! A store on a disk whose power goes and comes back: what was acknowledged is there again, of the rest any first part.
//!
//! Hosts outlive it, as those of a server do, and go on with what they know. Between two requests they keep nothing of the
//! store: each finds it as it is now.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_local_store::{LocalStore, Options, SimulatedDisk};
use feedmill_store_api::{
    BatchOutcome, ChangeFeed, Container, ContainerSpec, Database, Document, DocumentId, Documents, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Provisioned, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Written,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::seed::Chance;

const DATABASE: &str = "world";

/// The disk, and the store that is open on it. Clones share both.
#[derive(Clone)]
pub(crate) struct Power(Arc<Inner>);

struct Inner {
    disk: SimulatedDisk,
    clock: ManualClock,
    chance: Entropy,
    /// How long a sync takes at most.
    sync_max: Duration,
    state: Mutex<State>,
}

struct State {
    store: LocalStore,
    /// A sync is under way.
    syncing: bool,
}

impl Power {
    pub(crate) fn new(clock: &ManualClock, chance: Entropy) -> Self {
        let disk = SimulatedDisk::default();
        let store = disk.open(Options::default(), Arc::new(clock.clone()));
        let sync_max =
            *chance.one_of(&[Duration::from_millis(2), Duration::from_millis(20), Duration::from_millis(200)]);
        let state = Mutex::new(State { store, syncing: false });
        Self(Arc::new(Inner { disk, clock: clock.clone(), chance, sync_max, state }))
    }

    pub(crate) fn store(&self) -> LocalStore {
        self.0.state.lock().store.clone()
    }

    pub(crate) fn goes(&self, share: f64) -> bool {
        self.0.chance.happens(share)
    }

    /// Cuts it, and opens the store again. How many commits were not synced, and how many of them survived.
    pub(crate) fn cut(&self) -> (usize, usize) {
        let unsynced = self.0.disk.unsynced();
        let kept = usize::try_from(self.0.chance.below(0..unsynced as u64 + 1)).expect("it is no larger than a length");
        self.0.disk.cut(kept);
        let clock: Arc<dyn Clock> = Arc::new(self.0.clock.clone());
        let store = self.0.disk.open(Options::default(), clock);
        let opened = store.database(DATABASE).now_or_never().expect("what is there is opened without a write");
        opened.expect("memory does not fail");
        self.0.state.lock().store = store;
        (unsynced, kept)
    }

    /// Something was written, or is about to be: a sync begins, unless one is under way.
    pub(crate) fn sync_soon(&self) {
        if std::mem::replace(&mut self.0.state.lock().syncing, true) {
            return;
        }
        let power = self.clone();
        tokio::spawn(async move {
            power.0.clock.sleep(power.0.chance.up_to(power.0.sync_max) + Duration::from_nanos(1)).await;
            power.0.state.lock().syncing = false;
            power.0.disk.sync();
        });
    }

    /// The database as `reader` sees it, whichever store is open.
    pub(crate) async fn database(&self, reader: Reader) -> Arc<dyn Database> {
        self.sync_soon();
        let database = self.store().database(DATABASE).await.expect("nothing is cut before the world begins");
        let (host, rid) = (database.host().to_owned(), database.rid().to_owned());
        Arc::new(PoweredDatabase { power: self.clone(), reader, host, rid })
    }

    async fn open(&self, reader: Reader) -> Result<Arc<dyn Database>> {
        let store = self.store();
        match reader {
            Reader::World => store.database(DATABASE).await,
            Reader::Host => store.served(DATABASE).await,
        }
    }
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// What is visible, synced or not.
    World,
    /// What a server shows to those who outlive it.
    Host,
}

struct PoweredDatabase {
    power: Power,
    reader: Reader,
    host: String,
    rid: String,
}

impl Database for PoweredDatabase {
    fn host(&self) -> &str {
        &self.host
    }

    fn rid(&self) -> &str {
        &self.rid
    }

    fn container(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Container>>> {
        let name = name.to_owned();
        async move {
            let first = self.power.open(self.reader).await?.container(&name).await?;
            let (power, reader) = (self.power.clone(), self.reader);
            Ok(Arc::new(PoweredContainer { power, reader, first }) as Arc<dyn Container>)
        }
        .boxed()
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        async move { self.power.open(self.reader).await?.containers().await }.boxed()
    }

    fn provision(&self, spec: &ContainerSpec) -> BoxFuture<'_, Result<Provisioned>> {
        let spec = spec.clone();
        async move {
            let database = self.power.open(self.reader).await?;
            self.power.sync_soon();
            database.provision(&spec).await
        }
        .boxed()
    }
}

struct PoweredContainer {
    power: Power,
    reader: Reader,
    /// As it was when it was opened: what it is never changes.
    first: Arc<dyn Container>,
}

impl PoweredContainer {
    async fn now(&self) -> Result<Arc<dyn Container>> {
        self.power.open(self.reader).await?.container(self.first.name()).await
    }
}

impl Documents for PoweredContainer {
    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        async move { self.now().await?.read(key, id, level).await }.boxed()
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        async move { self.now().await?.read_many(key, ids, level).await }.boxed()
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        async move {
            let now = self.now().await?;
            self.power.sync_soon();
            now.write(key, operation).await
        }
        .boxed()
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        async move {
            let now = self.now().await?;
            self.power.sync_soon();
            now.batch(key, operations).await
        }
        .boxed()
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        async move { self.now().await?.query(scope, query, page, level).await }.boxed()
    }
}

impl ChangeFeed for PoweredContainer {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        async move { self.now().await?.feed_ranges().await }.boxed()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        async move { self.now().await?.read_page(range, start, items_max).await }.boxed()
    }
}

impl Container for PoweredContainer {
    fn name(&self) -> &str {
        self.first.name()
    }

    fn rid(&self) -> &str {
        self.first.rid()
    }

    fn partition_key_paths(&self) -> &[String] {
        self.first.partition_key_paths()
    }

    fn spec(&self) -> &ContainerSpec {
        self.first.spec()
    }
}
