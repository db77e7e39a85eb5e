//! A store that takes its time and has only so many request units a second to give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_documents::containers::USER_FEED;
use feedmill_store_api::{
    BatchOutcome, Container, Database, Document, DocumentId, Error, ErrorKind, FeedPage, FeedRange, FeedStart,
    Operation, PageRequest, PartitionKey, PassingContainer, PassingDatabase, Query, QueryPage, ReadLevel,
    RequestCharge, Result, Scope, Written,
};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use parking_lot::Mutex;

use crate::seed::Chance;

/// One way of a request takes between this and three times as long.
const WAY: Duration = Duration::from_millis(2);
/// What one partition serves at most: so long it works on what it charges.
const PARTITION_UNITS_PER_SECOND: f64 = 10_000.0;
const SECOND: Duration = Duration::from_secs(1);

/// What all hosts ask of. Clones are the same.
#[derive(Clone)]
pub(crate) struct Supply(Arc<Shared>);

struct Shared {
    clock: ManualClock,
    entropy: Entropy,
    /// Of each container.
    units_per_second: f64,
    state: Mutex<State>,
    /// Bodies of documents that were read and that somebody still has.
    held: AtomicUsize,
    held_max: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// By container: the second it is in, and what was spent in it.
    spent: BTreeMap<String, (u64, f64)>,
    /// Since the beginning, by container.
    charged: BTreeMap<String, f64>,
    /// Documents, by container, noted when they are made: whoever asked may die before the answer.
    written: BTreeMap<String, u64>,
    landed: BTreeMap<String, Landed>,
    in_flight: usize,
    in_flight_max: usize,
    throttled: u64,
}

/// What has come of one post in `userFeed`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Landed {
    pub(crate) items: usize,
    pub(crate) last: Option<Monotonic>,
    /// By host.
    pub(crate) by: BTreeMap<String, usize>,
    /// Items that were asked for again: read, or refused.
    pub(crate) again: usize,
}

impl Supply {
    pub(crate) fn new(clock: &ManualClock, entropy: Entropy, units_per_second: f64) -> Self {
        Self(Arc::new(Shared {
            clock: clock.clone(),
            entropy,
            units_per_second,
            state: Mutex::default(),
            held: AtomicUsize::default(),
            held_max: AtomicUsize::default(),
        }))
    }

    /// The database as one host has it.
    pub(crate) fn of(&self, inner: &Arc<dyn Database>, host: &str) -> Arc<dyn Database> {
        Arc::new(Metered { inner: Arc::clone(inner), supply: self.clone(), host: host.to_owned() })
    }

    pub(crate) fn landed(&self, post: &str) -> Landed {
        self.0.state.lock().landed.get(post).cloned().unwrap_or_default()
    }

    pub(crate) fn in_flight_max(&self) -> usize {
        self.0.state.lock().in_flight_max
    }

    /// Request units so far, by container; pages of feeds without changes are not among them.
    pub(crate) fn charged(&self) -> BTreeMap<String, f64> {
        self.0.state.lock().charged.clone()
    }

    /// Documents written so far.
    pub(crate) fn written(&self, container: &str) -> u64 {
        self.0.state.lock().written.get(container).copied().unwrap_or_default()
    }

    pub(crate) fn throttled(&self) -> u64 {
        self.0.state.lock().throttled
    }

    /// Documents that all hosts together had in memory at the same time, of those that they had read.
    pub(crate) fn held_max(&self) -> usize {
        self.0.held_max.load(Ordering::Relaxed)
    }

    /// Counts a document for as long as anybody has it.
    fn hand_out(&self, body: &mut Bytes) {
        let held = self.0.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.held_max.fetch_max(held, Ordering::Relaxed);
        let inner = std::mem::take(body);
        *body = Bytes::from_owner(HandedOut { inner, supply: self.clone() });
    }

    async fn way(&self) {
        self.0.clock.sleep(WAY + self.0.entropy.up_to(2 * WAY)).await;
    }

    /// As the service does it: what goes beyond the second's units is answered, what comes after it is refused.
    fn refusal(&self, container: &str) -> Option<Error> {
        let elapsed = self.0.clock.monotonic().since(Monotonic::from_origin(Duration::ZERO));
        let mut state = self.0.state.lock();
        let (second, units) = state.spent.get(container).copied().unwrap_or_default();
        if second != elapsed.as_secs() || units < self.0.units_per_second {
            return None;
        }
        state.throttled += 1;
        let after = SECOND - Duration::from_nanos(u64::from(elapsed.subsec_nanos()));
        Some(Error::new(ErrorKind::Throttled { after }, "too many requests"))
    }

    fn spend(&self, container: &str, charge: RequestCharge) {
        let now = self.0.clock.monotonic().since(Monotonic::from_origin(Duration::ZERO)).as_secs();
        let mut state = self.0.state.lock();
        let (second, units) = state.spent.entry(container.to_owned()).or_default();
        if *second != now {
            (*second, *units) = (now, 0.0);
        }
        *units += charge.units();
        *state.charged.entry(container.to_owned()).or_default() += charge.units();
    }

    fn note(&self, id: &DocumentId, change: impl FnOnce(&mut Landed, Monotonic)) {
        let Some((_, post)) = id.as_str().rsplit_once(':') else { return };
        let now = self.0.clock.monotonic();
        change(self.0.state.lock().landed.entry(post.to_owned()).or_default(), now);
    }
}

struct Metered {
    inner: Arc<dyn Database>,
    supply: Supply,
    host: String,
}

impl PassingDatabase for Metered {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(MeteredContainer { inner, supply: self.supply.clone(), host: self.host.clone() })
    }
}

struct MeteredContainer {
    inner: Arc<dyn Container>,
    supply: Supply,
    host: String,
}

/// Counts a request while it is under way, whatever becomes of who asked.
struct UnderWay(Supply);

impl UnderWay {
    fn new(supply: &Supply) -> Self {
        let mut state = supply.0.state.lock();
        state.in_flight += 1;
        state.in_flight_max = state.in_flight_max.max(state.in_flight);
        Self(supply.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.state.lock().in_flight -= 1;
    }
}

/// A document that was read.
struct HandedOut {
    inner: Bytes,
    supply: Supply,
}

impl AsRef<[u8]> for HandedOut {
    fn as_ref(&self) -> &[u8] {
        &self.inner
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        self.supply.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MeteredContainer {
    async fn request<T>(&self, send: BoxFuture<'_, Result<T>>, charge: impl Fn(&T) -> RequestCharge) -> Result<T> {
        let _under_way = UnderWay::new(&self.supply);
        self.supply.way().await;
        let answer = match self.supply.refusal(self.inner.name()) {
            Some(refusal) => Err(refusal),
            None => send.await,
        };
        if let Ok(answer) = &answer {
            let charge = charge(answer);
            self.supply.spend(self.inner.name(), charge);
            self.supply.0.clock.sleep(Duration::from_secs_f64(charge.units() / PARTITION_UNITS_PER_SECOND)).await;
        }
        self.supply.way().await;
        answer
    }

    fn is_feed(&self) -> bool {
        self.inner.name() == USER_FEED
    }

    fn made(&self, ids: &[DocumentId]) {
        *self.supply.0.state.lock().written.entry(self.inner.name().to_owned()).or_default() += ids.len() as u64;
        for id in ids.iter().filter(|_| self.is_feed()) {
            self.supply.note(id, |landed, now| {
                landed.items += 1;
                landed.last = Some(now);
                *landed.by.entry(self.host.clone()).or_default() += 1;
            });
        }
    }

    fn again(&self, ids: &[DocumentId]) {
        for id in ids.iter().filter(|_| self.is_feed()) {
            self.supply.note(id, |landed, _| landed.again += 1);
        }
    }
}

impl PassingContainer for MeteredContainer {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        let read = self.request(self.inner.read(key, id, level), |(_, charge)| *charge);
        read.map_ok(|(mut found, charge)| {
            found.iter_mut().for_each(|found| self.supply.hand_out(&mut found.body));
            (found, charge)
        })
        .boxed()
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        self.again(ids);
        let read = self.request(self.inner.read_many(key, ids, level), |(_, charge)| *charge);
        read.map_ok(|(mut found, charge)| {
            found.iter_mut().flatten().for_each(|found| self.supply.hand_out(&mut found.body));
            (found, charge)
        })
        .boxed()
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        let write = async move {
            let id = operation.id().clone();
            let written = self.inner.write(key, operation).await;
            match &written {
                Ok(_) => self.made(&[id]),
                Err(error) if error.kind() == ErrorKind::Conflict => self.again(&[id]),
                Err(_) => {}
            }
            written
        };
        self.request(write.boxed(), |written| written.charge).boxed()
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        let charge = |outcome: &BatchOutcome| match outcome {
            BatchOutcome::Committed { charge, .. } | BatchOutcome::Refused { charge, .. } => *charge,
        };
        let write = async move {
            let ids: Vec<_> = operations.iter().map(|operation| operation.id().clone()).collect();
            let outcome = self.inner.batch(key, operations).await;
            match &outcome {
                Ok(BatchOutcome::Committed { .. }) => self.made(&ids),
                Ok(BatchOutcome::Refused { .. }) => self.again(&ids),
                Err(_) => {}
            }
            outcome
        };
        self.request(write.boxed(), charge).boxed()
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        let read = self.request(self.inner.query(scope, query, page, level), |page| page.charge);
        read.map_ok(|mut page| {
            page.items.iter_mut().for_each(|item| self.supply.hand_out(item));
            page
        })
        .boxed()
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        // A page without changes is the price of waiting: nobody's.
        let charge = |page: &FeedPage| if page.changes.is_empty() { RequestCharge::ZERO } else { page.charge };
        let read = self.request(self.inner.read_page(range, start, items_max), charge);
        read.map_ok(|mut page| {
            page.changes.iter_mut().for_each(|change| self.supply.hand_out(&mut change.body));
            page
        })
        .boxed()
    }
}
