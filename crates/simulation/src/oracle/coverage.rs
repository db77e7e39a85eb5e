use std::collections::BTreeSet;

use feedmill_store_api::FeedRange;

use super::lease::Feed;

/// From the moment when a feed's leases are made, every key has one.
#[derive(Default)]
pub(super) struct Coverage {
    /// Feeds whose leases are made.
    complete: BTreeSet<Feed>,
}

impl Coverage {
    pub(super) fn complete(&mut self, feed: Feed) {
        self.complete.insert(feed);
    }

    /// The feed's leases are now these.
    pub(super) fn look<'a>(&self, feed: &Feed, ranges: impl Iterator<Item = &'a FeedRange>) -> Option<String> {
        if !self.complete.contains(feed) {
            return None;
        }
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort();
        let whole = FeedRange::full();
        let mut covered = FeedRange::min(&whole);
        for range in &ranges {
            if covered < FeedRange::min(range) {
                break;
            }
            covered = covered.max(FeedRange::max(range));
        }
        (covered < FeedRange::max(&whole))
            .then(|| format!("no lease of {feed:?} covers {covered}: there are {ranges:?}"))
    }
}
