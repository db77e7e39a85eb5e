use bytes::Bytes;
use feedmill_documents::counter::Counter;
use feedmill_documents::{Members, containers};
use feedmill_store_api::{Error, ErrorKind, PartitionKey, Query, Result};
use serde_json::{Map, Value};

/// What is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The newest items of somebody's feed, as an array.
    Feed,
    /// All counters of a post or person, as an object from name to value. One that is not in it is unknown, not zero.
    Counter,
}

/// One key of the cache: whose feed, or the counters of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub kind: Kind,
    pub id: String,
}

/// Counters of one subject: one for each type of reaction, and a few more.
const COUNTERS_MAX: usize = 1_000;

impl Kind {
    pub const ALL: [Self; 2] = [Self::Feed, Self::Counter];

    /// Whose change feed keeps it.
    pub fn container(self) -> &'static str {
        match self {
            Self::Feed => containers::USER_FEED,
            Self::Counter => containers::COUNTERS,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Counter => "counter",
        }
    }

    pub(crate) fn query(self) -> Query {
        Query::new(match self {
            Self::Feed => "SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt) ORDER BY c.createdAt DESC, c.postId ASC",
            Self::Counter => "SELECT c.name, c[\"value\"] FROM c WHERE NOT IS_DEFINED(c.deletedAt)",
        })
    }

    pub(crate) fn items_max(self, feed_items_max: usize) -> usize {
        match self {
            Self::Feed => feed_items_max,
            Self::Counter => COUNTERS_MAX,
        }
    }

    /// The JSON text that is cached, from what the query gave.
    pub(crate) fn value(self, items: &[Bytes]) -> Result<Vec<u8>> {
        let corrupt = |error: serde_json::Error| {
            Error::new(ErrorKind::Corrupt, format!("read a document of {}", self.container())).with_source(error)
        };
        match self {
            Self::Feed => {
                let mut shown = Vec::with_capacity(items.len());
                for item in items {
                    let mut members: Members<'_> = Members::parse(item)
                        .map_err(|error| Error::new(ErrorKind::Corrupt, "read an item of a feed").with_source(error))?;
                    members.retain(|name| !name.starts_with('_'));
                    shown.push(members);
                }
                serde_json::to_vec(&shown).map_err(corrupt)
            }
            Self::Counter => {
                let mut values = Map::new();
                for item in items {
                    let Counter { name, value } = serde_json::from_slice(item).map_err(corrupt)?;
                    values.insert(name, Value::from(value));
                }
                serde_json::to_vec(&values).map_err(corrupt)
            }
        }
    }
}

impl Subject {
    pub fn feed(user: impl Into<String>) -> Self {
        Self { kind: Kind::Feed, id: user.into() }
    }

    pub fn counters(subject: impl Into<String>) -> Self {
        Self { kind: Kind::Counter, id: subject.into() }
    }

    /// `feed:{user}` or `counter:{subject}`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind.prefix(), self.id)
    }

    /// Where the permit of a fill is. A cluster places a key by what stands between its braces, so this one is where
    /// [`Self::key`] is, as one script over both needs it.
    pub(crate) fn permit_key(&self) -> String {
        format!("fill:{{{}}}", self.key())
    }

    pub(crate) fn partition_key(&self) -> PartitionKey {
        PartitionKey::from(self.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_customers() {
        assert_eq!(Subject::feed("17").key(), "feed:17");
        assert_eq!(Subject::counters("p:1").key(), "counter:p:1");
        assert_eq!(Subject::feed("17").permit_key(), "fill:{feed:17}");
    }

    #[test]
    fn what_is_cached_is_what_a_reader_is_shown() {
        let item = |text: &str| Bytes::from(text.to_owned());
        let feed = Kind::Feed.value(&[item(r#"{"id":"u:p","postId":"p","_source":{},"_etag":"x"}"#)]).unwrap();
        assert_eq!(String::from_utf8(feed).unwrap(), r#"[{"id":"u:p","postId":"p"}]"#);
        let counters = [item(r#"{"name":"likes","value":3}"#), item(r#"{"name":"replies","value":0}"#)];
        assert_eq!(String::from_utf8(Kind::Counter.value(&counters).unwrap()).unwrap(), r#"{"likes":3,"replies":0}"#);
        assert!(Kind::Counter.value(&[item("[]")]).is_err());
    }
}
