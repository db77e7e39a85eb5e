//! Tries dead letters again.

use std::sync::Arc;
use std::time::Duration;

use feedmill_store_api::{Change, Container, DocumentId, ReadLevel};
use futures::future::Either;
use serde::Deserialize;

use super::ledger::{Ledger, Stored};
use super::letter::{self, Fault, LetterState};
use crate::lifetime::Rounds;
use crate::shutdown::Stop;
use crate::supervisor::catch;
use crate::{Delivery, Handler, SettleError, Writer, retry};

/// What a retry needs.
pub(crate) struct Redriver {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) source: Arc<dyn Container>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) writer: Writer,
    pub(crate) rounds: Arc<Rounds>,
}

/// What came of a retry.
enum Retried {
    Applied,
    Failed(Fault),
    /// The store failed; it says nothing about the letter.
    Outage(feedmill_store_api::Error),
}

/// Tries each letter again when its time has come, one at a time, until taking stops.
pub(crate) async fn redrive(redriver: Redriver, stop: Stop) {
    let clock = Arc::clone(&redriver.ledger.patience.clock);
    loop {
        let due = redriver.ledger.next();
        let wait = match &due {
            Some((at, _)) => {
                let wait = Duration::try_from(at.duration_since(clock.now())).unwrap_or(Duration::ZERO);
                Either::Left(clock.sleep(wait))
            }
            None => Either::Right(std::future::pending()),
        };
        tokio::select! {
            biased;
            () = stop.taking_stopped() => return,
            () = redriver.ledger.changed() => continue,
            () = wait => {}
        }
        let Some((_, id)) = due else { continue };
        tokio::select! {
            biased;
            // A retry is abandoned at once: nothing waits for it, and the letter stays as it is.
            () = stop.taking_stopped() => return,
            done = redriver.retry(&id) => if let Err(error) = done {
                tracing::warn!(letter = %id, error = %error, "a dead letter could not be tried again");
                redriver.postpone(&id);
            },
        }
    }
}

impl Redriver {
    /// Tries one letter now, whatever its state, and writes down what came of it. `None` when it was applied.
    pub(super) async fn replay(&self, id: &DocumentId) -> Result<Option<Fault>, feedmill_store_api::Error> {
        loop {
            let Some(stored) = self.ledger.read(id).await? else { return Ok(None) };
            match self.deliver(&stored).await {
                Retried::Applied => {
                    if stored.letter.state == LetterState::Closed || self.ledger.close(id, stored).await? {
                        return Ok(None);
                    }
                }
                Retried::Failed(fault) => {
                    if self.ledger.failed_again(id, stored, &fault).await? {
                        return Ok(Some(fault));
                    }
                }
                Retried::Outage(error) => return Err(error),
            }
        }
    }

    async fn retry(&self, id: &DocumentId) -> Result<(), feedmill_store_api::Error> {
        let Some(stored) = self.ledger.read(id).await? else {
            self.ledger.forget(id);
            return Ok(());
        };
        match stored.letter.state {
            LetterState::Closed => {
                self.ledger.forget(id);
                return Ok(());
            }
            LetterState::Dead => {
                self.ledger.postpone(id, None);
                return Ok(());
            }
            LetterState::Retrying => {}
        }
        match self.deliver(&stored).await {
            Retried::Applied => {
                if !self.ledger.close(id, stored).await? {
                    self.postpone(id);
                }
            }
            Retried::Failed(fault) => {
                if !self.ledger.failed_again(id, stored, &fault).await? {
                    self.postpone(id);
                }
            }
            Retried::Outage(error) => return Err(error),
        }
        Ok(())
    }

    /// Settles from the source document as it is now, never from the copy in the letter.
    async fn deliver(&self, stored: &Stored) -> Retried {
        let letter = &stored.letter;
        let (Some(key), Ok(id)) = (letter::key_of(&letter.partition_key), DocumentId::new(&*letter.source_id)) else {
            return Retried::Failed(Fault::new(&*letter.error));
        };
        let document = match self.source.read(&key, &id, &ReadLevel::Quorum).await {
            Ok((Some(document), _)) => document,
            Ok((None, _)) => return Retried::Applied,
            Err(error) => return Retried::Outage(error),
        };
        let Some(session) = self.ledger.session_of(&letter.range) else {
            return Retried::Outage(feedmill_store_api::Error::new(
                feedmill_store_api::ErrorKind::Unavailable,
                format!("range {} is not read here", letter.range),
            ));
        };
        #[derive(Deserialize)]
        struct Written {
            #[serde(default)]
            _ts: i64,
        }
        let change = Change {
            lsn: letter.source_lsn,
            timestamp_seconds: document.parse::<Written>().map_or(0, |written| written._ts),
            etag: document.etag,
            body: document.body,
        };
        let delivery = Delivery {
            container: Arc::clone(&self.ledger.source),
            container_rid: self.source.rid().into(),
            key,
            changes: vec![change],
            session,
        };
        let _active = self.rounds.activity();
        let settler = self.writer.settler(&delivery);
        match catch(self.handler.handle(&delivery, &settler)).await {
            Ok(Ok(outcome)) => match outcome.rejected.into_iter().next() {
                None => Retried::Applied,
                Some(rejection) => Retried::Failed(Fault::new(rejection.reason)),
            },
            Ok(Err(SettleError::Store(error))) if !retry::is_own_fault(error.kind()) => Retried::Outage(error),
            Ok(Err(error)) => Retried::Failed(Fault::new(error.to_string())),
            Err(panicked) => Retried::Failed(Fault::new(panicked.to_string())),
        }
    }

    fn postpone(&self, id: &DocumentId) {
        let later = self.ledger.patience.clock.now() + self.ledger.retry_min;
        self.ledger.postpone(id, Some(later));
    }
}
