use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::PartitionKey;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::lease::Feed;
use super::rules::Rules;

/// Everything that was ever delivered.
#[derive(Default)]
pub(super) struct Deliveries {
    /// Versions that a processor has settled, whoever did: their etags.
    settled: BTreeMap<Feed, BTreeSet<String>>,
    /// Keys that are being handled.
    under_way: BTreeMap<(String, Feed), BTreeSet<PartitionKey>>,
    /// LSN of the last change of each key that was settled, since the life last got a lease.
    last: BTreeMap<(String, Feed), BTreeMap<PartitionKey, u64>>,
}

impl Deliveries {
    pub(super) fn is_settled(&self, feed: &Feed, etag: &str) -> bool {
        self.settled.get(feed).is_some_and(|settled| settled.contains(etag))
    }

    /// A life got a lease of this feed: it begins again at its position.
    pub(super) fn begins(&mut self, life: &str, feed: &Feed) {
        self.last.remove(&(life.to_owned(), feed.clone()));
    }
}

/// A handler that tells what is delivered to it.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Handler>,
    pub(super) rules: Rules,
    pub(super) feed: Feed,
    pub(super) life: String,
    /// How many deliveries of a range may be under way.
    pub(super) at_once_max: usize,
}

impl Watched {
    fn begin(&self, delivery: &Delivery) -> UnderWay<'_> {
        let (key, lsns) = (&delivery.key, delivery.changes.iter().map(|change| change.lsn).collect::<Vec<_>>());
        let Self { feed, life, .. } = self;
        let (breach, ranges) = self.rules.delivers(life, feed, key);
        let mut breaches = Vec::from_iter(breach);
        let mut deliveries = self.rules.deliveries().lock();
        let at = (life.clone(), feed.clone());
        let under_way = deliveries.under_way.entry(at.clone()).or_default();
        if !under_way.insert(key.clone()) {
            breaches.push(format!("{life} delivers {key} of {feed:?} twice at the same time"));
        }
        if under_way.len() > self.at_once_max * ranges {
            breaches.push(format!("{life} has {} deliveries of {feed:?} under way", under_way.len()));
        }
        if !lsns.is_sorted() {
            breaches.push(format!("{life} delivers {key} of {feed:?} out of order: {lsns:?}"));
        }
        let last = deliveries.last.get(&at).and_then(|last| last.get(key));
        if let (Some(last), Some(first)) = (last, lsns.first())
            && first <= last
        {
            breaches.push(format!("{life} delivers {lsns:?} of {key} of {feed:?} after {last}"));
        }
        drop(deliveries);
        breaches.into_iter().for_each(|breach| self.rules.breach(breach));
        UnderWay { watched: self, key: key.clone() }
    }
}

/// Ends also when the delivery is dropped in the middle.
struct UnderWay<'a> {
    watched: &'a Watched,
    key: PartitionKey,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Watched { rules, feed, life, .. } = self.watched;
        if let Some(under_way) = rules.deliveries().lock().under_way.get_mut(&(life.clone(), feed.clone())) {
            under_way.remove(&self.key);
        }
    }
}

impl Handler for Watched {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let _under_way = self.begin(delivery);
            let outcome = self.inner.handle(delivery, settler).await?;
            for rejection in &outcome.rejected {
                self.rules.breach(format!("{:?} refuses a sound document: {}", self.feed, rejection.reason));
            }
            let mut deliveries = self.rules.deliveries().lock();
            let settled = deliveries.settled.entry(self.feed.clone()).or_default();
            settled.extend(delivery.changes.iter().map(|change| change.etag.to_string()));
            let last = deliveries.last.entry((self.life.clone(), self.feed.clone())).or_default();
            last.insert(delivery.key.clone(), delivery.lsn());
            Ok(outcome)
        }
        .boxed()
    }
}
