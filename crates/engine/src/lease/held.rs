use feedmill_store_api::{Applied, Error, FeedStart, Position, RequestCharge};

use super::document::{LeaseDocument, Owner, Stored};
use super::table::{Replaced, Table};

/// Proof of ownership, and the only door to a checkpoint. Losing the lease consumes it.
pub(crate) struct HeldLease {
    table: Table,
    stored: Stored,
    start: FeedStart,
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
    pub(super) fn new(table: Table, stored: Stored, start: FeedStart) -> Self {
        Self { table, stored, start, doubtful: Vec::new() }
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
        let wanted = self.stored.lease.clone().at(position);
        match self.write(wanted).await {
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
        let lease = match position {
            Some(position) => self.stored.lease.clone().at(position),
            None => self.stored.lease.clone(),
        };
        let wanted = match heir {
            Some(heir) => lease.taken_by(heir),
            None => lease.free(),
        };
        match self.write(wanted).await {
            Ok(charge) => Ok((self.stored, charge)),
            Err(Unwritten::Lost(lost)) => Err(Failed::Lost(lost)),
            Err(Unwritten::Store(error)) => Err(Failed::Store(Box::new(self), error)),
        }
    }

    async fn write(&mut self, wanted: LeaseDocument) -> Result<RequestCharge, Unwritten> {
        loop {
            match self.table.replace(&self.stored, wanted.clone()).await {
                Replaced::Written(stored, charge) => {
                    self.stored = stored;
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
