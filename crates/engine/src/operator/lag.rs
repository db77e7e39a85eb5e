//! How far behind a lease is, by one look at its feed.

use std::sync::Arc;

use feedmill_store_api::{Container, ErrorKind, FeedPage, FeedRange, FeedStart};
use serde::Serialize;

use super::{LeaseRecord, Operator};
use crate::LeaseError;
use crate::lease::{Portion, Table, parts, share};

/// What a lease has not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Commits (LSNs) from the first change behind the checkpoint to the head: one of many documents counts once. A part of a
    /// physical partition counts its share of them by keys, because they do not say whose they are; both halves of one that
    /// was split do so with what was there before. 0 where nothing waits.
    pub changes: u64,
    /// Age of the first change behind the checkpoint. 0 where nothing waits.
    pub seconds: u64,
}

/// A range from some place on.
pub(super) struct Stretch<'a> {
    pub(super) source: &'a Arc<dyn Container>,
    pub(super) range: &'a FeedRange,
    pub(super) start: &'a FeedStart,
    /// Of the lease that goes on there.
    pub(super) portion: Option<Portion>,
    /// Where its parts may have leases, with which they are counted.
    pub(super) table: Option<&'a Table>,
}

impl Operator {
    /// Reads one change from where the lease is: right for a range never read, which counts from its first change that is
    /// there; for one that was just split, which is the sum of its parts, and whose parts share what was there before; and at
    /// rest, where there is none.
    ///
    /// Where a .NET host divided a lease nobody wrote down at which commit, and each part counts what was there before as its
    /// own until it is past it. Leases that are finer than partitions stay as they are when those are split, and until then
    /// count twice their share of it.
    pub async fn lag(&self, record: &LeaseRecord) -> Result<Lag, LeaseError> {
        let feed = self.feed(record)?;
        let lease = &record.stored.lease;
        let start = lease.start().unwrap_or(FeedStart::Beginning);
        let stretch = Stretch {
            source: &feed.source,
            range: &record.range,
            start: &start,
            portion: lease.portion(),
            table: Some(&feed.table),
        };
        self.behind(&stretch, &format!("estimate the lag of lease {}", record.id)).await
    }

    /// How much comes behind a place.
    pub(super) async fn behind(&self, stretch: &Stretch<'_>, attempted: &str) -> Result<Lag, LeaseError> {
        let Stretch { source, range, start, portion, table } = stretch;
        let mut left = vec![(*range).clone()];
        let mut lag = Lag::default();
        while let Some(part) = left.pop() {
            let read = || source.read_page(&part, start, 1);
            match self.patience.outlast(attempted, read).await {
                Ok(page) => {
                    let mut more = of_page(&page, self.patience.clock.now().as_second());
                    if more.changes > 1 {
                        let of_physical = share(&part, &self.ranges(source, attempted).await?);
                        // Both halves of a range that was split count its commits.
                        let of_range = share(&part, std::slice::from_ref(*range));
                        let whole = portion.clone().unwrap_or_else(|| Portion::of_keys(1.0));
                        let own = whole.part(of_range, of_physical.min(of_range));
                        more.changes = own.own(page.head_lsn.saturating_sub(more.changes), page.head_lsn);
                    }
                    lag = Lag { changes: lag.changes + more.changes, seconds: lag.seconds.max(more.seconds) };
                }
                Err(error) if error.kind() == ErrorKind::Gone => {
                    let parts: Vec<FeedRange> = parts(&part, &self.ranges(source, attempted).await?);
                    if parts.len() < 2 {
                        return Err(LeaseError::store(attempted)(error));
                    }
                    let known = match table {
                        Some(table) => table.list().await?,
                        None => Vec::new(),
                    };
                    let is_counted = |part: &FeedRange| {
                        let mut known = known.iter().map(|known| known.lease.range());
                        known.any(|known| known != *range && range.contains(known) && known.contains(part))
                    };
                    left.extend(parts.into_iter().filter(|part| !is_counted(part)));
                }
                Err(error) => return Err(LeaseError::store(attempted)(error)),
            }
        }
        Ok(lag)
    }

    pub(super) async fn ranges(
        &self,
        source: &Arc<dyn Container>,
        attempted: &str,
    ) -> Result<Vec<FeedRange>, LeaseError> {
        self.patience.outlast(attempted, || source.feed_ranges()).await.map_err(LeaseError::store(attempted))
    }
}

fn of_page(page: &FeedPage, now: i64) -> Lag {
    match page.changes.first() {
        Some(first) => Lag {
            changes: page.head_lsn.saturating_sub(first.lsn) + 1,
            seconds: u64::try_from(now - first.timestamp_seconds).unwrap_or(0),
        },
        None => Lag::default(),
    }
}
