//! What a document's write is, given what is stored: pure.

use feedmill_store_api::{Document, Operation, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::document::Prepared;

/// What is known of the document before it is written.
#[derive(Debug)]
pub(crate) enum Stored<'a> {
    /// Nothing was read, because a first version is rarely there.
    Unread,
    Absent,
    Is(&'a Document),
}

/// The write that brings `event` in, on the condition that the stored document is still the one that was read; `None`
/// when its version, or a newer one, is there already.
///
/// A document without a whole number as its version was not written by any relay, so it counts as older than all.
pub(crate) fn write(event: &Prepared, version_field: &str, stored: &Stored<'_>) -> Result<Option<Operation>> {
    let (id, body) = (event.id.clone(), event.body.clone());
    let Stored::Is(document) = stored else { return Ok(Some(Operation::Create { id, body })) };
    if version(document, version_field)?.is_some_and(|stored| stored >= event.version) {
        return Ok(None);
    }
    Ok(Some(Operation::Replace { id, body, if_match: Some(document.etag.clone()) }))
}

/// The stored version; `Corrupt` when the document is not an object.
pub(crate) fn version(document: &Document, field: &str) -> Result<Option<i64>> {
    #[derive(Deserialize)]
    struct Fields(std::collections::BTreeMap<String, Value>);
    let Fields(fields) = document.parse()?;
    Ok(fields.get(field).and_then(Value::as_i64))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::ETag;

    use super::*;
    use crate::{document, route};

    fn decide(version: i64, stored: &Stored<'_>) -> Option<Operation> {
        let payload = format!(r#"{{"postId":"p","version":{version}}}"#);
        let event = document::prepare(&route::defaults()["post"], &payload, 60).unwrap();
        write(&event, "version", stored).unwrap()
    }

    fn stored(body: &str) -> Document {
        Document { etag: ETag::new("\"e\""), body: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn an_older_or_equal_version_never_wins() {
        let current = stored(r#"{"id":"p","version":3}"#);
        assert!(decide(2, &Stored::Is(&current)).is_none());
        assert!(decide(3, &Stored::Is(&current)).is_none());
    }

    #[test]
    fn a_newer_version_replaces_what_was_read_and_nothing_else() {
        let current = stored(r#"{"id":"p","version":3}"#);
        let written = decide(4, &Stored::Is(&current));
        assert!(matches!(written, Some(Operation::Replace { if_match: Some(etag), .. }) if etag == current.etag));
    }

    #[test]
    fn what_is_not_there_is_created() {
        for stored in [Stored::Unread, Stored::Absent] {
            assert!(matches!(decide(1, &stored), Some(Operation::Create { .. })));
        }
    }

    #[test]
    fn a_document_without_a_version_is_older_than_all() {
        for body in [r#"{"id":"p"}"#, r#"{"id":"p","version":"9"}"#] {
            assert!(decide(1, &Stored::Is(&stored(body))).is_some(), "{body}");
        }
    }
}
