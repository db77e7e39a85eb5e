use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feedmill_store_api::{
    Change, Container, DocumentId, ETag, ErrorKind, FeedRange, Operation, PartitionKey, Query, ReadLevel, SessionToken,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

use super::letter::{self, Fault, Letter, LetterState, letter_id};
use crate::EngineError;
use crate::listing::Listing;
use crate::retry::Patience;

/// The dead letters of one processor over one source.
pub(crate) struct Ledger {
    container: Arc<dyn Container>,
    pub(super) processor: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) patience: Patience,
    pub(super) retry_min: Duration,
    retry_max: Duration,
    retention: Duration,
    open_max: usize,
    open: Mutex<BTreeMap<String, Open>>,
    /// Whether every open letter is in `open`. Where not, each look at it is a read.
    complete: AtomicBool,
    changed: Notify,
    /// Ranges held by this host, with what their feeds have shown last.
    sessions: Mutex<BTreeMap<FeedRange, SessionToken>>,
}

/// What is known of an open letter without reading it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    id: String,
    range: FeedRange,
    next_retry_at: Option<Timestamp>,
}

/// A change that could not be applied.
pub(crate) struct Failure<'a> {
    /// `None` when the change does not tell its key.
    pub(crate) key: Option<&'a PartitionKey>,
    pub(crate) source_id: &'a str,
    pub(crate) change: &'a Change,
    pub(crate) range: &'a FeedRange,
    pub(crate) fault: &'a Fault,
    pub(crate) attempts: u64,
    pub(crate) first_failed_at: Timestamp,
}

/// A stored letter and its version.
pub(super) struct Stored {
    pub(super) letter: Letter,
    etag: ETag,
}

impl Ledger {
    pub(crate) fn new(
        container: Arc<dyn Container>,
        processor: &str,
        source: &str,
        patience: Patience,
        options: &crate::Options,
    ) -> Self {
        Self {
            container,
            processor: processor.into(),
            source: source.into(),
            patience,
            retry_min: options.dead_letter_retry_min,
            retry_max: options.dead_letter_retry_max,
            retention: options.dead_letter_retention,
            open_max: options.dead_letters_open_max,
            open: Mutex::default(),
            complete: AtomicBool::new(true),
            changed: Notify::new(),
            sessions: Mutex::default(),
        }
    }

    /// Reads which letters are open.
    pub(crate) async fn load(&self) -> Result<(), EngineError> {
        let attempted = format!("list the dead letters of {} over {}", self.processor, self.source);
        let query = Query::new(
            "SELECT c.id, c.range, c.nextRetryAt FROM c \
             WHERE c.processor = @processor AND c.container = @container AND c.state != 'closed'",
        )
        .with("@processor", &*self.processor)
        .with("@container", &*self.source);
        let mut listing = Listing::of(&*self.container, &self.patience, &attempted, query);
        let failed = |source| EngineError::Store { attempted: attempted.clone(), source };
        while let Some(page) = listing.next().await.map_err(failed)? {
            for item in page {
                match serde_json::from_slice::<Open>(&item) {
                    Ok(open) => self.note(open),
                    Err(error) => tracing::error!(error = %error, "a dead letter cannot be understood; left alone"),
                }
            }
            if !self.complete.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    /// Writes the failure down. Outlasts outages: a change is passed over only once it is written down.
    pub(crate) async fn write(&self, failure: &Failure<'_>) -> Result<(), feedmill_store_api::Error> {
        let undefined = PartitionKey::from_parts(Vec::new());
        let key = failure.key.unwrap_or(&undefined);
        let id = letter_id(&self.processor, &self.source, key, failure.source_id);
        loop {
            let stored = self.read(&id).await?;
            let now = self.patience.clock.now();
            let known =
                stored.as_ref().map(|stored| &stored.letter).filter(|letter| letter.state != LetterState::Closed);
            // Without its key the source document cannot be read again.
            let next_retry_at = match (failure.key, known) {
                (None, _) => None,
                (Some(_), Some(known)) => known.next_retry_at,
                (Some(_), None) => Some(now + self.retry_min),
            };
            let letter = Letter {
                id: id.as_str().to_owned(),
                processor: self.processor.to_string(),
                container: self.source.to_string(),
                partition_key: letter::key_value(key),
                source_id: failure.source_id.to_owned(),
                source_etag: failure.change.etag.as_str().to_owned(),
                source_lsn: failure.change.lsn,
                range: failure.range.clone(),
                error: failure.fault.as_str().to_owned(),
                document: letter::kept(&failure.change.body),
                attempts: known.map_or(0, |known| known.attempts) + failure.attempts,
                first_failed_at: known.map_or(failure.first_failed_at, |known| known.first_failed_at),
                last_failed_at: now,
                next_retry_at,
                state: if next_retry_at.is_some() { LetterState::Retrying } else { LetterState::Dead },
                ttl: None,
            };
            if self.put(&id, letter, stored.map(|stored| stored.etag)).await? {
                return Ok(());
            }
        }
    }

    /// Notes that newer changes of these documents were applied: their letters, if there are any, are closed.
    pub(crate) async fn applied(
        &self,
        key: &PartitionKey,
        changes: &[Change],
    ) -> Result<(), feedmill_store_api::Error> {
        if self.has_none() {
            return Ok(());
        }
        for change in changes {
            let id = letter_id(&self.processor, &self.source, key, &source_id(change));
            if !self.may_be_open(&id) {
                continue;
            }
            while let Some(stored) = self.read(&id).await? {
                if stored.letter.state == LetterState::Closed || self.close(&id, stored).await? {
                    break;
                }
            }
            self.forget(&id);
        }
        Ok(())
    }

    /// False when somebody else changed the letter meanwhile.
    pub(super) async fn close(&self, id: &DocumentId, stored: Stored) -> Result<bool, feedmill_store_api::Error> {
        let Stored { mut letter, etag } = stored;
        let retention = self.retention.as_secs().clamp(1, i32::MAX as u64);
        letter.ttl = u32::try_from(retention).ok();
        letter.state = LetterState::Closed;
        letter.next_retry_at = None;
        tracing::info!(letter = %id, "a dead letter is closed");
        self.put(id, letter, Some(etag)).await
    }

    /// Notes that a retry failed too. False when somebody else changed the letter meanwhile.
    pub(super) async fn failed_again(
        &self,
        id: &DocumentId,
        stored: Stored,
        fault: &Fault,
    ) -> Result<bool, feedmill_store_api::Error> {
        let now = self.patience.clock.now();
        let Stored { mut letter, etag } = stored;
        let waited = letter.next_retry_at.map_or(self.retry_min, |retry_at| {
            Duration::try_from(retry_at.duration_since(letter.last_failed_at)).unwrap_or(self.retry_min)
        });
        let wait = (waited * 2).max(self.retry_min);
        letter.next_retry_at = (wait <= self.retry_max).then(|| now + wait);
        letter.state = if letter.next_retry_at.is_some() { LetterState::Retrying } else { LetterState::Dead };
        letter.error = fault.as_str().to_owned();
        letter.attempts += 1;
        letter.last_failed_at = now;
        self.put(id, letter, Some(etag)).await
    }

    pub(super) async fn read(&self, id: &DocumentId) -> Result<Option<Stored>, feedmill_store_api::Error> {
        let key = PartitionKey::from(id.as_str());
        let attempted = format!("read dead letter {id}");
        let read = || self.container.read(&key, id, &ReadLevel::Quorum);
        let (document, _) = self.patience.outlast(&attempted, read).await?;
        document.map(|document| Ok(Stored { letter: document.parse()?, etag: document.etag })).transpose()
    }

    /// One conditional write: create, or replace what was read. False when somebody else was faster, which after a
    /// lost reply may have been ourselves: the caller reads and decides again.
    async fn put(
        &self,
        id: &DocumentId,
        letter: Letter,
        read: Option<ETag>,
    ) -> Result<bool, feedmill_store_api::Error> {
        let key = PartitionKey::from(id.as_str());
        let attempted = format!("write dead letter {id}");
        let body = serde_json::to_vec(&letter).map(Bytes::from).map_err(|error| {
            feedmill_store_api::Error::new(ErrorKind::Invalid, attempted.clone()).with_source(error)
        })?;
        let write = || {
            let (id, body) = (id.clone(), body.clone());
            let operation = match &read {
                None => Operation::Create { id, body },
                Some(etag) => Operation::Replace { id, body, if_match: Some(etag.clone()) },
            };
            self.container.write(&key, operation)
        };
        match self.patience.outlast(&attempted, write).await {
            Ok(_) => {
                if letter.state == LetterState::Closed {
                    self.forget(id);
                } else {
                    self.note(Open { id: letter.id, range: letter.range, next_retry_at: letter.next_retry_at });
                }
                Ok(true)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&self, open: Open) {
        let mut letters = self.open.lock();
        if letters.len() < self.open_max || letters.contains_key(&open.id) {
            letters.insert(open.id.clone(), open);
        } else {
            self.complete.store(false, Ordering::Relaxed);
        }
        self.changed.notify_one();
    }

    pub(super) fn forget(&self, id: &DocumentId) {
        self.open.lock().remove(id.as_str());
    }

    /// Tries this one later without writing that down: what failed was the store.
    pub(super) fn postpone(&self, id: &DocumentId, until: Option<Timestamp>) {
        if let Some(open) = self.open.lock().get_mut(id.as_str()) {
            open.next_retry_at = until;
        }
    }

    fn has_none(&self) -> bool {
        self.complete.load(Ordering::Relaxed) && self.open.lock().is_empty()
    }

    fn may_be_open(&self, id: &DocumentId) -> bool {
        !self.complete.load(Ordering::Relaxed) || self.open.lock().contains_key(id.as_str())
    }

    /// The next letter to try again among those in ranges held here, and when.
    pub(super) fn next(&self) -> Option<(Timestamp, DocumentId)> {
        let sessions = self.sessions.lock();
        let letters = self.open.lock();
        let held = |open: &&Open| sessions.keys().any(|range| range.overlaps(&open.range));
        let timed = letters.values().filter(held).filter_map(|open| Some((open.next_retry_at?, open)));
        let (at, open) = timed.min_by_key(|(at, _)| *at)?;
        Some((at, DocumentId::new(open.id.as_str()).ok()?))
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A range is held here, and its feed has shown this much.
    pub(crate) fn session(&self, range: &FeedRange, token: &SessionToken) {
        let mut sessions = self.sessions.lock();
        if let Some(known) = sessions.get_mut(range) {
            known.clone_from(token);
            return;
        }
        sessions.insert(range.clone(), token.clone());
        drop(sessions);
        self.changed.notify_one();
    }

    /// A range is no longer held here.
    pub(crate) fn released(&self, range: &FeedRange) {
        self.sessions.lock().remove(range);
    }

    pub(super) fn session_of(&self, range: &FeedRange) -> Option<SessionToken> {
        let sessions = self.sessions.lock();
        sessions.iter().find(|(held, _)| held.overlaps(range)).map(|(_, token)| token.clone())
    }
}

/// The document's id; its etag where it has none that can be read.
pub(crate) fn source_id(change: &Change) -> String {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_slice::<Named>(&change.body).map_or_else(|_| format!("etag {}", change.etag), |named| named.id)
}
