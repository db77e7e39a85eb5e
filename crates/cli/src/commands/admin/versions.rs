//! Whether two versions of a projection hold the same, while both are kept up to date.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::Clock;
use feedmill_store_api::{Container, Database, DocumentId, FeedStart, PartitionKey, ReadLevel};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::line::identity;
use crate::store;

/// Changes of one page of a feed.
const PAGE_ITEMS: usize = 1_000;
/// Differences kept, to be looked at again and said one by one.
const UNEQUAL_MAX: usize = 100_000;
/// A change reaches the one before the other: what differs is looked at again, so often and so long after.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Documents of both, each counted once.
    pub(super) documents: u64,
    /// By id: how the new one is not as the old one.
    pub(super) unequal: BTreeMap<String, Unequal>,
    /// There are more than were kept.
    pub(super) more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unequal {
    Missing,
    Extra,
    Fields(Vec<String>),
}

type Addresses = BTreeMap<PartitionKey, Vec<DocumentId>>;

/// Walks both by their change feeds, which costs what they hold, and compares what readers are shown.
pub(super) async fn compare(database: &dyn Database, clock: &dyn Clock, old: &str, new: &str) -> Result<Compared> {
    let (old, new) = (store::container(database, old).await?, store::container(database, new).await?);
    let (mut compared, mut again) = (Compared::default(), Addresses::new());
    walk(&*old, &*new, false, &mut compared, &mut again).await?;
    walk(&*new, &*old, true, &mut compared, &mut again).await?;
    for _ in 0..LOOKS {
        if again.is_empty() {
            break;
        }
        clock.sleep(BETWEEN_LOOKS).await;
        let mut still = Addresses::new();
        compared.unequal.clear();
        for (key, ids) in std::mem::take(&mut again) {
            let (in_old, in_new) = (read(&*old, &key, &ids).await?, read(&*new, &key, &ids).await?);
            for ((id, in_old), in_new) in ids.into_iter().zip(in_old).zip(in_new) {
                if let Some(unequal) = difference(in_old.as_ref(), in_new.as_ref()) {
                    compared.unequal.insert(id.as_str().to_owned(), unequal);
                    still.entry(key.clone()).or_default().push(id);
                }
            }
        }
        again = still;
    }
    Ok(compared)
}

/// Shows each document of `one` with its counterpart; of the second walk only those without one are news.
async fn walk(
    one: &dyn Container,
    other: &dyn Container,
    is_second: bool,
    compared: &mut Compared,
    again: &mut Addresses,
) -> Result<()> {
    for range in one.feed_ranges().await? {
        let mut start = FeedStart::Beginning;
        loop {
            let page = one.read_page(&range, &start, PAGE_ITEMS).await?;
            if page.changes.is_empty() {
                break;
            }
            let mut keys = Addresses::new();
            for change in &page.changes {
                let (id, key) = identity(&change.body, one.partition_key_paths())?;
                keys.entry(key).or_default().push(id);
            }
            for (key, ids) in keys {
                // The feed's own version may be older than what is there by now.
                let (here, there) = (read(one, &key, &ids).await?, read(other, &key, &ids).await?);
                for ((id, here), there) in ids.into_iter().zip(here).zip(there) {
                    compared.documents += u64::from(here.is_some() && (!is_second || there.is_none()));
                    let (old, new) = if is_second { (there, here) } else { (here, there) };
                    let Some(unequal) = difference(old.as_ref(), new.as_ref()) else { continue };
                    if compared.unequal.len() >= UNEQUAL_MAX {
                        compared.more = true;
                    } else if compared.unequal.insert(id.as_str().to_owned(), unequal).is_none() {
                        again.entry(key.clone()).or_default().push(id);
                    }
                }
            }
            start = FeedStart::Position(page.position);
        }
    }
    Ok(())
}

/// What readers are shown of each; `None` of what is not there, or is a tombstone, or a count of nothing.
async fn read(
    container: &dyn Container,
    key: &PartitionKey,
    ids: &[DocumentId],
) -> Result<Vec<Option<Map<String, Value>>>> {
    let mut shown = Vec::with_capacity(ids.len());
    for ids in ids.chunks(100) {
        let (found, _) = container.read_many(key, ids, &ReadLevel::Quorum).await?;
        shown.extend(found.into_iter().map(|found| found.and_then(|found| visible(&found.body))));
    }
    Ok(shown)
}

fn visible(body: &Bytes) -> Option<Map<String, Value>> {
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    if members.contains_key("deletedAt") || members.get("value") == Some(&Value::from(0)) {
        return None;
    }
    // What they were made from and when they expire depends on when they were made.
    members.retain(|name, _| !name.starts_with('_') && !matches!(name.as_str(), "ttl" | "asOf"));
    Some(members)
}

fn difference(old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Option<Unequal> {
    match (old, new) {
        (None, None) => None,
        (Some(_), None) => Some(Unequal::Missing),
        (None, Some(_)) => Some(Unequal::Extra),
        (Some(old), Some(new)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            let fields: Vec<_> = names.filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
            (!fields.is_empty()).then_some(Unequal::Fields(fields))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &'static str, new: &'static str) -> Option<Unequal> {
        let visible = |text: &'static str| visible(&Bytes::from_static(text.as_bytes()));
        difference(visible(old).as_ref(), visible(new).as_ref())
    }

    #[test]
    fn versions_are_equal_where_readers_are_shown_the_same() {
        let table = [
            (r#"{"id":"a","x":1,"_etag":"1","ttl":5}"#, r#"{"id":"a","x":1,"_etag":"2"}"#, None),
            (r#"{"id":"a","deletedAt":"2020"}"#, "", None),
            (r#"{"id":"a","value":0,"asOf":{}}"#, "", None),
            (r#"{"id":"a"}"#, r#"{"id":"a","deletedAt":"2020"}"#, Some(Unequal::Missing)),
            ("", r#"{"id":"a"}"#, Some(Unequal::Extra)),
            (
                r#"{"id":"a","x":1,"y":2}"#,
                r#"{"id":"a","x":2,"z":2}"#,
                Some(Unequal::Fields(vec!["x".into(), "y".into(), "z".into()])),
            ),
        ];
        for (old, new, expected) in table {
            assert_eq!(of(old, new), expected, "{old} {new}");
        }
    }
}
