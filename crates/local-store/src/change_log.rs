use std::sync::Arc;

use feedmill_store_api::{Change, Error, ErrorKind, FeedPage, FeedRange, FeedStart, Position};

use crate::container::Core;
use crate::epk::{bound_bytes, last_part_below, part_of};
use crate::error::{corrupt, invalid, unavailable};
use crate::keys::{self, Bucket, Record, Version};
use crate::partition::Partition;
use crate::read::render;
use crate::storage::{Cursor, Direction, Table, View};

/// One page of the latest-version feed.
///
/// The version table is the log: a newer version of a document replaces its older one there, a delete removes it. It is kept
/// in [`keys::Buckets`] by effective key; a page merges those that its range touches.
pub(crate) fn read_page(
    core: &Core,
    range: &FeedRange,
    start: &FeedStart,
    items_max: usize,
) -> Result<FeedPage, Error> {
    let partition = &*partition_of(core, range)?;
    // Before the view, so that the view has everything up to here; what is newer is left to the next page.
    let head_lsn = partition.head_lsn();
    let empty = |lsn| page(core, partition, Vec::new(), lsn, head_lsn);
    let after_lsn = match start {
        FeedStart::Now => return Ok(empty(head_lsn)),
        FeedStart::Beginning | FeedStart::Time(_) => 0,
        FeedStart::Position(position) | FeedStart::PositionSince { position, .. } => {
            lsn_of(core, range, position, head_lsn)?
        }
    };
    let since_seconds = match start {
        FeedStart::Time(since) | FeedStart::PositionSince { since, .. } => Some(since.as_second()),
        _ => None,
    };
    if after_lsn == head_lsn {
        return Ok(empty(head_lsn));
    }
    let view = core.shard.view();
    let (lower, upper) = (bound_bytes(range.min()), bound_bytes(range.max()));
    let upto = Version::after(head_lsn);
    let mut merge = Merge::default();
    for bucket in part_of(&lower, core.buckets.0)..=last_part_below(&upper, core.buckets.0) {
        let bucket = Bucket(bucket);
        let mut from = Version::after(after_lsn);
        if let Some(seconds) = since_seconds {
            // Also after a merge, when times fall along the page: along a bucket they never do.
            from = from.max(first_since(core, &*view, bucket, seconds, upto)?);
        }
        let (from, to) = (keys::version(bucket, from), keys::version(bucket, upto));
        merge.add(view.cursor(Table::Versions, &from, &to, Direction::Forward))?;
    }
    let now_seconds = core.now_seconds();
    let (mut changes, mut bytes, mut covered) = (Vec::<Change>::new(), 0, after_lsn);
    while let Some((version, record)) = merge.current(core)? {
        let full = changes.len() >= items_max.max(1) || bytes >= core.options.page_bytes_max;
        if full && version.lsn() != covered {
            return Ok(page(core, partition, changes, covered, head_lsn));
        }
        covered = version.lsn();
        let inside = record.effective_key >= lower.as_slice() && record.effective_key < upper.as_slice();
        if inside && record.is_live(now_seconds) {
            let body = render(core, version, &record);
            bytes += body.len();
            let (etag, timestamp_seconds) = (version.etag(), record.timestamp_seconds);
            changes.push(Change { lsn: covered, timestamp_seconds, etag, body });
        }
        merge.advance()?;
    }
    Ok(page(core, partition, changes, head_lsn, head_lsn))
}

fn page(core: &Core, partition: &Partition, changes: Vec<Change>, lsn: u64, head_lsn: u64) -> FeedPage {
    FeedPage {
        charge: core.charge().feed_page(changes.iter().map(|change| change.body.len())),
        changes,
        position: Position::new(format!("\"{lsn}\"")),
        session: partition.session(lsn),
        head_lsn,
    }
}

pub(crate) fn partition_of(core: &Core, range: &FeedRange) -> Result<Arc<Partition>, Error> {
    core.layout().around(range).map(Arc::clone).ok_or_else(|| {
        let text = format!("read the feed of {} in {range}: the range is not within one partition", core.name());
        Error::new(ErrorKind::Gone, text)
    })
}

pub(crate) fn lsn_of(core: &Core, range: &FeedRange, position: &Position, head_lsn: u64) -> Result<u64, Error> {
    let number = position.as_str().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let attempted = || format!("read the feed of {} in {range} from {position}", core.name());
    match number.and_then(|number| number.parse::<u64>().ok()) {
        Some(lsn) if lsn <= head_lsn => Ok(lsn),
        Some(_) => Err(invalid(format!(
            "{}: the feed ends at {head_lsn}, so the position is of another store or of one that has lost data since; \
             start again from the beginning or from a time",
            attempted()
        ))),
        None => Err(invalid(format!("{}: that is no position of this feed", attempted()))),
    }
}

/// The first version in a part of the log that was written at `seconds` or later. Times never fall along it, so this is a
/// binary search: its cost does not depend on how much was written before.
fn first_since(core: &Core, view: &dyn View, bucket: Bucket, seconds: i64, upto: Version) -> Result<Version, Error> {
    let to = keys::version(bucket, upto);
    let (mut low, mut high) = (0, upto.0);
    while low < high {
        let middle = low.midpoint(high);
        let mut cursor = view.cursor(Table::Versions, &keys::version(bucket, Version(middle)), &to, Direction::Forward);
        if !cursor.advance().map_err(|failure| unavailable(&failure))? {
            high = middle;
            continue;
        }
        let (version, record) = decode(core, cursor.key(), cursor.value())?;
        if record.timestamp_seconds < seconds {
            low = version.0 + 1;
        } else {
            high = middle;
        }
    }
    Ok(Version(low))
}

fn decode<'a>(core: &Core, key: &[u8], value: &'a [u8]) -> Result<(Version, Record<'a>), Error> {
    let record = Record::decode(value, core.schema.effective_key_bytes());
    keys::version_of(key).zip(record).ok_or_else(|| corrupt(format!("read the change log of {}", core.name())))
}

/// Parts of the log as one, in version order.
#[derive(Default)]
pub(crate) struct Merge<'a> {
    /// Each stands at an entry. Few, so the smallest is found by looking at all.
    heads: Vec<(Version, Box<dyn Cursor + 'a>)>,
}

impl<'a> Merge<'a> {
    pub(crate) fn add(&mut self, mut cursor: Box<dyn Cursor + 'a>) -> Result<(), Error> {
        if cursor.advance().map_err(|failure| unavailable(&failure))? {
            let version = keys::version_of(cursor.key()).unwrap_or(Version(0));
            self.heads.push((version, cursor));
        }
        Ok(())
    }

    fn smallest(&self) -> Option<usize> {
        (0..self.heads.len()).min_by_key(|&at| self.heads[at].0)
    }

    /// Its key and value.
    pub(crate) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let (_, cursor) = &self.heads[self.smallest()?];
        Some((cursor.key(), cursor.value()))
    }

    fn current(&self, core: &Core) -> Result<Option<(Version, Record<'_>)>, Error> {
        self.entry().map(|(key, value)| decode(core, key, value)).transpose()
    }

    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        let Some(at) = self.smallest() else { return Ok(()) };
        let (version, cursor) = &mut self.heads[at];
        if cursor.advance().map_err(|failure| unavailable(&failure))? {
            *version = keys::version_of(cursor.key()).unwrap_or(Version(0));
        } else {
            drop(self.heads.swap_remove(at));
        }
        Ok(())
    }
}
