use std::collections::BTreeMap;

use bytes::Bytes;
use feedmill_documents::{containers, counter};
use feedmill_store_api::Query;
use serde::Deserialize;

/// What is counted: the live documents of one partition of one container, whose partition key is the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One counter for each type of reaction.
    Reactions,
    Replies,
    Followers,
    Following,
    Posts,
}

/// A group of `GROUP BY`. The type is whatever the documents say, not necessarily a string.
#[derive(Deserialize)]
struct Group {
    #[serde(rename = "type", default)]
    kind: serde_json::Value,
    n: u64,
}

impl Measure {
    pub const ALL: [Self; 5] = [Self::Reactions, Self::Replies, Self::Followers, Self::Following, Self::Posts];

    pub fn container(self) -> &'static str {
        match self {
            Self::Reactions => containers::REACTIONS,
            Self::Replies => containers::POST_REPLIES,
            Self::Followers => containers::FOLLOWS,
            Self::Following => containers::FOLLOWING,
            Self::Posts => containers::AUTHOR_POSTS,
        }
    }

    /// Its one counter; `None` for reactions, which have one for each type.
    pub fn counter(self) -> Option<&'static str> {
        match self {
            Self::Reactions => None,
            Self::Replies => Some(counter::REPLIES),
            Self::Followers => Some(counter::FOLLOWERS),
            Self::Following => Some(counter::FOLLOWING),
            Self::Posts => Some(counter::POSTS),
        }
    }

    /// Whether a counter of this name is one of its.
    pub(crate) fn makes(self, name: &str) -> bool {
        self.counter().map_or_else(|| counter::reaction_of(name).is_some(), |counter| counter == name)
    }

    /// Counts the subject's live documents. Muted edges are live.
    pub fn query(self) -> Query {
        Query::new(match self {
            Self::Reactions => "SELECT c.type, COUNT(1) AS n FROM c WHERE NOT IS_DEFINED(c.deletedAt) GROUP BY c.type",
            Self::Followers | Self::Following => "SELECT VALUE COUNT(1) FROM c WHERE NOT IS_DEFINED(c.deletedAt)",
            Self::Replies | Self::Posts => {
                "SELECT VALUE COUNT(1) FROM c WHERE NOT IS_DEFINED(c.deletedAt) AND c.status = 'published'"
            }
        })
    }

    /// The value of each counter, from the query's results. What is not there is 0. Of several pages each may have its
    /// part of a count, so they are summed.
    pub fn values(self, results: &[Bytes]) -> Result<BTreeMap<String, u64>, serde_json::Error> {
        let mut values = BTreeMap::new();
        for result in results {
            let (name, n) = match self.counter() {
                Some(name) => (name.to_owned(), serde_json::from_slice(result)?),
                None => match serde_json::from_slice(result)? {
                    Group { kind: serde_json::Value::String(kind), n } if !kind.is_empty() => {
                        (counter::of_reaction(&kind), n)
                    }
                    // No reaction that anybody understands: it is a dead letter, not a number.
                    Group { .. } => continue,
                },
            };
            *values.entry(name).or_default() += n;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(measure: Measure, results: &[&'static str]) -> Vec<(String, u64)> {
        let results: Vec<_> = results.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        measure.values(&results).unwrap().into_iter().collect()
    }

    #[test]
    fn parts_of_a_count_are_summed() {
        assert_eq!(values(Measure::Posts, &["3", "4"]), [("posts".to_owned(), 7)]);
        let groups = [r#"{"type":"like","n":2}"#, r#"{"type":"love","n":1}"#, r#"{"type":"like","n":3}"#];
        assert_eq!(values(Measure::Reactions, &groups), [("likes".to_owned(), 5), ("love".to_owned(), 1)]);
    }

    #[test]
    fn reactions_without_a_usable_type_are_not_counted() {
        let groups = [r#"{"n":2}"#, r#"{"type":7,"n":1}"#, r#"{"type":null,"n":1}"#, r#"{"type":"","n":1}"#];
        assert_eq!(values(Measure::Reactions, &groups), []);
    }
}
