//! All versions of documents and their deletions, for containers that keep them for a time: the all-versions-and-deletes feed.
//!
//! Written by the commits themselves, so it has what they have done and nothing else. What is kept longer than was asked for goes with
//! the next commit to its bucket; a position before it is refused rather than passed over.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use feedmill_store_api::{FeedRange, FeedStart, Position, RequestCharge, Result, SessionToken};
use futures::lock::Mutex;

use crate::change_log::{Merge, lsn_of, partition_of};
use crate::container::Core;
use crate::database::LocalStore;
use crate::drop::erase;
use crate::epk::{bound_bytes, last_part_below, part_of};
use crate::error::{corrupt, invalid, unavailable};
use crate::keys::{self, Bucket, Event, EventKind, Pointer, Version};
use crate::partition::Partition;
use crate::read::{self, render};
use crate::served::safe;
use crate::storage::{Batch, Direction, Table, Ticket, View};

/// Where it is written down for how long a container keeps its history, in seconds.
const KEPT: &[u8] = b"history";

/// Entries that are past their time and go with one commit: more than it leaves, one for each operation and each document whose time
/// was over.
const FORGOTTEN_MAX: usize = 256;

/// How long the history of a container is kept.
#[derive(Debug)]
pub(crate) struct Retention {
    /// 0 where it has none.
    seconds: AtomicU32,
    /// Held while that changes: what is erased must not be of a history that has begun anew.
    changing: Mutex<()>,
}

impl Retention {
    pub(crate) fn open(view: &dyn View) -> Result<Self> {
        let found = view.get(Table::State, KEPT).map_err(|failure| unavailable(&failure))?;
        let seconds = match found {
            Some(bytes) => bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)),
            None => Some(0),
        };
        let seconds = seconds.ok_or_else(|| corrupt("read how long history is kept"))?;
        Ok(Self { seconds: AtomicU32::new(seconds), changing: Mutex::default() })
    }

    /// `None` where no history is kept.
    pub(crate) fn seconds(&self) -> Option<u32> {
        Some(self.seconds.load(Ordering::Acquire)).filter(|seconds| *seconds > 0)
    }
}

/// A version or a deletion of a document.
#[derive(Clone, Debug)]
pub struct Happened {
    pub kind: EventKind,
    pub lsn: u64,
    pub timestamp_seconds: i64,
    /// LSN of the version before; `None` for a create.
    pub previous_lsn: Option<u64>,
    /// With the store's own fields: what was written or, for a deletion, what was deleted.
    pub document: Bytes,
}

/// One page of the all-versions-and-deletes feed of a range.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    pub events: Vec<Happened>,
    pub position: Position,
    pub session: SessionToken,
    pub head_lsn: u64,
    pub charge: RequestCharge,
}

impl LocalStore {
    /// Keeps the history of a container from now on, for so many seconds at least; what was before is not in it. `None` keeps none, and
    /// erases what there is: called again after a failure, it goes on with that.
    pub async fn keep_history(&self, database: &str, container: &str, seconds: Option<u32>) -> Result<()> {
        let core = self.core(database, container)?;
        let _turn = core.history.changing.lock().await;
        let kept = core.history.seconds();
        if kept != seconds {
            core.room().await?;
            let ticket = write_down(&core, kept.is_none(), seconds.unwrap_or(0))?;
            core.synced(ticket).await?;
        }
        match seconds {
            Some(_) => Ok(()),
            None => erase(&core, Table::History).await,
        }
    }

    /// One page of the history of a range, which begins now or at a position that an earlier page has given. `None` where the container
    /// keeps no history; `Invalid` for a position before what is kept. What it shows survives a power cut, as with
    /// [`LocalStore::served`].
    pub async fn read_history(
        &self,
        (database, container): (&str, &str),
        range: &FeedRange,
        start: &FeedStart,
        items_max: usize,
    ) -> Result<Option<HistoryPage>> {
        let core = self.core(database, container)?;
        if core.history.seconds().is_none() {
            return Ok(None);
        }
        safe(self.storage(), read_page(&core, range, start, items_max).map(Some)).await
    }
}

fn write_down(core: &Core, begins: bool, seconds: u32) -> Result<Ticket> {
    let layout = core.layout.write();
    // In key order, as a split does, and with nobody in the middle of a commit.
    let writers: Vec<_> = layout.partitions.iter().map(|partition| partition.writer.lock()).collect();
    let mut batch = Batch::default();
    batch.put(Table::State, KEPT.to_vec(), seconds.to_be_bytes().to_vec());
    if begins {
        for (partition, writer) in layout.partitions.iter().zip(&writers) {
            for bucket in partition.buckets.clone() {
                forget_up_to(Bucket(bucket), writer.head.lsn, &mut batch);
            }
        }
    }
    let ticket = core.shard.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())?;
    core.history.seconds.store(seconds, Ordering::Release);
    Ok(ticket)
}

fn read_page(core: &Core, range: &FeedRange, start: &FeedStart, items_max: usize) -> Result<HistoryPage> {
    let partition = &*partition_of(core, range)?;
    // Before the view, so that the view has everything up to here.
    let head_lsn = partition.head_lsn();
    let after_lsn = match start {
        FeedStart::Now => return Ok(page(core, partition, Vec::new(), head_lsn, head_lsn)),
        FeedStart::Position(position) => lsn_of(core, range, position, head_lsn)?,
        FeedStart::Beginning | FeedStart::Time(_) | FeedStart::PositionSince { .. } => {
            let name = core.name();
            return Err(invalid(format!("read all versions of {name}: they are read from now on, or from a position")));
        }
    };
    let view = core.shard.view();
    let (lower, upper) = (bound_bytes(range.min()), bound_bytes(range.max()));
    let mut merge = Merge::default();
    for bucket in part_of(&lower, core.buckets.0)..=last_part_below(&upper, core.buckets.0) {
        let bucket = Bucket(bucket);
        if forgotten_up_to(&*view, bucket)? > after_lsn {
            let name = core.name();
            return Err(invalid(format!(
                "read all versions of {name} in {range} from {after_lsn}: that is kept no longer"
            )));
        }
        let (from, to) =
            (keys::version(bucket, Version::after(after_lsn)), keys::version(bucket, Version::after(head_lsn)));
        merge.add(view.cursor(Table::History, &from, &to, Direction::Forward))?;
    }
    let (mut events, mut bytes, mut covered) = (Vec::<Happened>::new(), 0, after_lsn);
    while let Some((key, value)) = merge.entry() {
        let (version, event) = decode(core, key, value)?;
        let full = events.len() >= items_max.max(1) || bytes >= core.options.page_bytes_max;
        if full && version.lsn() != covered {
            return Ok(page(core, partition, events, covered, head_lsn));
        }
        covered = version.lsn();
        let key = event.record.effective_key;
        if key >= lower.as_slice() && key < upper.as_slice() {
            let is_gone = matches!(event.kind, EventKind::Delete | EventKind::Expire);
            let of = if is_gone { event.previous.unwrap_or(version) } else { version };
            let document = render(core, of, &event.record);
            bytes += document.len();
            events.push(Happened {
                kind: event.kind,
                lsn: covered,
                timestamp_seconds: event.timestamp_seconds,
                previous_lsn: event.previous.map(Version::lsn),
                document,
            });
        }
        merge.advance()?;
    }
    Ok(page(core, partition, events, head_lsn, head_lsn))
}

fn page(core: &Core, partition: &Partition, events: Vec<Happened>, lsn: u64, head_lsn: u64) -> HistoryPage {
    let charge = core.charge().feed_page(events.iter().map(|event| event.document.len()));
    let position = Position::new(format!("\"{lsn}\""));
    HistoryPage { events, position, session: partition.session(head_lsn), head_lsn, charge }
}

fn decode<'a>(core: &Core, key: &[u8], value: &'a [u8]) -> Result<(Version, Event<'a>)> {
    let event = Event::decode(value, core.schema.effective_key_bytes());
    keys::version_of(key).zip(event).ok_or_else(|| corrupt(format!("read the history of {}", core.name())))
}

/// Adds to `batch` the removal of what this bucket has kept long enough.
pub(crate) fn forget(core: &Core, view: &dyn View, bucket: Bucket, now_seconds: i64, batch: &mut Batch) -> Result<()> {
    let Some(seconds) = core.history.seconds() else { return Ok(()) };
    let (from, to) = keys::bucket_bounds(bucket);
    let mut cursor = view.cursor(Table::History, &from, &to, Direction::Forward);
    let mut forgotten = None;
    for _ in 0..FORGOTTEN_MAX {
        if !cursor.advance().map_err(|failure| unavailable(&failure))? {
            break;
        }
        let (version, event) = decode(core, cursor.key(), cursor.value())?;
        if event.timestamp_seconds + i64::from(seconds) > now_seconds {
            break;
        }
        forgotten = Some(version.lsn());
        batch.remove(Table::History, cursor.key().to_vec());
    }
    if let Some(lsn) = forgotten {
        forget_up_to(bucket, lsn, batch);
    }
    Ok(())
}

/// Writes down that a document's time was over, under a commit's version for what it does aside.
pub(crate) fn expire(
    core: &Core,
    view: &dyn View,
    effective_key: &[u8],
    pointer: Pointer,
    (version, timestamp_seconds): (Version, i64),
    batch: &mut Batch,
) -> Result<()> {
    let bucket = core.buckets.of(effective_key);
    let stored = read::stored(core, view, bucket, pointer.version)?;
    let previous = Some(pointer.version);
    let record = read::record(core, &stored, pointer.version)?;
    let event = Event { kind: EventKind::Expire, timestamp_seconds, previous, record };
    batch.put(Table::History, keys::event(bucket, version, previous), event.encode());
    Ok(())
}

/// Writes down that a bucket has nothing of this commit and of those before it.
fn forget_up_to(bucket: Bucket, lsn: u64, batch: &mut Batch) {
    batch.put(Table::State, [KEPT, &bucket.0.to_be_bytes()].concat(), lsn.to_be_bytes().to_vec());
}

fn forgotten_up_to(view: &dyn View, bucket: Bucket) -> Result<u64> {
    let found = view.get(Table::State, &[KEPT, &bucket.0.to_be_bytes()].concat());
    let found = found.map_err(|failure| unavailable(&failure))?;
    let lsn = found.as_deref().map_or(Some(0), |bytes| bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)));
    lsn.ok_or_else(|| corrupt("read how far history is kept"))
}

#[cfg(test)]
mod tests;
