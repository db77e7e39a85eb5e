//! An event as the document it is: pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use feedmill_store_api::{DocumentId, PartitionKey};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::Route;
use crate::route::Piece;

/// An event, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) container: String,
    pub(crate) key: PartitionKey,
    pub(crate) id: DocumentId,
    pub(crate) version: i64,
    pub(crate) body: Bytes,
}

/// What is wrong with an event, so that it can never be written as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("no route for topic {0}")]
    Topic(String),
    #[error("the payload is not a JSON object: {0}")]
    Payload(String),
    #[error("payload field `{field}` must be {expected}")]
    Field { field: String, expected: &'static str },
    #[error("payload field `{field}` has {found} characters, at most {max} are allowed")]
    TooLong { field: String, found: usize, max: u32 },
    #[error("the id is refused: {0}")]
    Id(String),
}

/// A payload's fields, each value as it is written there: most of them are none of our business.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Fields<'a>(#[serde(borrow)] BTreeMap<Name<'a>, &'a RawValue>);

#[derive(Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string, borrowed where the payload has it without an escape.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    fn get<T: Deserialize<'a>>(&self, field: &str) -> Option<T> {
        let value: &'a RawValue = self.0.get(&Name(field.into()))?;
        serde_json::from_str(value.get()).ok()
    }

    fn text(&self, field: &str) -> Result<Cow<'a, str>, Unfit> {
        let found = self.get::<Text<'a>>(field).filter(|Text(text)| !text.is_empty());
        let Text(text) =
            found.ok_or_else(|| Unfit::Field { field: field.to_owned(), expected: "a string that is not empty" })?;
        Ok(text)
    }
}

/// The document of a payload. `tombstone_ttl_seconds`: the `ttl` of one that is withdrawn (`deletedAt`).
pub(crate) fn prepare(route: &Route, payload: &str, tombstone_ttl_seconds: u32) -> Result<Prepared, Unfit> {
    let unfit = |error: serde_json::Error| Unfit::Payload(error.to_string());
    let mut fields: Fields<'_> = serde_json::from_str(payload).map_err(unfit)?;
    let key = fields.text(&route.key_field)?.into_owned();
    let version = fields.get::<i64>(&route.version_field).filter(|version| *version > 0);
    let version = version
        .ok_or_else(|| Unfit::Field { field: route.version_field.clone(), expected: "a whole number above 0" })?;
    for (field, max) in &route.characters_max {
        let found = fields.get::<Text<'_>>(field).map_or(0, |Text(text)| text.chars().count());
        if found > *max as usize {
            return Err(Unfit::TooLong { field: field.clone(), found, max: *max });
        }
    }
    let id = id(route, &fields)?;
    let (id_value, ttl) =
        (to_raw_value(id.as_str()).map_err(unfit)?, to_raw_value(&tombstone_ttl_seconds).map_err(unfit)?);
    fields.0.insert(Name("id".into()), &id_value);
    if fields.0.get(&Name("deletedAt".into())).is_some_and(|time| time.get() != "null") {
        fields.0.insert(Name("ttl".into()), &ttl);
    }
    let body = serde_json::to_vec(&fields).map_err(unfit)?;
    Ok(Prepared { container: route.container.clone(), key: key.into(), id, version, body: body.into() })
}

fn id(route: &Route, fields: &Fields<'_>) -> Result<DocumentId, Unfit> {
    let mut id = String::new();
    for piece in route.pieces().unwrap_or_default() {
        match piece {
            Piece::Text(constant) => id.push_str(constant),
            Piece::Field(field) => escape(&fields.text(field)?, &mut id),
        }
    }
    DocumentId::new(id).map_err(|error| Unfit::Id(error.to_string()))
}

/// The rule of every id in the store: parts stay apart, and nothing in them is refused by the service.
fn escape(part: &str, into: &mut String) {
    for character in part.chars() {
        match character {
            ':' => into.push_str("%3A"),
            '/' => into.push_str("%2F"),
            '\\' => into.push_str("%5C"),
            '?' => into.push_str("%3F"),
            '#' => into.push_str("%23"),
            '%' => into.push_str("%25"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::route;

    fn prepared(topic: &str, payload: &str) -> Result<Prepared, Unfit> {
        prepare(&route::defaults()[topic], payload, 60)
    }

    #[test]
    fn an_event_becomes_the_document_its_route_says() {
        let made =
            prepared("reaction", r#"{"postId":"a:b","userId":"u/1","type":"like","version":3,"x":[1]}"#).unwrap();
        assert_eq!((made.container.as_str(), made.id.as_str()), ("reactions", "a%3Ab:u%2F1"));
        assert_eq!((made.key, made.version), (PartitionKey::from("a:b"), 3));
        let body: Value = serde_json::from_slice(&made.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"id":"a%3Ab:u%2F1","postId":"a:b","userId":"u/1","type":"like","version":3,"x":[1]})
        );
    }

    #[test]
    fn a_withdrawal_expires_and_a_live_document_does_not() {
        let body =
            |payload: &str| -> Value { serde_json::from_slice(&prepared("post", payload).unwrap().body).unwrap() };
        let withdrawn = body(r#"{"postId":"p","version":1,"deletedAt":"2020-01-01T00:00:00.000Z"}"#);
        assert_eq!(withdrawn["ttl"], 60);
        assert!(body(r#"{"postId":"p","version":1,"deletedAt":null}"#).get("ttl").is_none());
    }

    #[test]
    fn an_event_that_can_never_be_written_says_why() {
        let long = format!(r#"{{"userId":"u","version":1,"displayName":"{}"}}"#, "é".repeat(51));
        for (topic, payload, words) in [
            ("post", "[]", "not a JSON object"),
            ("post", "{", "not a JSON object"),
            ("post", r#"{"version":1}"#, "`postId`"),
            ("post", r#"{"postId":"p"}"#, "`version`"),
            ("post", r#"{"postId":"p","version":"1"}"#, "`version`"),
            ("post", r#"{"postId":"p","version":0}"#, "`version`"),
            ("reaction", r#"{"postId":"p","userId":7,"version":1}"#, "`userId`"),
            ("profile", long.as_str(), "51 characters"),
        ] {
            let error = prepared(topic, payload).unwrap_err().to_string();
            assert!(error.contains(words), "{payload}: {error}");
        }
    }
}
