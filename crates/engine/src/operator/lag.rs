//! How far behind a lease is, by one look at its feed.

use std::sync::Arc;

use feedmill_store_api::{Container, ErrorKind, FeedPage, FeedRange, FeedStart};
use serde::Serialize;

use super::{LeaseRecord, Operator};
use crate::LeaseError;
use crate::lag::share_of;
use crate::lease::{parts, share};

/// What a lease has not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Commits (LSNs) from the first change behind the checkpoint to the head: one of many documents counts once. A part of a
    /// physical partition counts its share of them by keys, because they do not say whose they are. 0 where nothing waits.
    pub changes: u64,
    /// Age of the first change behind the checkpoint. 0 where nothing waits.
    pub seconds: u64,
}

impl Operator {
    /// Reads one change from where the lease is: right for a range never read, which counts from its first change that is
    /// there; for one that was just split, which is the sum of its parts; and at rest, where there is none. Once the parts have
    /// leases, each counts what was there before the split as its own until it is past it.
    pub async fn lag(&self, record: &LeaseRecord) -> Result<Lag, LeaseError> {
        let source = &self.feed(record)?.source;
        let start = record.stored.lease.start().unwrap_or(FeedStart::Beginning);
        self.behind(source, &record.range, &start, &format!("estimate the lag of lease {}", record.id)).await
    }

    /// How much comes behind a place.
    pub(super) async fn behind(
        &self,
        source: &Arc<dyn Container>,
        range: &FeedRange,
        start: &FeedStart,
        attempted: &str,
    ) -> Result<Lag, LeaseError> {
        let mut left = vec![range.clone()];
        let mut lag = Lag::default();
        while let Some(part) = left.pop() {
            let read = || source.read_page(&part, start, 1);
            match self.patience.outlast(attempted, read).await {
                Ok(page) => {
                    let mut more = of_page(&page, self.patience.clock.now().as_second());
                    if more.changes > 1 {
                        let of_physical = share(&part, &self.ranges(source, attempted).await?);
                        // Both halves of a range that was split count its commits.
                        let of_range = share(&part, std::slice::from_ref(range));
                        more.changes = share_of(more.changes, of_physical.min(of_range));
                    }
                    lag = Lag { changes: lag.changes + more.changes, seconds: lag.seconds.max(more.seconds) };
                }
                Err(error) if error.kind() == ErrorKind::Gone => {
                    let parts: Vec<FeedRange> = parts(&part, &self.ranges(source, attempted).await?);
                    if parts.len() < 2 {
                        return Err(LeaseError::store(attempted)(error));
                    }
                    left.extend(parts);
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
