use std::ops::{Add, AddAssign};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// What a relay has done so far, for whoever watches it; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Summary>>);

impl Progress {
    pub(crate) fn set(&self, summary: Summary) {
        *self.0.lock() = summary;
    }

    pub fn summary(&self) -> Summary {
        *self.0.lock()
    }
}

/// What one batch did, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub claimed: u64,
    /// The document is there, in this version or a newer one.
    pub relayed: u64,
    /// Of these: written by this event.
    pub written: u64,
    /// Failed by their own fault, dead ones included.
    pub failed: u64,
    /// Used up their retries.
    pub dead: u64,
    /// Put off because a store was away or throttled.
    pub deferred: u64,
}

/// Where the time of a relay's batches went; what is missing to the time that passed, it rested. Of several relays: the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Claiming, in PostgreSQL.
    pub claiming: Duration,
    /// Making documents of events, and writing them.
    pub writing: Duration,
    /// Mirroring, marking and committing, in PostgreSQL.
    pub marking: Duration,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub batches: u64,
    /// Batches lost to a failure of PostgreSQL. What they wrote was written again.
    pub lost: u64,
    pub total: Step,
    pub spent: Spent,
    /// Events that retention removed.
    pub removed: u64,
}

impl Add for Summary {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let mut total = self.total;
        total += other.total;
        let mut spent = self.spent;
        spent += other.spent;
        let (batches, lost) = (self.batches + other.batches, self.lost + other.lost);
        Self { batches, lost, total, spent, removed: self.removed + other.removed }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.claiming += other.claiming;
        self.writing += other.writing;
        self.marking += other.marking;
    }
}

impl AddAssign for Step {
    fn add_assign(&mut self, other: Self) {
        self.claimed += other.claimed;
        self.relayed += other.relayed;
        self.written += other.written;
        self.failed += other.failed;
        self.dead += other.dead;
        self.deferred += other.deferred;
    }
}
