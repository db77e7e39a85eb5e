//! Follows the lease container by its change feed, so that a look costs one request whatever the number of leases.

use std::sync::Arc;

use feedmill_store_api::{Change, Container, ErrorKind, FeedRange, FeedStart, Result};

use crate::limits::FOLLOW_ITEMS;

/// How often the ranges are looked up before whoever asked is told that they do not hold.
const LOOKS_MAX: usize = 10;

/// A place in the feed of the lease container.
pub(crate) struct Follow {
    container: Arc<dyn Container>,
    ranges: Vec<(FeedRange, FeedStart)>,
}

impl Follow {
    /// From now on; whoever lists what is there afterwards misses nothing.
    pub(crate) async fn begin(container: Arc<dyn Container>) -> Result<Self> {
        for _ in 1..LOOKS_MAX {
            match Self::at_head(Arc::clone(&container)).await {
                // Split or merged since its ranges were looked up.
                Err(error) if error.kind() == ErrorKind::Gone => {}
                begun => return begun,
            }
        }
        Self::at_head(container).await
    }

    async fn at_head(container: Arc<dyn Container>) -> Result<Self> {
        let mut ranges = Vec::new();
        for range in container.feed_ranges().await? {
            let page = container.read_page(&range, &FeedStart::Now, 1).await?;
            ranges.push((range, FeedStart::Position(page.position)));
        }
        Ok(Self { container, ranges })
    }

    /// What changed since the last call: one request a range, unless there is much. Fails with `Gone` when the container
    /// was split: then begin again.
    pub(crate) async fn changes(&mut self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for (range, from) in &mut self.ranges {
            loop {
                let page = self.container.read_page(range, from, FOLLOW_ITEMS).await?;
                *from = FeedStart::Position(page.position);
                let more = page.changes.len() >= FOLLOW_ITEMS;
                changes.extend(page.changes);
                if !more {
                    break;
                }
            }
        }
        Ok(changes)
    }
}
