use std::collections::BTreeMap;

use feedmill_store_api::{Database, FeedRange};
use serde_json::Value;

use super::now;
use crate::store::Store;

/// A lease as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) feed: Feed,
    pub(super) range: FeedRange,
    pub(super) owner: Option<Owner>,
    pub(super) epoch: u64,
    pub(super) position: Option<String>,
}

/// A processor (with its fleet) and the container whose feed drives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feed {
    pub(super) processor: String,
    pub(super) source: String,
}

/// A host, and which of its lives by its own account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) host: String,
    pub(super) incarnation: String,
}

/// Reads what is written into the lease container.
#[derive(Default)]
pub(super) struct Reader {
    /// Which source a lease prefix is about, by container rid.
    sources: BTreeMap<String, String>,
}

impl Reader {
    /// `None` for what is no lease.
    pub(super) fn lease(&mut self, document: &Value, store: &Store) -> Option<Lease> {
        let id = document["id"].as_str()?;
        let feed = self.feed(id, store)?;
        let range = serde_json::from_value(document["FeedRange"]["Range"].clone()).ok()?;
        let properties = &document["properties"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let owner = text(&document["Owner"])
            .map(|host| Owner { host, incarnation: text(&properties["incarnation"]).unwrap_or_default() });
        let epoch = properties["epoch"].as_str().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Some(Lease { id: id.to_owned(), feed, range, owner, epoch, position: text(&document["ContinuationToken"]) })
    }

    /// The feed whose leases are all made, where this document says so.
    pub(super) fn marked(&mut self, document: &Value, store: &Store) -> Option<Feed> {
        self.of_prefix(document["id"].as_str()?.strip_suffix(".info")?, store)
    }

    /// Of a lease's id, `{prefix}..{token}`.
    pub(super) fn feed(&mut self, id: &str, store: &Store) -> Option<Feed> {
        let (prefix, _token) = id.split_once("..")?;
        self.of_prefix(prefix, store)
    }

    /// `{processor}{account}_{database}_{container}`.
    fn of_prefix(&mut self, prefix: &str, store: &Store) -> Option<Feed> {
        let (rest, rid) = prefix.rsplit_once('_')?;
        let (processor, _database) = rest.rsplit_once('_')?;
        if self.sources.is_empty() {
            self.sources = now(rids(&*store.database));
        }
        Some(Feed { processor: processor.to_owned(), source: self.sources.get(rid)?.clone() })
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
