//! Which partitions a container has.

use std::ops::Range;
use std::sync::Arc;

use feedmill_store_api::{ContainerSpec, Error, FeedRange};
use serde::{Deserialize, Serialize};

use crate::error::{corrupt, unavailable};
use crate::keys::Buckets;
use crate::partition::{Partition, Place};
use crate::storage::{Table, View};

/// Where the layout is written down once it is another than the container began with.
const KEY: &[u8] = b"layout";

/// Buckets of a container at least: so many places a page of all of it merges, and so often it can be halved.
const CONTAINER_BUCKETS_MIN: u32 = 16;

/// Buckets of each partition that a container begins with, at least.
const PARTITION_BUCKETS_MIN: u32 = 4;

/// The partitions of a container at one moment. Never changes: a split or a merge makes another one.
#[derive(Debug)]
pub(crate) struct Layout {
    /// In key order, without gap or overlap.
    pub(crate) partitions: Vec<Arc<Partition>>,
    pub(crate) next_id: u16,
    /// Commits of partitions that are no more.
    pub(crate) retired_commits: u64,
}

/// A partition as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) id: u16,
    pub(crate) buckets: Range<u16>,
    pub(crate) ancestors: Vec<u16>,
    pub(crate) base_lsn: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenLayout {
    next_id: u16,
    retired_commits: u64,
    partitions: Vec<Written>,
}

/// How finely a container is cut, for ever: every partition it begins with has the same number of buckets, a power of two
/// that can be halved again and again.
pub(crate) fn buckets(spec: &ContainerSpec) -> Buckets {
    let mut each = PARTITION_BUCKETS_MIN;
    while each * spec.partitions < CONTAINER_BUCKETS_MIN {
        each *= 2;
    }
    while each > 1 && each * spec.partitions > u32::from(u16::MAX) {
        each /= 2;
    }
    Buckets(u16::try_from(each * spec.partitions).unwrap_or(u16::MAX))
}

impl Layout {
    pub(crate) fn open(view: &dyn View, spec: &ContainerSpec, place: Place<'_>) -> Result<Self, Error> {
        let written = match view.get(Table::State, KEY).map_err(|failure| unavailable(&failure))? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| corrupt(format!("read the partitions of {}", place.name)).with_source(error))?,
            None => first(spec),
        };
        let buckets = buckets(spec);
        let open = |written: &Written| Partition::open(view, buckets, written, place).map(Arc::new);
        Ok(Self {
            partitions: written.partitions.iter().map(open).collect::<Result<_, _>>()?,
            next_id: written.next_id,
            retired_commits: written.retired_commits,
        })
    }

    /// Key and value that say what partitions there are.
    pub(crate) fn entry(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let partitions = self.partitions.iter().map(|partition| partition.written()).collect();
        let (next_id, retired_commits) = (self.next_id, self.retired_commits);
        let written = serde_json::to_vec(&WrittenLayout { next_id, retired_commits, partitions });
        Ok((KEY.to_vec(), written.map_err(|error| corrupt("write down partitions").with_source(error))?))
    }

    pub(crate) fn commits(&self) -> u64 {
        let of_partition = |partition: &Arc<Partition>| partition.head_lsn() - partition.base_lsn;
        self.retired_commits + self.partitions.iter().map(of_partition).sum::<u64>()
    }

    pub(crate) fn of_key(&self, effective_key: &[u8]) -> &Arc<Partition> {
        let at = self.partitions.partition_point(|partition| partition.is_below(effective_key));
        &self.partitions[at.min(self.partitions.len() - 1)]
    }

    /// The partition that all of a range lies in.
    pub(crate) fn around(&self, range: &FeedRange) -> Option<&Arc<Partition>> {
        self.partitions.iter().find(|partition| partition.range.contains(range))
    }

    /// Where the partition of exactly this range stands.
    pub(crate) fn position(&self, range: &FeedRange) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.range == *range)
    }
}

fn first(spec: &ContainerSpec) -> WrittenLayout {
    let count = u16::try_from(spec.partitions).unwrap_or(u16::MAX);
    let each = buckets(spec).0 / count;
    let partition = |id| Written { id, buckets: id * each..(id + 1) * each, ancestors: Vec::new(), base_lsn: 0 };
    WrittenLayout { next_id: count, retired_commits: 0, partitions: (0..count).map(partition).collect() }
}
