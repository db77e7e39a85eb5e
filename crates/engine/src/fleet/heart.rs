//! Writes the heartbeat: one conditional replace an interval, and nothing for each lease.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic, timeout};
use feedmill_store_api::{
    Container, Document, DocumentId, ETag, Error, ErrorKind, Operation, PartitionKey, ReadLevel, Result,
};
use futures::future::Either;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::heartbeat::{self, Heartbeat, Rests};
use super::pulse::Pulse;
use crate::lifetime::Rounds;
use crate::limits::FENCE_BEFORE_EXPIRY;
use crate::worker::Shared;

/// A host's heartbeat, and what it says. Clones are one.
#[derive(Clone)]
pub(crate) struct Heart {
    pub(super) container: Arc<dyn Container>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pulse: Pulse,
    pub(super) rounds: Arc<Rounds>,
    pub(super) interval: Duration,
    pub(super) expiry: Duration,
    /// What the next one says, apart from its number and whether we rest.
    pub(super) says: Arc<Mutex<Heartbeat>>,
    id: DocumentId,
    key: PartitionKey,
}

/// Another life of this host has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) host: String,
    pub(crate) incarnation: String,
}

enum Beaten {
    Taken(ETag),
    Replaced(Replaced),
    Failed(Error),
}

impl Heart {
    pub(crate) fn new(
        container: Arc<dyn Container>,
        shared: &Shared,
        (interval, expiry): (Duration, Duration),
        says: Heartbeat,
    ) -> Self {
        let id = heartbeat::id(&says.host).expect("a heartbeat was made of the same name");
        let key = heartbeat::key(&id);
        let says = Arc::new(Mutex::new(says));
        let Shared { clock, rounds, pulse, .. } = shared.clone();
        Self { container, clock, pulse, rounds, interval, expiry, says, id, key }
    }

    /// Announces this host, over an earlier life of it. An earlier one that still lives finds that out at its next
    /// heartbeat and stops.
    pub(crate) async fn begin(&self) -> Result<ETag> {
        loop {
            let (found, _) = self.container.read(&self.key, &self.id, &ReadLevel::Quorum).await?;
            let before = found.map(|found| found.etag);
            let sent_at = self.clock.monotonic();
            match self.write(before, self.next(|_| ())).await {
                Ok(etag) => {
                    self.pulse.beat(sent_at, self.good_for());
                    return Ok(etag);
                }
                Err(error) if is_refusal(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Beats until `stop`, or until another life of this host has begun. Fences the host whenever its time is over.
    pub(crate) async fn run(&self, etag: ETag, stop: CancellationToken) -> Option<Replaced> {
        let mut etag = Some(etag);
        let mut resting = Resting::default();
        let mut due = self.clock.monotonic() + self.interval;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = self.until(due) => {}
            }
            let sent_at = self.clock.monotonic();
            let body = self.next(|says| says.rests = resting.now(says.beat, &self.rounds));
            let beaten = tokio::select! {
                biased;
                beaten = self.beat(etag.clone(), body) => beaten,
                () = stop.cancelled() => return None,
            };
            match beaten {
                Beaten::Taken(new) => {
                    etag = Some(new);
                    self.pulse.beat(sent_at, self.good_for());
                    due = sent_at + self.interval;
                }
                Beaten::Replaced(replaced) => {
                    self.pulse.fence();
                    return Some(replaced);
                }
                Beaten::Failed(error) => {
                    tracing::warn!(host = %self.id, error = %error, "a heartbeat failed");
                    self.pulse.missed();
                    etag = self.look(etag).await;
                    due = self.clock.monotonic() + self.interval / 6;
                }
            }
        }
    }

    /// Says that this host has ended, so that nobody waits for it.
    pub(crate) async fn end(&self) {
        let body = self.next(|says| says.stopped = true);
        let last = async {
            let (found, _) = self.container.read(&self.key, &self.id, &ReadLevel::Quorum).await?;
            match found {
                Some(found) if self.is_ours(&found) => self.write(Some(found.etag), body).await.map(|_| ()),
                _ => Ok(()),
            }
        };
        if let Some(Err(error)) = timeout(&*self.clock, self.interval, last).await {
            tracing::warn!(host = %self.id, error = %error, "others were not told that this host has ended");
        }
    }

    /// What is sent next. Each attempt has its own number: one whose reply was lost is a sign of life to others, and to them
    /// the same number again would be none, while this host would count its time from it.
    fn next(&self, change: impl FnOnce(&mut Heartbeat)) -> bytes::Bytes {
        let mut says = self.says.lock();
        says.beat += 1;
        change(&mut says);
        says.body()
    }

    /// Beats once, and gives up in time for the next one.
    async fn beat(&self, etag: Option<ETag>, body: bytes::Bytes) -> Beaten {
        let written = async {
            match self.write(etag, body).await {
                Ok(etag) => Beaten::Taken(etag),
                Err(error) if is_refusal(error.kind()) => {
                    match self.container.read(&self.key, &self.id, &ReadLevel::Quorum).await {
                        Ok((Some(found), _)) if !self.is_ours(&found) => Beaten::Replaced(Replaced {
                            host: self.says.lock().host.clone(),
                            incarnation: Heartbeat::parse(&found.body)
                                .map(|other| other.incarnation)
                                .unwrap_or_default(),
                        }),
                        // Ours after all: the reply to an earlier one was lost. Or somebody removed it.
                        Ok(_) => Beaten::Failed(error),
                        Err(error) => Beaten::Failed(error),
                    }
                }
                Err(error) => Beaten::Failed(error),
            }
        };
        let late = || Beaten::Failed(Error::new(ErrorKind::Unavailable, "no answer within a heartbeat's interval"));
        let mut written = std::pin::pin!(timeout(&*self.clock, self.interval, written));
        loop {
            let fence = match self.pulse.until() {
                Some(until) if self.pulse.allows(until) => Either::Left(self.until(until)),
                _ => Either::Right(std::future::pending()),
            };
            tokio::select! {
                biased;
                beaten = &mut written => return beaten.unwrap_or_else(late),
                () = fence => self.pulse.fence(),
            }
        }
    }

    /// The version to replace next, after a failure that may have been none.
    async fn look(&self, known: Option<ETag>) -> Option<ETag> {
        match timeout(&*self.clock, self.interval / 6, self.container.read(&self.key, &self.id, &ReadLevel::Quorum))
            .await
        {
            Some(Ok((Some(found), _))) if self.is_ours(&found) => Some(found.etag),
            Some(Ok((None, _))) => None,
            _ => known,
        }
    }

    async fn write(&self, before: Option<ETag>, body: bytes::Bytes) -> Result<ETag> {
        let operation = match before {
            Some(etag) => Operation::Replace { id: self.id.clone(), body, if_match: Some(etag) },
            None => Operation::Create { id: self.id.clone(), body },
        };
        let written = self.container.write(&self.key, operation).await?;
        written.etag.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("write {}: no etag came back", self.id)))
    }

    fn is_ours(&self, found: &Document) -> bool {
        Heartbeat::parse(&found.body).is_some_and(|found| found.incarnation == self.says.lock().incarnation)
    }

    /// Sleeps until `at`, and fences the host if its time is over before.
    async fn until(&self, at: Monotonic) {
        loop {
            let now = self.clock.monotonic();
            let fence = self.pulse.until().filter(|until| self.pulse.allows(*until));
            match fence {
                Some(until) if until < now => self.pulse.fence(),
                Some(until) if until < at => self.clock.sleep(until.since(now) + Duration::from_millis(1)).await,
                _ => return self.clock.sleep(at.since(now)).await,
            }
        }
    }

    fn good_for(&self) -> Duration {
        self.expiry.saturating_sub(FENCE_BEFORE_EXPIRY)
    }
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound)
}

/// How far it is known that this host has nothing to do.
#[derive(Default)]
struct Resting {
    /// Heartbeats, and the round under way when each was sent.
    sent: VecDeque<(u64, u64)>,
    polled_since: u64,
}

/// Heartbeats remembered: a round that takes longer than that many is told late.
const REMEMBERED_MAX: usize = 1_000;

impl Resting {
    /// What heartbeat `beat`, which is sent now, says of it.
    fn now(&mut self, beat: u64, rounds: &Rounds) -> Option<Rests> {
        while let Some((before, round)) = self.sent.front()
            && *round < rounds.completed()
        {
            self.polled_since = *before;
            self.sent.pop_front();
        }
        if self.sent.len() < REMEMBERED_MAX {
            self.sent.push_back((beat, rounds.begun()));
        }
        rounds.at_rest().map(|deliveries| Rests { deliveries, polled_since: self.polled_since })
    }
}
