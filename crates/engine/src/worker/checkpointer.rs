//! When a checkpoint is written: by count, by age, when caught up, at the end.

use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::{Error, Position, RequestCharge};
use futures::future::BoxFuture;

use super::progress::PageEnd;
use crate::Options;
use crate::lease::{Failed, HeldLease, Lost};
use crate::retry::Backoff;

/// Holds the lease of a worker and writes its checkpoints: one request each, one at a time.
pub(super) struct Checkpointer {
    lease: Lease,
    /// The furthest settled page end that no checkpoint has.
    pending: Option<Pending>,
    not_before: Option<Monotonic>,
    backoff: Backoff,
    pages_max: u64,
    age_max: Duration,
}

#[derive(Clone, Debug)]
struct Pending {
    position: Position,
    pages: u64,
    since: Monotonic,
}

enum Lease {
    Here(Box<HeldLease>),
    Writing(BoxFuture<'static, Result<(HeldLease, RequestCharge), Failed>>, Pending),
    /// Lost, or being moved.
    Away,
}

/// What came of a write.
pub(super) enum Checkpoint {
    Written(Position, RequestCharge),
    /// It is sent again later.
    Failed(Error),
    Lost(Lost),
}

impl Checkpointer {
    pub(super) fn new(lease: HeldLease, options: &Options, backoff: Backoff) -> Self {
        Self {
            lease: Lease::Here(Box::new(lease)),
            pending: None,
            not_before: None,
            backoff,
            pages_max: options.checkpoint_pages,
            age_max: options.checkpoint_age,
        }
    }

    /// Everything up to `end` is settled: `pages` more than before.
    pub(super) fn settled(&mut self, pages: u64, end: PageEnd, now: Monotonic) {
        let (before, since) = self.pending.take().map_or((0, now), |pending| (pending.pages, pending.since));
        self.pending = Some(Pending { position: end.position, pages: before + pages, since });
    }

    /// Starts to write when it is time; `at_once` where it is not worth waiting for more.
    pub(super) fn start(&mut self, now: Monotonic, at_once: bool) {
        let Some(pending) = &self.pending else { return };
        let waited = self.not_before.is_none_or(|not_before| not_before <= now);
        let due = at_once || pending.pages >= self.pages_max || now.since(pending.since) >= self.age_max;
        if !waited || !due {
            return;
        }
        match std::mem::replace(&mut self.lease, Lease::Away) {
            Lease::Here(lease) => {
                let pending = self.pending.take().expect("looked at above");
                let position = pending.position.clone();
                let writing = Box::pin(async move { lease.checkpoint(&position).await });
                self.lease = Lease::Writing(writing, pending);
            }
            other => self.lease = other,
        }
    }

    /// When [`Self::start`] is worth calling again.
    pub(super) fn due_at(&self) -> Option<Monotonic> {
        match (&self.lease, &self.pending) {
            (Lease::Here(_), Some(pending)) => {
                let due = pending.since + self.age_max;
                Some(self.not_before.map_or(due, |not_before| not_before.max(due)))
            }
            _ => None,
        }
    }

    /// The end of the write under way; never completes where there is none. Cancel-safe: the write goes on when this
    /// is called again.
    pub(super) async fn finished(&mut self, now: impl Fn() -> Monotonic) -> Checkpoint {
        let Lease::Writing(writing, _) = &mut self.lease else { return std::future::pending().await };
        let result = writing.await;
        let Lease::Writing(_, pending) = std::mem::replace(&mut self.lease, Lease::Away) else {
            unreachable!("it was being written above, and nothing else ran since")
        };
        match result {
            Ok((lease, charge)) => {
                self.lease = Lease::Here(Box::new(lease));
                self.backoff.reset();
                self.not_before = None;
                Checkpoint::Written(pending.position, charge)
            }
            Err(Failed::Store(lease, error)) => {
                self.lease = Lease::Here(lease);
                self.not_before = Some(now() + self.backoff.after(error.kind()));
                // What was settled meanwhile is further, and includes it.
                match &mut self.pending {
                    Some(newer) => {
                        newer.pages += pending.pages;
                        newer.since = pending.since;
                    }
                    none => *none = Some(pending),
                }
                Checkpoint::Failed(error)
            }
            Err(Failed::Lost(lost)) => Checkpoint::Lost(lost),
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.lease, Lease::Writing(..))
    }

    /// The lease, where it is not lost, and the position that no checkpoint has.
    pub(super) fn into_lease(self) -> (Option<HeldLease>, Option<Position>) {
        let lease = match self.lease {
            Lease::Here(lease) => Some(*lease),
            Lease::Writing(..) | Lease::Away => None,
        };
        (lease, self.pending.map(|pending| pending.position))
    }
}
