use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use feedmill_store_api::{Error, FeedRange, SessionToken};
use parking_lot::Mutex;

use crate::epk::{bound_bytes, boundary};
use crate::error::{corrupt, unavailable};
use crate::keys::{self, Bucket, Buckets, Head, Record};
use crate::layout::Written;
use crate::storage::{Direction, Table, View};

/// One physical partition of a container: an interval of the key space with its own sequence of commits.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Never given to another partition of the container.
    pub(crate) id: u16,
    pub(crate) range: FeedRange,
    /// That are its own.
    pub(crate) buckets: Range<u16>,
    /// All partitions that it came from, oldest first.
    pub(crate) ancestors: Vec<u16>,
    /// LSN of the newest commit of those.
    pub(crate) base_lsn: u64,
    /// Exclusive.
    upper: Vec<u8>,
    /// LSN of the newest commit that every view opened from now on has.
    head: AtomicU64,
    /// Held by whoever commits, from reading what is there to applying what shall be.
    pub(crate) writer: Mutex<Writer>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) head: Head,
    /// Nothing expires before.
    pub(crate) next_expiry_seconds: Option<i64>,
    /// Others have taken its place: nothing may be committed here any more.
    pub(crate) retired: bool,
}

impl Partition {
    /// The partition as storage has it.
    pub(crate) fn open(view: &dyn View, buckets: Buckets, written: &Written, at: Place<'_>) -> Result<Self, Error> {
        let head = recover_head(view, written, &at)?;
        Self::new(view, buckets, written.clone(), head)
    }

    /// With `head` as its newest commit.
    pub(crate) fn new(view: &dyn View, buckets: Buckets, written: Written, head: Head) -> Result<Self, Error> {
        let bound = |bucket: u16| boundary(u32::from(bucket), u32::from(buckets.0));
        let (lower, upper) = (bound(written.buckets.start), bound(written.buckets.end));
        let range = FeedRange::new(lower, upper).map_err(|error| corrupt("cut the key space").with_source(error))?;
        let next_expiry_seconds = next_expiry(view, &written.buckets)?;
        Ok(Self {
            id: written.id,
            upper: bound_bytes(FeedRange::max(&range)),
            range,
            buckets: written.buckets,
            ancestors: written.ancestors,
            base_lsn: written.base_lsn,
            head: AtomicU64::new(head.lsn),
            writer: Mutex::new(Writer { head, next_expiry_seconds, retired: false }),
        })
    }

    /// As it is written down.
    pub(crate) fn written(&self) -> Written {
        let (buckets, ancestors) = (self.buckets.clone(), self.ancestors.clone());
        Written { id: self.id, buckets, ancestors, base_lsn: self.base_lsn }
    }

    /// Whether all keys of the partition are below this one.
    pub(crate) fn is_below(&self, effective_key: &[u8]) -> bool {
        self.upper.as_slice() <= effective_key
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
}

/// Whose partition, for messages, and how to read its records.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) effective_key_bytes: usize,
}

/// The newest commit is the one of the newest version, or a newer one that left none and wrote itself down.
fn recover_head(view: &dyn View, written: &Written, at: &Place<'_>) -> Result<Head, Error> {
    let damaged = || corrupt(format!("read the newest commit of partition {} of {}", written.id, at.name));
    let mut head = Head::default();
    if let Some(found) = view.get(Table::State, &Head::key(written.id)).map_err(|failure| unavailable(&failure))? {
        head = Head::decode(&found).ok_or_else(damaged)?;
    }
    for bucket in written.buckets.clone() {
        let (from, to) = keys::bucket_bounds(Bucket(bucket));
        let mut cursor = view.cursor(Table::Versions, &from, &to, Direction::Backward);
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

/// When the first document of these buckets expires.
fn next_expiry(view: &dyn View, buckets: &Range<u16>) -> Result<Option<i64>, Error> {
    let mut next = None;
    for bucket in buckets.clone() {
        let (from, to) = keys::bucket_bounds(Bucket(bucket));
        let mut cursor = view.cursor(Table::Expiry, &from, &to, Direction::Forward);
        if cursor.advance().map_err(|failure| unavailable(&failure))? {
            next = next.into_iter().chain(keys::expiry_of(cursor.key())).min();
        }
    }
    Ok(next)
}
