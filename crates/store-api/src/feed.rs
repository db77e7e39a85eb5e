use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{FeedPage, FeedRange, Position, Result};

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStart {
    Beginning,
    /// After everything there is.
    Now,
    /// Writes after this time, by the store's clock and to its second.
    Time(Timestamp),
    /// After the page that ended here.
    Position(Position),
    /// After the page that ended here, and only writes after this time. Where partitions were merged a feed is not in order
    /// of time, so whoever began at a time keeps saying so.
    PositionSince {
        position: Position,
        since: Timestamp,
    },
}

impl FeedStart {
    /// Where to go on after a page that was read from here.
    #[must_use]
    pub fn after(&self, position: Position) -> Self {
        match *self {
            Self::Time(since) | Self::PositionSince { since, .. } => Self::PositionSince { position, since },
            Self::Beginning | Self::Now | Self::Position(_) => Self::Position(position),
        }
    }
}

/// The latest-version change feed of one container.
pub trait ChangeFeed: Send + Sync {
    /// The physical ranges as they are now, in key order, without gap or overlap.
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>>;

    /// One page of a range that lies within one physical partition (`Gone` when it does not).
    ///
    /// Order is promised within a partition key value. A page is not cut within an LSN, so it may exceed `items_max`.
    /// Costs in proportion to the page.
    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>>;
}
