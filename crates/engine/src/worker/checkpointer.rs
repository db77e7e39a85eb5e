//! When a checkpoint is written: by count, by age, when caught up, at the end; and, where leases are shared, so that others see
//! that we live.

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
    renewal: Option<Renewal>,
    /// When the last write that was taken was sent.
    written_at: Monotonic,
}

/// How long a lease is ours after a write of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    /// It is written again after this.
    pub(crate) every: Duration,
    /// Nothing is done by it after this.
    pub(crate) good_for: Duration,
}

#[derive(Clone, Debug)]
struct Pending {
    position: Position,
    pages: u64,
    since: Monotonic,
}

enum Lease {
    Here(Box<HeldLease>),
    /// With what is stored by it, if it is no mere renewal.
    Writing(BoxFuture<'static, Result<(HeldLease, RequestCharge), Failed>>, Option<Pending>),
    /// Lost, or being moved.
    Away,
}

/// What came of a write.
pub(super) enum Checkpoint {
    /// With the position that is stored now, where it is a new one.
    Written(Option<Position>, RequestCharge),
    /// It is sent again later.
    Failed(Error),
    Lost(Lost),
}

impl Checkpointer {
    pub(super) fn new(lease: HeldLease, options: &Options, renewal: Option<Renewal>, backoff: Backoff) -> Self {
        Self {
            renewal,
            written_at: lease.written_at(),
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
        let waited = self.not_before.is_none_or(|not_before| not_before <= now);
        let due = self.pending.as_ref().is_some_and(|pending| {
            at_once || pending.pages >= self.pages_max || now.since(pending.since) >= self.age_max
        });
        let renews = self.renew_at().is_some_and(|at| at <= now);
        if !waited || !(due || renews) {
            return;
        }
        match std::mem::replace(&mut self.lease, Lease::Away) {
            Lease::Here(lease) => {
                let pending = self.pending.take();
                let position = pending.as_ref().map(|pending| pending.position.clone());
                let writing = Box::pin(async move {
                    match position {
                        Some(position) => lease.checkpoint(&position).await,
                        None => lease.renew().await,
                    }
                });
                self.lease = Lease::Writing(writing, pending);
            }
            other => self.lease = other,
        }
    }

    fn renew_at(&self) -> Option<Monotonic> {
        self.renewal.map(|renewal| self.written_at + renewal.every)
    }

    /// Until when the lease is ours as far as its last write says; always, where heartbeats say that.
    pub(super) fn good_until(&self) -> Option<Monotonic> {
        self.renewal.map(|renewal| self.written_at + renewal.good_for)
    }

    /// When [`Self::start`] is worth calling again.
    pub(super) fn due_at(&self) -> Option<Monotonic> {
        let Lease::Here(_) = &self.lease else { return None };
        let stored = self.pending.as_ref().map(|pending| pending.since + self.age_max);
        let due = [stored, self.renew_at()].into_iter().flatten().min()?;
        Some(self.not_before.map_or(due, |not_before| not_before.max(due)))
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
                self.written_at = lease.written_at();
                self.lease = Lease::Here(Box::new(lease));
                self.backoff.reset();
                self.not_before = None;
                Checkpoint::Written(pending.map(|pending| pending.position), charge)
            }
            Err(Failed::Store(lease, error)) => {
                self.lease = Lease::Here(lease);
                self.not_before = Some(now() + self.backoff.after(error.kind()));
                // What was settled meanwhile is further, and includes it.
                match (&mut self.pending, pending) {
                    (Some(newer), Some(pending)) => {
                        newer.pages += pending.pages;
                        newer.since = pending.since;
                    }
                    (none @ None, pending) => *none = pending,
                    (Some(_), None) => {}
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
