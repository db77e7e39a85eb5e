use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use feedmill_store_api::{ETag, Error, FeedRange, SessionToken};
use parking_lot::Mutex;

use crate::epk::{EffectiveKey, bound_bytes, boundary};
use crate::error::{corrupt, unavailable};
use crate::keys::{self, BUCKETS, Head, Record, Version};
use crate::storage::{Direction, Shard, ShardId, Storage, Table, View};

/// One physical partition of a container: an interval of the key space with its own sequence of commits.
pub(crate) struct Partition {
    pub(crate) id: u16,
    pub(crate) range: FeedRange,
    pub(crate) shard: Arc<dyn Shard>,
    /// Exclusive.
    upper: Vec<u8>,
    /// LSN of the newest commit that every view opened from now on has.
    head: AtomicU64,
    /// Held by whoever commits, from reading what is there to applying what shall be.
    pub(crate) writer: Mutex<Writer>,
}

pub(crate) struct Writer {
    pub(crate) head: Head,
    /// Nothing expires before.
    pub(crate) next_expiry_seconds: Option<i64>,
}

impl Partition {
    /// The partition `index` of `count` as storage has it.
    pub(crate) fn open(storage: &dyn Storage, at: Place<'_>) -> Result<Self, Error> {
        let shard = storage.shard(ShardId { container: at.container, partition: at.index });
        let head = recover_head(&*shard.view(), &at)?;
        let next_expiry_seconds = next_expiry(&*shard.view(), 0)?;
        let (lower, upper) = (boundary(u32::from(at.index), at.count), boundary(u32::from(at.index) + 1, at.count));
        let range = FeedRange::new(lower, upper).map_err(|error| corrupt("split the key space").with_source(error))?;
        Ok(Self {
            id: at.index,
            upper: bound_bytes(FeedRange::max(&range)),
            range,
            shard,
            head: AtomicU64::new(head.lsn),
            writer: Mutex::new(Writer { head, next_expiry_seconds }),
        })
    }

    /// Of partitions in key order.
    pub(crate) fn of_key<'p>(partitions: &'p [Self], key: &EffectiveKey) -> &'p Self {
        let at = partitions.partition_point(|partition| *partition.upper <= **key);
        &partitions[at.min(partitions.len() - 1)]
    }

    pub(crate) fn head_lsn(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// To be called once the commit is applied.
    pub(crate) fn publish(&self, lsn: u64) {
        self.head.store(lsn, Ordering::Release);
    }

    pub(crate) fn session(&self, lsn: u64) -> SessionToken {
        SessionToken(format!("{}:-1#{lsn}", self.id))
    }

    pub(crate) fn etag(&self, version: Version) -> ETag {
        ETag::new(format!("\"{:x}-{:x}\"", self.id, version.0))
    }
}

/// Which partition of what.
pub(crate) struct Place<'a> {
    pub(crate) container: u32,
    pub(crate) name: &'a str,
    pub(crate) index: u16,
    pub(crate) count: u32,
    pub(crate) effective_key_bytes: usize,
}

/// The newest commit is the one of the newest version, or a newer one that left none and wrote itself down.
fn recover_head(view: &dyn View, at: &Place<'_>) -> Result<Head, Error> {
    let damaged = || corrupt(format!("read the newest commit of partition {} of {}", at.index, at.name));
    let mut head = Head::default();
    if let Some(written) = view.get(Table::State, Head::KEY).map_err(|failure| unavailable(&failure))? {
        head = Head::decode(&written).ok_or_else(damaged)?;
    }
    for bucket in 0..BUCKETS {
        let mut cursor = view.cursor(Table::Versions, &[bucket], &[bucket + 1], Direction::Backward);
        if cursor.advance().map_err(|failure| unavailable(&failure))? {
            let lsn = keys::version_of(cursor.key()).ok_or_else(damaged)?.lsn();
            let record = Record::decode(cursor.value(), at.effective_key_bytes).ok_or_else(damaged)?;
            if lsn > head.lsn {
                head = Head { lsn, timestamp_seconds: record.timestamp_seconds };
            }
        }
    }
    Ok(head)
}

/// When the first document expires that does so at `from_seconds` or later.
pub(crate) fn next_expiry(view: &dyn View, from_seconds: i64) -> Result<Option<i64>, Error> {
    let mut cursor = view.cursor(Table::Expiry, &keys::expiry_bound(from_seconds), &[u8::MAX; 8], Direction::Forward);
    let found = cursor.advance().map_err(|failure| unavailable(&failure))?;
    Ok(if found { keys::expiry_of(cursor.key()) } else { None })
}
