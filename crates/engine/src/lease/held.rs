use feedmill_clock::Monotonic;
use feedmill_store_api::{Applied, Error, FeedStart, Position, RequestCharge};

use super::document::{LeaseDocument, Owner, Stored};
use super::table::{Replaced, Table};
use crate::LeaseMode;
use crate::limits::SHARED_ATTEMPTS_MAX;

/// Proof of ownership, and the only door to a checkpoint. Losing the lease consumes it.
pub(crate) struct HeldLease {
    table: Table,
    stored: Stored,
    start: FeedStart,
    /// When the last write that was taken was sent.
    written_at: Monotonic,
    /// What was sent and may have been applied without an answer: a refusal that finds one of these found ourselves.
    doubtful: Vec<LeaseDocument>,
}

/// The lease is not ours any more: nothing done from now on may be checkpointed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Who has it now. `None` when it was removed, or changed by somebody who left no name.
    pub(crate) owner: Option<String>,
}

/// Why a lease was not written.
pub(crate) enum Failed {
    Lost(Lost),
    /// Still ours as far as anybody knows. Send the same again.
    Store(Box<HeldLease>, Error),
}

impl HeldLease {
    /// `written_at`: when the write was sent by which it is ours.
    pub(super) fn new(table: Table, stored: Stored, start: FeedStart, written_at: Monotonic) -> Self {
        Self { table, stored, start, written_at, doubtful: Vec::new() }
    }

    /// When the last write that was taken was sent: from then on others wait for the next one.
    pub(crate) fn written_at(&self) -> Monotonic {
        self.written_at
    }

    /// Where delivery begins.
    pub(crate) fn start(&self) -> &FeedStart {
        &self.start
    }

    /// Where delivery begins for whoever comes next.
    pub(super) fn start_again(&self) -> FeedStart {
        self.stored.lease.start().unwrap_or_else(|| self.start.clone())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.stored.lease.epoch()
    }

    /// The position of the last checkpoint, by whoever wrote it.
    pub(crate) fn position(&self) -> Option<&str> {
        self.stored.lease.position()
    }

    /// As it was written last.
    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Stores `position`: one request, on the condition that the lease is as we wrote it last.
    pub(crate) async fn checkpoint(mut self, position: &Position) -> Result<(Self, RequestCharge), Failed> {
        match self.write(|lease| lease.at(position)).await {
            Ok(charge) => Ok((self, charge)),
            Err(Unwritten::Lost(lost)) => Err(Failed::Lost(lost)),
            Err(Unwritten::Store(error)) => Err(Failed::Store(Box::new(self), error)),
        }
    }

    /// Writes it as it is, so that others see that we live: one request.
    pub(crate) async fn renew(mut self) -> Result<(Self, RequestCharge), Failed> {
        match self.write(|lease| lease).await {
            Ok(charge) => Ok((self, charge)),
            Err(Unwritten::Lost(lost)) => Err(Failed::Lost(lost)),
            Err(Unwritten::Store(error)) => Err(Failed::Store(Box::new(self), error)),
        }
    }

    /// Gives the lease back, or to `heir` in its next epoch, with its last position where there is a new one.
    pub(crate) async fn give(
        mut self,
        heir: Option<&Owner>,
        position: Option<&Position>,
    ) -> Result<(Stored, RequestCharge), Failed> {
        let mode = self.table.mode;
        let given = |lease: LeaseDocument| {
            let lease = match position {
                Some(position) => lease.at(position),
                None => lease,
            };
            match heir {
                Some(heir) => lease.taken_by(heir, mode),
                None => lease.free(),
            }
        };
        match self.write(given).await {
            Ok(charge) => Ok((self.stored, charge)),
            Err(Unwritten::Lost(lost)) => Err(Failed::Lost(lost)),
            Err(Unwritten::Store(error)) => Err(Failed::Store(Box::new(self), error)),
        }
    }

    async fn write(&mut self, change: impl Fn(LeaseDocument) -> LeaseDocument) -> Result<RequestCharge, Unwritten> {
        let mut attempts = 0;
        loop {
            let wanted = change(self.stored.lease.clone());
            let sent_at = self.table.patience.clock.monotonic();
            match self.table.replace(&self.stored, wanted.clone()).await {
                Replaced::Written(stored, charge) => {
                    self.stored = stored;
                    self.written_at = sent_at;
                    self.doubtful.clear();
                    return Ok(charge);
                }
                Replaced::Refused(Some(found)) if self.is_own_write(&found.lease) => {
                    self.doubtful.clear();
                    let done = found.lease.is_same_taking(&wanted) && found.lease.position() == wanted.position();
                    self.stored = found;
                    if done {
                        return Ok(RequestCharge::ZERO);
                    }
                }
                // Whoever wrote it left it to us.
                Replaced::Refused(Some(found))
                    if self.table.mode == LeaseMode::Shared
                        && attempts < SHARED_ATTEMPTS_MAX
                        && found.lease.is_same_taking(&self.stored.lease) =>
                {
                    attempts += 1;
                    self.stored = found;
                }
                Replaced::Refused(found) => {
                    let owner = found.and_then(|found| found.lease.owner().map(str::to_owned));
                    return Err(Unwritten::Lost(Lost { owner }));
                }
                Replaced::Failed(error) => {
                    if error.applied() == Applied::Perhaps {
                        self.doubtful.push(wanted);
                    }
                    return Err(Unwritten::Store(error));
                }
            }
        }
    }

    /// Whether `found` is a write of ours whose reply was lost: same owner, same epoch, same position.
    fn is_own_write(&self, found: &LeaseDocument) -> bool {
        self.doubtful.iter().any(|sent| sent.is_same_taking(found) && sent.position() == found.position())
    }
}

enum Unwritten {
    Lost(Lost),
    Store(Error),
}
