use std::collections::BTreeMap;

use feedmill_store_api::{FeedStart, Position};

use super::deliveries::Deliveries;
use super::lease::Lease;
use super::now;
use crate::store::Store;

/// Changes looked at in one page.
const PAGE_ITEMS: usize = 1_000;

/// A checkpoint passes no change that is not settled.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Up to where everything is known to be settled, by lease.
    proved: BTreeMap<String, String>,
}

impl Checkpoints {
    /// A lease was written; returns what was wrong with its position.
    pub(super) fn landed(&mut self, life: &str, lease: &Lease, store: &Store, deliveries: &Deliveries) -> Vec<String> {
        let Some(position) = &lease.position else { return Vec::new() };
        let passed = self.passed(lease, position, store);
        let unsettled = passed.into_iter().filter(|etag| !deliveries.is_settled(&lease.feed, etag));
        let Lease { id, feed, .. } = lease;
        unsettled
            .map(|etag| {
                let source = &feed.source;
                format!("{life} stores {position} in lease {id}, past version {etag} of {source} that is not settled")
            })
            .collect()
    }

    /// Versions between the position that was looked at before and this one, as far as they are still the newest.
    fn passed(&mut self, lease: &Lease, position: &str, store: &Store) -> Vec<String> {
        let from = match self.proved.insert(lease.id.clone(), position.to_owned()) {
            Some(before) if before == position => return Vec::new(),
            Some(before) => FeedStart::Position(Position::new(before)),
            None => FeedStart::Beginning,
        };
        now(async {
            let container = store.database.container(&lease.feed.source).await.expect("it is the source of a lease");
            let to = FeedStart::Position(Position::new(position));
            let (Ok(all), Ok(rest)) = (
                container.read_page(&lease.range, &from, PAGE_ITEMS).await,
                container.read_page(&lease.range, &to, PAGE_ITEMS).await,
            ) else {
                // The range was split meanwhile: its parts are looked at.
                return Vec::new();
            };
            let rest: Vec<_> = rest.changes.iter().map(|change| &change.etag).collect();
            let passed = all.changes.iter().filter(|change| !rest.contains(&&change.etag));
            passed.map(|change| change.etag.to_string()).collect()
        })
    }
}
