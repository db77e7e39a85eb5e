use bytes::Bytes;
use feedmill_store_api::{Change, Document, DocumentId, ETag, PartitionKey};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{DecodeError, Follow, IdError, Index, Members, Post, containers};

/// A source document that an index re-keys, checked.
#[derive(Clone, Debug)]
pub enum SourceDocument<'a> {
    Post(Post<'a>),
    Follow(Follow<'a>),
}

impl<'a> SourceDocument<'a> {
    /// Decodes a document of the container that `index` re-keys.
    pub fn decode(index: Index, json: &'a [u8]) -> Result<Self, DecodeError> {
        match index.source() {
            containers::FOLLOWS => Follow::decode(json).map(Self::Follow),
            _ => Post::decode(json).map(Self::Post),
        }
    }

    /// Seconds to live; `None` when it stays.
    pub fn ttl_seconds(&self) -> Option<u32> {
        match self {
            Self::Post(post) => post.ttl_seconds,
            Self::Follow(follow) => follow.ttl_seconds,
        }
    }

    pub(crate) fn into_members(self) -> Members<'a> {
        match self {
            Self::Post(post) => post.members,
            Self::Follow(follow) => follow.members,
        }
    }
}

/// Whether a member is the store's or the engine's, not the document's.
fn is_system(name: &str) -> bool {
    matches!(name, "_rid" | "_self" | "_etag" | "_ts" | "_lsn" | "_attachments" | "_source")
}

/// Whether a member must not be carried into a derived document, because the engine writes one of that name itself.
pub(crate) fn is_reserved(name: &str) -> bool {
    is_system(name) || matches!(name, "id" | "ttl")
}

impl Members<'_> {
    /// When this is a tombstone that the engine wrote: when its document was withdrawn. A tombstone is id, key,
    /// `deletedAt`, `ttl`, `_source` and nothing else; a withdrawn source document keeps its fields and is none.
    pub fn tombstone(&self) -> Option<Timestamp> {
        let own = |name: &&str| !is_system(name) && !matches!(*name, "id" | "deletedAt" | "ttl");
        if self.get("_source").is_none() || self.names().filter(own).count() > 1 {
            return None;
        }
        self.deleted_at().ok().flatten()
    }
}

/// One document that the changes of a delivery concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub id: DocumentId,
    /// Index of its last change.
    pub index: usize,
}

/// The documents that these changes concern, each once, in the order of their last changes; and the changes without a
/// usable id.
pub fn changed(changes: &[Change]) -> (Vec<Changed>, Vec<(usize, DecodeError)>) {
    let mut documents: Vec<Changed> = Vec::with_capacity(changes.len());
    let mut rejected = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    // From the end, so that of several changes of one document the last one stands for it.
    for (index, change) in changes.iter().enumerate().rev() {
        let id = Members::parse(&change.body).and_then(|members| document_id(&members.string("id")?));
        match id {
            Ok(id) if seen.insert(id.clone()) => documents.push(Changed { id, index }),
            Ok(_) => {}
            Err(error) => rejected.push((index, error)),
        }
    }
    documents.reverse();
    (documents, rejected)
}

/// The id that a partition key is, of a post or a person. Documents without it have another key, and none is of use.
pub fn subject(key: &PartitionKey) -> Result<&str, DecodeError> {
    key.as_str().filter(|subject| !subject.is_empty()).ok_or_else(|| DecodeError::Wrong {
        field: "partition key",
        found: key.to_string(),
        expected: "a string that is not empty".into(),
    })
}

/// A result of `SELECT *` as the document it is.
pub fn listed(body: Bytes) -> Result<(DocumentId, Document), DecodeError> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        #[serde(rename = "_etag")]
        etag: ETag,
    }
    let Envelope { id, etag } =
        serde_json::from_slice(&body).map_err(|error| DecodeError::NotAnObject(error.to_string()))?;
    Ok((document_id(&id)?, Document { etag, body }))
}

fn document_id(id: &str) -> Result<DocumentId, DecodeError> {
    DocumentId::new(id).map_err(|source| IdError::Invalid { parts: format!("{id:?}"), source }.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::ETag;

    use super::*;

    fn change(body: &'static str) -> Change {
        Change { lsn: 1, timestamp_seconds: 0, etag: ETag::new("\"1\""), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn each_document_is_named_once_by_its_last_change() {
        let changes = [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":7}"#, r#"{"id":"a"}"#].map(change);
        let (documents, rejected) = changed(&changes);
        let named: Vec<_> = documents.iter().map(|changed| (changed.id.as_str(), changed.index)).collect();
        assert_eq!(named, [("b", 1), ("a", 3)]);
        assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_key_that_is_no_string_names_nobody() {
        use feedmill_store_api::KeyPart;
        assert_eq!(subject(&"u".into()), Ok("u"));
        for part in [KeyPart::Undefined, KeyPart::Null, KeyPart::Number(7.0), KeyPart::String(String::new())] {
            assert!(subject(&PartitionKey::from_parts(vec![part])).is_err());
        }
    }

    #[test]
    fn only_what_has_nothing_but_its_key_is_a_tombstone() {
        let at = |json: &str| Members::parse(json.as_bytes()).unwrap().tombstone().map(crate::time::text);
        let tombstone =
            r#"{"id":"1","authorId":"a","deletedAt":"2020-01-01T00:00:00.000Z","ttl":5,"_source":{},"_ts":1}"#;
        assert_eq!(at(tombstone).as_deref(), Some("2020-01-01T00:00:00.000Z"));
        assert_eq!(at(&tombstone.replace("\"ttl\"", "\"postId\":\"1\",\"ttl\"")), None);
        assert_eq!(at(&tombstone.replace("_source", "_ets")), None);
        assert_eq!(at(&tombstone.replace("deletedAt", "_rid")), None);
    }
}
