use std::sync::Arc;

use feedmill_store_api::ETag;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a target should be, computed from its sources.
#[derive(Clone, Debug)]
pub enum Desired {
    /// A document with these fields beside `id`, key, `_source` and `ttl`.
    Document { fields: Fields, expires: Expiry, basis: Basis },
    /// Nothing. Written as a tombstone, also where nothing was, because an older settle may still have a write in the
    /// air. `deleted_at` must follow from the sources alone, so that every run ends in the same document.
    Absent { deleted_at: Timestamp, basis: Basis },
    /// Not ours to decide: leave the target as it is. Only for what can never have been a target.
    Leave,
}

/// JSON text of an object's members without the braces, such as `"name":"likes","value":3`; shared by all targets that
/// have the same. Empty for none. Must not contain `id`, the target's key, `_source` or `ttl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Arc<str>);

impl Fields {
    /// The members of a value that serialises as an object. `Err` when it does not.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(value)?;
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(members) => Ok(Self(members.into())),
            None => Err(serde::ser::Error::custom("fields must serialise as an object")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// When a target stops being visible. The writer turns it into `ttl` at each of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the container does with documents that say nothing.
    ContainerDefault,
    /// Not even where the container has a default.
    Never,
    At(Timestamp),
    /// As the source says: seconds after the write.
    Seconds(u32),
}

/// What a target was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Named sources. `rev` is the processor's revision: raised in its code when the same sources would give another
    /// document.
    Sources { rev: u32, sources: Vec<SourceRef> },
    /// A count, which cannot name its sources: everything in the container's key up to this LSN was counted.
    Count { container_rid: Arc<str>, lsn: u64 },
}

/// One source document as it was read. Stored as `[container, id, etag]`; the etag is null when the document was
/// missing, and then nothing may ever be skipped because of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRef(pub Arc<str>, pub String, pub Option<ETag>);

/// `_source` of a stored target: `{"rev":1,"from":[[container,id,etag],…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub rev: u32,
    pub from: Vec<SourceRef>,
}
