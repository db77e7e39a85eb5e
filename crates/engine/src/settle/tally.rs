use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_store_api::RequestCharge;

/// What was done so far and what it cost, by container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub containers: BTreeMap<Arc<str>, ContainerTally>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerTally {
    pub reads: RequestCharge,
    pub writes: RequestCharge,
    /// Documents written.
    pub written: u64,
    /// Targets that already were as they should be.
    pub skipped: u64,
    /// Writes that met another version and were settled again.
    pub conflicts: u64,
}

impl Tally {
    pub(super) fn of(&mut self, container: &str) -> &mut ContainerTally {
        if !self.containers.contains_key(container) {
            self.containers.insert(container.into(), ContainerTally::default());
        }
        self.containers.get_mut(container).expect("inserted above when it was missing")
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (container, theirs) in &other.containers {
            let ours = self.of(container);
            ours.reads += theirs.reads;
            ours.writes += theirs.writes;
            ours.written += theirs.written;
            ours.skipped += theirs.skipped;
            ours.conflicts += theirs.conflicts;
        }
    }

    /// Over all containers.
    pub fn total(&self) -> ContainerTally {
        let mut total = ContainerTally::default();
        for tally in self.containers.values() {
            total.reads += tally.reads;
            total.writes += tally.writes;
            total.written += tally.written;
            total.skipped += tally.skipped;
            total.conflicts += tally.conflicts;
        }
        total
    }
}
