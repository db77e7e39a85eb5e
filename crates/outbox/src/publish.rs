//! Carries a claimed batch into the store: keys in parallel, each key's events in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic};
use feedmill_store_api::{Container, Database, DocumentId, PartitionKey};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::claim::Event;
use crate::document::{self, Prepared, Unfit};
use crate::send::{Item, Sender, Verdict};
use crate::{Options, Route};

/// Cosmos stores `ttl` as a signed 32-bit number of seconds.
const TTL_SECONDS_MAX: u64 = i32::MAX as u64;

pub(crate) struct Publisher {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    options: Arc<Options>,
    containers: Mutex<BTreeMap<String, Arc<dyn Container>>>,
}

/// What became of a batch, event by event.
pub(crate) struct Published {
    /// `None`: not tried, because an earlier event of its key did not land.
    pub(crate) verdicts: Vec<Option<Verdict>>,
    pub(crate) prepared: Vec<Result<Prepared, Unfit>>,
}

/// One document's events of one wave, the newest version last.
type Versions = Vec<usize>;

impl Publisher {
    pub(crate) fn new(database: Arc<dyn Database>, clock: Arc<dyn Clock>, options: Arc<Options>) -> Self {
        Self { database, clock, options, containers: Mutex::default() }
    }

    /// Each lane's `events` stand in order. Takes at most `publish_max`; what is not written by then is deferred.
    pub(crate) async fn publish(&self, events: &[Event]) -> Published {
        let deadline = self.clock.monotonic() + self.options.publish_max;
        let prepared: Vec<_> = events.iter().map(|event| self.prepare(event)).collect();
        let mut verdicts: Vec<Option<Verdict>> = vec![None; events.len()];
        let mut lanes: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            lanes.entry(event.lane).or_default().push_back(index);
        }
        while !lanes.is_empty() {
            let mut groups: BTreeMap<(&str, &PartitionKey), BTreeMap<&DocumentId, Versions>> = BTreeMap::new();
            for lane in lanes.values_mut() {
                for index in next_document(lane, &prepared) {
                    match &prepared[index] {
                        Ok(event) => groups
                            .entry((event.container.as_str(), &event.key))
                            .or_default()
                            .entry(&event.id)
                            .or_default()
                            .push(index),
                        Err(unfit) => verdicts[index] = Some(Verdict::Failed(unfit.to_string())),
                    }
                }
            }
            let writes = groups.into_iter().map(|((container, key), documents)| {
                self.write(container, key, documents.into_values().collect(), (events, &prepared), deadline)
            });
            let in_flight = self.options.requests_in_flight_max as usize;
            // Collected first: a stream that borrows through a closure is not known to be `Send`.
            let writes: Vec<_> = writes.collect();
            let mut done = futures::stream::iter(writes).buffer_unordered(in_flight);
            while let Some(of_group) = done.next().await {
                for (index, verdict) in of_group {
                    verdicts[index] = Some(verdict);
                }
            }
            drop(done);
            let stuck = |index: usize| verdicts[index].as_ref().is_some_and(|v| !matches!(v, Verdict::Landed { .. }));
            let closed: Vec<usize> =
                (0..events.len()).filter(|index| stuck(*index)).map(|index| events[index].lane).collect();
            for lane in closed {
                lanes.remove(&lane);
            }
            lanes.retain(|_, lane| !lane.is_empty());
        }
        Published { verdicts, prepared }
    }

    fn prepare(&self, event: &Event) -> Result<Prepared, Unfit> {
        let route = self.route(event).ok_or_else(|| Unfit::Topic(event.topic.clone()))?;
        let ttl = self.options.tombstone_ttl.as_secs().clamp(1, TTL_SECONDS_MAX);
        document::prepare(route, &event.payload, u32::try_from(ttl).expect("clamped to what fits"))
    }

    pub(crate) fn route(&self, event: &Event) -> Option<&Route> {
        self.options.routes.get(&event.topic)
    }

    /// Only the newest version of each document is written: in a latest-version feed nobody would see the others. When
    /// it cannot be written, the one before it is.
    async fn write(
        &self,
        container: &str,
        key: &PartitionKey,
        mut documents: Vec<Versions>,
        (events, prepared): (&[Event], &[Result<Prepared, Unfit>]),
        deadline: Monotonic,
    ) -> Vec<(usize, Verdict)> {
        let container = match self.container(container).await {
            Ok(container) => container,
            Err(error) => {
                // A container that is missing, or that we may not see, is nothing an event did wrong.
                let why = format!("open container {container}: {error}");
                let deferred = Verdict::Deferred { why, after: Duration::ZERO };
                return documents.into_iter().flatten().map(|index| (index, deferred.clone())).collect();
            }
        };
        let sender = Sender { clock: &*self.clock, container: &*container, key, deadline };
        let of = |index: usize| prepared[index].as_ref().expect("only what was prepared is grouped");
        for versions in &mut documents {
            versions.sort_by_key(|index| of(*index).version);
        }
        let mut verdicts = Vec::new();
        while !documents.is_empty() {
            let newest: Vec<usize> = documents.iter_mut().filter_map(Vec::pop).collect();
            let items: Vec<Item<'_>> = newest
                .iter()
                .map(|index| Item {
                    event: of(*index),
                    version_field: self.route(&events[*index]).map_or("version", |route| &route.version_field),
                })
                .collect();
            let sent = sender.send(&items).await;
            let mut again = Vec::new();
            for ((index, older), verdict) in newest.into_iter().zip(documents).zip(sent) {
                match &verdict {
                    Verdict::Failed(_) if !older.is_empty() => again.push(older),
                    Verdict::Failed(_) => {}
                    Verdict::Landed { .. } => {
                        verdicts.extend(older.into_iter().map(|index| (index, Verdict::Landed { written: false })));
                    }
                    Verdict::Deferred { .. } => {
                        verdicts.extend(older.into_iter().map(|index| (index, verdict.clone())));
                    }
                }
                verdicts.push((index, verdict));
            }
            documents = again;
        }
        verdicts
    }

    async fn container(&self, name: &str) -> Result<Arc<dyn Container>, feedmill_store_api::Error> {
        if let Some(known) = self.containers.lock().get(name) {
            return Ok(known.clone());
        }
        let found = self.database.container(name).await?;
        self.containers.lock().insert(name.to_owned(), found.clone());
        Ok(found)
    }
}

/// Takes from the front of a lane the events of one document, or one that is unfit.
///
/// Never two documents: were the first refused and the second written, the second event had overtaken the first.
fn next_document(lane: &mut VecDeque<usize>, prepared: &[Result<Prepared, Unfit>]) -> Vec<usize> {
    let address = |index: usize| prepared[index].as_ref().ok().map(|event| (&event.container, &event.key, &event.id));
    let Some(first) = lane.pop_front() else { return Vec::new() };
    let mut taken = vec![first];
    while let Some(next) = lane.front()
        && address(first).is_some()
        && address(*next) == address(first)
    {
        taken.extend(lane.pop_front());
    }
    taken
}
