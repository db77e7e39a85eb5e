use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::PartitionKey;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::rules::Rules;

/// Everything that was ever delivered.
#[derive(Default)]
pub(super) struct Deliveries {
    /// Versions that a processor has settled, whoever did: processor and source, then etags.
    settled: BTreeMap<(String, String), BTreeSet<String>>,
    /// Keys that are being handled: life, processor, source, key.
    under_way: BTreeSet<(String, String, String, PartitionKey)>,
    /// LSN of the last change that was settled, by the same, since the life's worker began.
    last: BTreeMap<(String, String, String, PartitionKey), u64>,
}

impl Deliveries {
    pub(super) fn is_settled(&self, processor: &str, source: &str, etag: &str) -> bool {
        let settled = self.settled.get(&(processor.to_owned(), source.to_owned()));
        settled.is_some_and(|settled| settled.contains(etag))
    }

    /// A host took a lease of this processor: it begins again at its position.
    pub(super) fn begins(&mut self, host: &str, processor: &str, source: &str) {
        self.last.retain(|(life, of, over, _), _| {
            !(life.split(' ').next() == Some(host) && of == processor && over == source)
        });
    }
}

/// A handler that tells what is delivered to it.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Handler>,
    pub(super) rules: Rules,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) life: String,
}

impl Watched {
    fn begin(&self, delivery: &Delivery) -> UnderWay<'_> {
        let at = (self.life.clone(), self.name.clone(), self.source.clone(), delivery.key.clone());
        let mut breaches = Vec::new();
        let mut deliveries = self.rules.deliveries().lock();
        let lsns: Vec<u64> = delivery.changes.iter().map(|change| change.lsn).collect();
        if !deliveries.under_way.insert(at.clone()) {
            breaches.push(format!("{at:?} is delivered twice at the same time"));
        }
        if !lsns.is_sorted() {
            breaches.push(format!("{at:?} is delivered out of order: {lsns:?}"));
        }
        if let (Some(last), Some(first)) = (deliveries.last.get(&at), lsns.first())
            && first <= last
        {
            breaches.push(format!("{at:?} is delivered {lsns:?} after {last}"));
        }
        drop(deliveries);
        breaches.into_iter().for_each(|breach| self.rules.breach(breach));
        UnderWay { watched: self, at }
    }
}

/// Ends also when the delivery is dropped in the middle.
struct UnderWay<'a> {
    watched: &'a Watched,
    at: (String, String, String, PartitionKey),
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.watched.rules.deliveries().lock().under_way.remove(&self.at);
    }
}

impl Handler for Watched {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let under_way = self.begin(delivery);
            let outcome = self.inner.handle(delivery, settler).await?;
            for rejection in &outcome.rejected {
                self.rules.breach(format!("{} refuses a sound document: {}", self.name, rejection.reason));
            }
            let mut deliveries = self.rules.deliveries().lock();
            let settled = deliveries.settled.entry((self.name.clone(), self.source.clone())).or_default();
            settled.extend(delivery.changes.iter().map(|change| change.etag.to_string()));
            deliveries.last.insert(under_way.at.clone(), delivery.lsn());
            Ok(outcome)
        }
        .boxed()
    }
}
