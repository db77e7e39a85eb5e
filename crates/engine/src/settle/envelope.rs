//! The text of a derived document: what the engine adds around a processor's fields, and what it reads back.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::desired::{Basis, Fields, Lineage, SourceRef};
use super::projection::Address;

/// What settling needs to know of a stored target.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "_source", default)]
    pub(super) source: Option<Lineage>,
}

/// What settling needs to know of a stored count.
#[derive(Debug, Deserialize)]
pub(super) struct StoredCount<'a> {
    #[serde(rename = "asOf", default, borrow)]
    pub(super) as_of: Option<AsOf<'a>>,
}

/// `asOf` of a counter: everything in the container's key up to this LSN was counted.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AsOf<'a> {
    #[serde(borrow)]
    pub(super) container: Cow<'a, str>,
    pub(super) lsn: u64,
}

#[derive(Serialize)]
struct LineageText<'a> {
    rev: u32,
    from: &'a [SourceRef],
}

/// A document with the processor's fields. `ttl` in seconds, −1 for never.
pub(super) fn document(
    address: &Address,
    key_field: &str,
    fields: &Fields,
    basis: &Basis,
    ttl: Option<i32>,
) -> Result<Bytes, serde_json::Error> {
    let mut text = begin(address, key_field, fields.as_str().len())?;
    if !fields.as_str().is_empty() {
        text.push(b',');
        text.extend_from_slice(fields.as_str().as_bytes());
    }
    end(text, basis, ttl)
}

/// A document that says that there is none.
pub(super) fn tombstone(
    address: &Address,
    key_field: &str,
    deleted_at: Timestamp,
    basis: &Basis,
    ttl: i32,
) -> Result<Bytes, serde_json::Error> {
    let mut text = begin(address, key_field, 0)?;
    text.extend_from_slice(b",\"deletedAt\":");
    serde_json::to_writer(&mut text, &format!("{deleted_at:.3}"))?;
    end(text, basis, Some(ttl))
}

fn begin(address: &Address, key_field: &str, fields_bytes: usize) -> Result<Vec<u8>, serde_json::Error> {
    let key = address
        .key
        .as_str()
        .ok_or_else(|| serde::ser::Error::custom("a derived document's partition key must be one string"))?;
    let mut text = Vec::with_capacity(fields_bytes + 2 * address.id.as_str().len() + 224);
    text.extend_from_slice(b"{\"id\":");
    serde_json::to_writer(&mut text, address.id.as_str())?;
    if key_field == "id" {
        return Ok(text);
    }
    text.push(b',');
    serde_json::to_writer(&mut text, key_field)?;
    text.push(b':');
    serde_json::to_writer(&mut text, key)?;
    Ok(text)
}

fn end(mut text: Vec<u8>, basis: &Basis, ttl: Option<i32>) -> Result<Bytes, serde_json::Error> {
    match basis {
        Basis::Sources { rev, sources } => {
            text.extend_from_slice(b",\"_source\":");
            serde_json::to_writer(&mut text, &LineageText { rev: *rev, from: sources })?;
        }
        Basis::Count { container_rid, lsn } => {
            text.extend_from_slice(b",\"asOf\":");
            serde_json::to_writer(&mut text, &as_of(container_rid, *lsn))?;
        }
    }
    if let Some(ttl) = ttl {
        text.extend_from_slice(b",\"ttl\":");
        serde_json::to_writer(&mut text, &ttl)?;
    }
    text.push(b'}');
    Ok(Bytes::from(text))
}

fn as_of(container_rid: &Arc<str>, lsn: u64) -> AsOf<'_> {
    AsOf { container: Cow::Borrowed(container_rid), lsn }
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::{DocumentId, ETag, PartitionKey};

    use super::*;

    fn address() -> Address {
        Address { key: PartitionKey::from("a\"b"), id: DocumentId::new("a\"b:1").unwrap() }
    }

    #[test]
    fn a_document_carries_id_key_fields_lineage_and_ttl_and_reads_back() {
        let from = vec![SourceRef("posts".into(), "1".into(), Some(ETag::new("\"7\"")))];
        let basis = Basis::Sources { rev: 2, sources: from.clone() };
        let fields = Fields::of(&serde_json::json!({"name": "x"})).unwrap();
        let text = document(&address(), "recipientId", &fields, &basis, Some(60)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = serde_json::json!({"id": "a\"b:1", "recipientId": "a\"b", "name": "x", "ttl": 60,
            "_source": {"rev": 2, "from": [["posts", "1", "\"7\""]]}});
        assert_eq!(value, expected);
        let stored: Stored = serde_json::from_slice(&text).unwrap();
        assert_eq!(stored.source, Some(Lineage { rev: 2, from }));
    }

    #[test]
    fn an_id_that_is_the_key_too_stands_there_once() {
        let id = DocumentId::new("1").unwrap();
        let address = Address { key: PartitionKey::from("1"), id };
        let basis = Basis::Sources { rev: 1, sources: Vec::new() };
        let text = document(&address, "id", &Fields::of(&serde_json::json!({"x": 1})).unwrap(), &basis, None).unwrap();
        assert_eq!(text, r#"{"id":"1","x":1,"_source":{"rev":1,"from":[]}}"#);
    }

    #[test]
    fn a_tombstone_is_id_key_time_ttl_and_lineage_and_nothing_else() {
        let basis = Basis::Sources { rev: 1, sources: vec![SourceRef("posts".into(), "1".into(), None)] };
        let text = tombstone(&address(), "recipientId", Timestamp::UNIX_EPOCH, &basis, 5).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = serde_json::json!({"id": "a\"b:1", "recipientId": "a\"b", "ttl": 5,
            "deletedAt": "1970-01-01T00:00:00.000Z", "_source": {"rev": 1, "from": [["posts", "1", null]]}});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_count_carries_what_it_was_counted_for() {
        let basis = Basis::Count { container_rid: "rid=".into(), lsn: 9 };
        let fields = Fields::of(&serde_json::json!({})).unwrap();
        let text = document(&address(), "subjectId", &fields, &basis, None).unwrap();
        let stored: StoredCount<'_> = serde_json::from_slice(&text).unwrap();
        assert_eq!(stored.as_of, Some(AsOf { container: "rid=".into(), lsn: 9 }));
    }
}
