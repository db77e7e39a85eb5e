use std::collections::BTreeMap;

use feedmill_store_api::{Database, FeedRange, FeedStart, Position};
use futures::FutureExt;
use serde_json::Value;

use super::deliveries::Deliveries;
use crate::store::Store;

/// Changes looked at in one page.
const PAGE_ITEMS: usize = 1_000;

/// Leases as they were written: who took them, and how far their positions were looked at.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Up to where everything is known to be settled, by lease.
    proved: BTreeMap<String, String>,
    /// Owners by lease and epoch.
    owners: BTreeMap<(String, u64), String>,
    /// Which source a lease prefix is about, by container rid.
    sources: BTreeMap<String, String>,
}

impl Checkpoints {
    /// A lease was written; returns what was wrong with it.
    pub(super) fn landed(
        &mut self,
        host: &str,
        lease: &Value,
        store: &Store,
        deliveries: &mut Deliveries,
    ) -> Vec<String> {
        let id = lease["id"].as_str().unwrap_or_default();
        let Some((processor, source)) = self.about(id, store) else { return Vec::new() };
        let mut breaches = Vec::new();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (owner, incarnation) = (text(&lease["Owner"]), text(&lease["properties"]["incarnation"]));
        let epoch = lease["properties"]["epoch"].as_str().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        if !owner.is_empty() {
            let by = format!("{owner} {incarnation}");
            let first = self.owners.entry((id.to_owned(), epoch)).or_insert_with(|| {
                deliveries.begins(host, &processor, &source);
                by.clone()
            });
            if *first != by {
                breaches.push(format!("lease {id} belongs to {first} and to {by} in epoch {epoch}"));
            }
        }
        if let Some(position) = lease["ContinuationToken"].as_str()
            && let Ok(range) = serde_json::from_value::<FeedRange>(lease["FeedRange"]["Range"].clone())
        {
            let passed = self.passed(id, &source, &range, position, store);
            let unsettled = passed.into_iter().filter(|etag| !deliveries.is_settled(&processor, &source, etag));
            breaches.extend(unsettled.map(|etag| {
                format!(
                    "{host} stores {position} in lease {id}, past the version {etag} of {source} that is not settled"
                )
            }));
        }
        breaches
    }

    /// Processor (with its fleet) and source of a lease, from its prefix: `{processor}{account}_{database}_{container}..`.
    fn about(&mut self, id: &str, store: &Store) -> Option<(String, String)> {
        let (prefix, token) = id.split_once("..")?;
        if token.is_empty() {
            return None;
        }
        let (rest, rid) = prefix.rsplit_once('_')?;
        let (processor, _database) = rest.rsplit_once('_')?;
        if self.sources.is_empty() {
            self.sources = now(rids(&*store.database));
        }
        Some((processor.to_owned(), self.sources.get(rid)?.clone()))
    }

    /// Versions between the position that was looked at before and this one, as far as they are still the newest.
    fn passed(&mut self, id: &str, source: &str, range: &FeedRange, position: &str, store: &Store) -> Vec<String> {
        let from = match self.proved.insert(id.to_owned(), position.to_owned()) {
            Some(before) if before == position => return Vec::new(),
            Some(before) => FeedStart::Position(Position::new(before)),
            None => FeedStart::Beginning,
        };
        now(async {
            let container = store.database.container(source).await.expect("it is the source of a lease");
            let to = FeedStart::Position(Position::new(position));
            let (Ok(all), Ok(rest)) = (
                container.read_page(range, &from, PAGE_ITEMS).await,
                container.read_page(range, &to, PAGE_ITEMS).await,
            ) else {
                // The range was split meanwhile: its children are looked at.
                return Vec::new();
            };
            let rest: Vec<_> = rest.changes.iter().map(|change| &change.etag).collect();
            let passed = all.changes.iter().filter(|change| !rest.contains(&&change.etag));
            passed.map(|change| change.etag.to_string()).collect()
        })
    }
}

async fn rids(database: &dyn Database) -> BTreeMap<String, String> {
    let mut rids = BTreeMap::new();
    for name in database.containers().await.expect("memory does not fail") {
        let container = database.container(&name).await.expect("it was listed");
        rids.insert(container.rid().to_owned(), name);
    }
    rids
}

/// The store in memory answers at once.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("the store in memory answers at once")
}
