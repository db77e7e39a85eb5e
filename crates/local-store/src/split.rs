//! Splits and merges. Nothing is copied: buckets change hands, and one write says so, whole or not at all.
//!
//! Positions stay valid because the sequence goes on: a child's LSNs continue from its parent's, those of a merged partition
//! from the larger of its parents'. So whatever was committed up to a position of the parent has an LSN at or below it in
//! the children too, and whatever comes after has a larger one. A document keeps its LSN until it is written again.

use std::sync::Arc;

use feedmill_store_api::{Error, ErrorKind, FeedRange};

use crate::container::Core;
use crate::error::{invalid, unavailable};
use crate::keys::Head;
use crate::layout::{Layout, Written};
use crate::partition::Partition;
use crate::storage::{Batch, Table, Ticket};

/// What is no more and what stands in its place, and when that is durable.
pub(crate) struct Change {
    pub(crate) ranges: Vec<FeedRange>,
    pub(crate) ticket: Ticket,
}

/// Cuts the partition of exactly this range into halves.
pub(crate) fn split(core: &Core, range: &FeedRange) -> Result<Change, Error> {
    let attempted = || format!("split {range} of {}", core.name());
    let mut layout = core.layout.write();
    let at = layout.position(range).ok_or_else(|| gone(attempted()))?;
    let (first, last) = (layout.partitions[at].buckets.start, layout.partitions[at].buckets.end);
    if last - first < 2 {
        let count = core.buckets.0;
        return Err(invalid(format!("{}: it is one of {count} parts, which is as far as it goes", attempted())));
    }
    let middle = first.midpoint(last);
    replace(core, &mut layout, at..at + 1, &[first..middle, middle..last], &attempted())
}

/// Makes one partition of two neighbours.
pub(crate) fn merge(core: &Core, low: &FeedRange, high: &FeedRange) -> Result<Change, Error> {
    let attempted = || format!("merge {low} and {high} of {}", core.name());
    let mut layout = core.layout.write();
    let at = layout.position(low).ok_or_else(|| gone(attempted()))?;
    layout.position(high).ok_or_else(|| gone(attempted()))?;
    if low.max() != high.min() {
        return Err(invalid(format!("{}: the first does not end where the second begins", attempted())));
    }
    let buckets = layout.partitions[at].buckets.start..layout.partitions[at + 1].buckets.end;
    replace(core, &mut layout, at..at + 2, &[buckets], &attempted())
}

/// Puts partitions of these buckets into the place of those at `olds`.
fn replace(
    core: &Core,
    layout: &mut Arc<Layout>,
    olds: std::ops::Range<usize>,
    buckets: &[std::ops::Range<u16>],
    attempted: &str,
) -> Result<Change, Error> {
    let old = &layout.partitions[olds.clone()];
    // In key order, as whoever else holds more than one does: no deadlock.
    let mut writers: Vec<_> = old.iter().map(|partition| partition.writer.lock()).collect();
    let lsn = writers.iter().map(|writer| writer.head.lsn).max().unwrap_or(0);
    let timestamp_seconds = writers.iter().map(|writer| writer.head.timestamp_seconds).max().unwrap_or(0);
    let head = Head { lsn, timestamp_seconds };
    let mut ancestors: Vec<_> =
        old.iter().flat_map(|partition| partition.ancestors.iter().copied().chain([partition.id])).collect();
    ancestors.sort_unstable();
    ancestors.dedup();

    let mut batch = Batch::default();
    let mut next_id = layout.next_id;
    let mut new = Vec::with_capacity(buckets.len());
    let view = core.shard.view();
    for buckets in buckets {
        let id = next_id;
        next_id = next_id.checked_add(1).ok_or_else(|| invalid(format!("{attempted}: no partition id is left")))?;
        let written = Written { id, buckets: buckets.clone(), ancestors: ancestors.clone(), base_lsn: lsn };
        batch.put(Table::State, Head::key(id), head.encode());
        new.push(Arc::new(Partition::new(&*view, core.buckets, written, head)?));
    }
    drop(view);
    for partition in old {
        batch.remove(Table::State, Head::key(partition.id));
    }
    let commits = old.iter().zip(&writers).map(|(partition, writer)| writer.head.lsn - partition.base_lsn);
    let retired_commits = layout.retired_commits + commits.sum::<u64>();
    let ranges = new.iter().map(|partition| partition.range.clone()).collect();
    let mut partitions = layout.partitions.clone();
    partitions.splice(olds, new);
    let next = Layout { partitions, next_id, retired_commits };
    let (key, value) = next.entry()?;
    batch.put(Table::State, key, value);

    let ticket = core.shard.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())?;
    for writer in &mut writers {
        writer.retired = true;
    }
    drop(writers);
    *layout = Arc::new(next);
    Ok(Change { ranges, ticket })
}

fn gone(attempted: String) -> Error {
    Error::new(ErrorKind::Gone, format!("{attempted}: there is no such partition now"))
}
