use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{Handler, Options};

/// One handler on one source container, with leases of its own: a failing processor never holds up another.
///
/// Several may share a name, each with another source.
#[derive(Clone)]
pub struct Processor {
    pub name: String,
    /// Name of the container whose feed drives it.
    pub source: String,
    /// Where its leases begin when there are none yet.
    pub start: StartFrom,
    pub handler: Arc<dyn Handler>,
    /// Changes of a key gather while it is handled, and its next handling begins no sooner than
    /// `gather_factor` times as long as the last one took. For handlers whose cost grows with the key, such as counts.
    pub gather: bool,
    /// Leases of each physical partition of the source at least, whatever the options say: more than one where there are few
    /// changes with much work each, which several hosts shall share.
    pub ranges_min: usize,
}

/// Where a processor begins that has never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    Beginning,
    /// After everything that is there when its leases are made.
    Now,
    /// Writes after this time, by the store's clock and to its second.
    Time(Timestamp),
}

impl Processor {
    /// Leases of each physical partition. A host that is alone shares with nobody.
    pub(crate) fn ranges(&self, options: &Options, alone: bool) -> usize {
        options.ranges_per_partition.max(if alone { 1 } else { self.ranges_min })
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("name", &self.name)
            .field("source", &self.source)
            .field("start", &self.start)
            .field("gather", &self.gather)
            .finish_non_exhaustive()
    }
}
