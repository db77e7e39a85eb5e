use std::sync::atomic::Ordering;
use std::time::Duration;

use feedmill_clock::Clock;
use feedmill_store_api::{
    Container, Document, DocumentId, Error, Operation, PartitionKey, QueryPage, ReadLevel, Result, Scope, SessionToken,
};
use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::fate::{self, Course, Fate};
use super::{Inner, Network, Weather};
use crate::gate::Gate;
use crate::seed::Chance;

/// One life of one host on the network.
#[derive(Clone)]
pub(crate) struct Link {
    pub(super) network: Network,
    /// Whose life, and which.
    pub(super) life: std::sync::Arc<str>,
    gate: Gate,
    reach: Reach,
}

/// What a host reaches. Clones are the same host's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach(std::sync::Arc<parking_lot::Mutex<Cut>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    #[default]
    Nothing,
    /// It does not reach this container.
    From(&'static str),
    Everything,
}

impl Reach {
    pub(crate) fn set(&self, cut: Cut) {
        *self.0.lock() = cut;
    }

    fn is_cut_from(&self, place: &str) -> bool {
        match *self.0.lock() {
            Cut::Nothing => false,
            Cut::From(container) => container == place,
            Cut::Everything => true,
        }
    }
}

/// Somebody waits for the answer to a write, and stops waiting also by being dropped.
struct Waits<'a>(&'a Link, &'a str);

impl<'a> Waits<'a> {
    fn new(link: &'a Link, place: &'a str) -> Self {
        link.network.0.witness.sends(&link.life, place);
        Self(link, place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.network.0.witness.waits_no_more(&self.0.life, self.1);
    }
}

/// How far a copy of a container lags behind it.
const COPY_LAG_MAX: Duration = Duration::from_secs(2);

/// What was read, and what is newest of it.
pub(super) struct Read<'a> {
    pub(super) key: &'a PartitionKey,
    pub(super) ids: &'a [DocumentId],
    pub(super) level: &'a ReadLevel,
    pub(super) found: Vec<Option<Document>>,
}

/// A request that can be sent more than once.
pub(super) type Sender<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T>> + Send + Sync>;

impl Link {
    pub(crate) fn new(network: &Network, life: &str, gate: &Gate, reach: &Reach) -> Self {
        Self { network: network.clone(), life: life.into(), gate: gate.clone(), reach: reach.clone() }
    }

    /// Sends a request to a container and waits for its reply. Once it is sent it goes its way, whatever becomes of who
    /// waits.
    pub(super) async fn request<T: Send + 'static>(
        &self,
        place: &str,
        what: impl Fn() -> String + Send + 'static,
        is_write: bool,
        send: Sender<T>,
    ) -> Result<T> {
        self.gate.pass().await;
        let Inner { entropy, weather, trace, .. } = &*self.network.0;
        let mut course = weather.lock().course(entropy, is_write);
        if self.reach.is_cut_from(place) {
            course.fate = Weather::nothing_gets_through(entropy);
        }
        if is_write && matches!(course.fate, Fate::Late { .. }) {
            *self.network.0.waiting_for_late.lock() = Some(self.life.clone());
        }
        let number = self.network.0.requests.fetch_add(1, Ordering::Relaxed);
        trace.say(&self.life, || format!("#{number} {place} {}  {:?}", what(), course.fate));
        let (reply, replied) = oneshot::channel();
        let passage = Passage { network: self.network.clone(), life: self.life.clone(), number, reply: Some(reply) };
        let under_way = is_write.then(|| UnderWay::new(&self.network));
        let _waits = is_write.then(|| Waits::new(self, place));
        tokio::spawn(async move {
            passage.carry(course, send).await;
            drop(under_way);
        });
        let answer = replied.await.unwrap_or_else(|_| Err(fate::unanswered()));
        self.gate.pass().await;
        trace.say(&self.life, || match &answer {
            Ok(_) => format!("#{number} answered"),
            Err(error) => format!("#{number} {:?} {:?}", error.kind(), error.applied()),
        });
        answer
    }

    /// Tells the network that something was written, up to the LSN of this token.
    pub(super) fn landed<'a>(
        &self,
        container: &dyn Container,
        key: &PartitionKey,
        operations: impl IntoIterator<Item = &'a Operation>,
        session: &SessionToken,
    ) {
        let Inner { replicas, witness, .. } = &*self.network.0;
        for operation in operations {
            replicas.landed(container, key, operation.id(), session);
            witness.landed(&self.life, container.name(), operation);
        }
        self.network.landings(container.name()).raise();
    }

    /// The power went while this was written: tells who looks on if it is there all the same.
    pub(super) async fn survived(&self, container: &str, key: &PartitionKey, operation: &Operation) {
        let Inner { truth, witness, .. } = &*self.network.0;
        let Ok(opened) = truth.container(container).await else { return };
        let Ok((found, _)) = opened.read(key, operation.id(), &ReadLevel::Quorum).await else { return };
        let fields = |body: &[u8]| {
            let mut fields: serde_json::Map<_, _> = serde_json::from_slice(body).expect("documents are JSON");
            fields.retain(|name: &String, _: &mut serde_json::Value| !name.starts_with('_'));
            fields
        };
        let is_there = match (operation, found) {
            (Operation::Delete { .. }, found) => found.is_none(),
            (
                Operation::Create { body, .. } | Operation::Replace { body, .. } | Operation::Upsert { body, .. },
                Some(found),
            ) => fields(&found.body) == fields(body),
            (_, None) => false,
        };
        if is_there {
            witness.landed(&self.life, container, operation);
        }
        self.network.0.trace.say(&self.life, || format!("{} of {container} survived: {is_there}", operation.id()));
    }

    /// A document as whoever answers now has it.
    pub(super) fn seen(&self, container: &str, read: Read<'_>) -> Vec<Option<Document>> {
        let Read { key, ids, level, found } = read;
        let Inner { clock, entropy, weather, replicas, .. } = &*self.network.0;
        let ReadLevel::Session(session) = level else { return found };
        let Some(lag) = fate::lag(&weather.lock(), entropy) else { return found };
        let at = clock.monotonic() - lag;
        let seen = |(id, newest)| replicas.at(container, key, id, (at, session), newest);
        ids.iter().zip(found).map(seen).collect()
    }

    /// A list as whoever answers now has it.
    pub(super) fn listed(&self, container: &str, scope: &Scope, mut page: QueryPage) -> QueryPage {
        let Inner { clock, entropy, replicas, copied, .. } = &*self.network.0;
        if let Scope::Partition(key) = scope
            && copied.contains(&container)
        {
            let at = clock.monotonic() - entropy.up_to(COPY_LAG_MAX);
            page.items.retain(|item| {
                let document: Option<serde_json::Value> = serde_json::from_slice(item).ok();
                let id = document.as_ref().and_then(|document| document["id"].as_str());
                id.is_none_or(|id| replicas.is_copied(container, key, id, at))
            });
        }
        page
    }
}

/// A request on its way.
struct Passage<T> {
    network: Network,
    life: std::sync::Arc<str>,
    number: u64,
    reply: Option<oneshot::Sender<Result<T>>>,
}

impl<T: Send + 'static> Passage<T> {
    async fn carry(mut self, Course { there, back, fate }: Course, send: Sender<T>) {
        let inner = std::sync::Arc::clone(&self.network.0);
        let Inner { clock, entropy, .. } = &*inner;
        match fate {
            Fate::Answered => {
                clock.sleep(there).await;
                let answer = self.arrive(&send).await;
                clock.sleep(back).await;
                self.answer(answer);
            }
            Fate::Refused(refusal) => {
                clock.sleep(there + back).await;
                self.answer(Err(fate::refused(refusal)));
            }
            Fate::Lost { applied } => {
                clock.sleep(there).await;
                if applied {
                    // Nobody hears what became of it.
                    let _unheard = self.arrive(&send).await;
                }
                clock.sleep(fate::give_up(entropy)).await;
                self.answer(Err(fate::unanswered()));
            }
            Fate::Late { by } => {
                clock.sleep(fate::give_up(entropy)).await;
                self.answer(Err(fate::unanswered()));
                clock.sleep(by).await;
                let _unheard = self.arrive(&send).await;
            }
            Fate::Twice { second_after, reply_of_second } => {
                clock.sleep(there).await;
                let first = self.arrive(&send).await;
                if !reply_of_second {
                    clock.sleep(back).await;
                    self.answer(first);
                }
                clock.sleep(second_after).await;
                // As an SDK says it: the refusal may be of what its first attempt did.
                let second = self.arrive(&send).await.map_err(Error::perhaps_applied);
                if reply_of_second {
                    clock.sleep(back).await;
                    self.answer(second);
                }
            }
        }
    }

    async fn arrive(&self, send: &Sender<T>) -> Result<T> {
        let orphan = self.reply.as_ref().is_none_or(oneshot::Sender::is_canceled);
        let answer = send().await;
        self.network.0.trace.say(&self.life, || {
            let late = if orphan { ", late" } else { "" };
            match &answer {
                Ok(_) => format!("#{} took effect{late}", self.number),
                Err(error) => format!("#{} did not take effect{late}: {:?}", self.number, Error::kind(error)),
            }
        });
        answer
    }

    fn answer(&mut self, answer: Result<T>) {
        if let Some(reply) = self.reply.take() {
            // Who crashed meanwhile does not hear it.
            let _gone = reply.send(answer);
        }
    }
}

/// Counts a write until nothing can come of it any more.
struct UnderWay(Network);

impl UnderWay {
    fn new(network: &Network) -> Self {
        network.0.writes_under_way.fetch_add(1, Ordering::Relaxed);
        Self(network.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.writes_under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
