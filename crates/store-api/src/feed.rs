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
