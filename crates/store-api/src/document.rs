use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::limits::ID_BYTES_MAX;

/// A document's id: 1 to 1,023 bytes, without `/` `\` `?` `#`, which the service refuses or cannot address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DocumentId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("an id must not be empty")]
    Empty,
    #[error("an id may have {ID_BYTES_MAX} bytes, this one has {bytes}: {start}…")]
    TooLong { bytes: usize, start: String },
    #[error("an id must not contain {character:?}: {id}")]
    Character { character: char, id: String },
}

impl DocumentId {
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.len() > ID_BYTES_MAX {
            return Err(InvalidId::TooLong { bytes: id.len(), start: id.chars().take(40).collect() });
        }
        match id.chars().find(|character| matches!(character, '/' | '\\' | '?' | '#')) {
            Some(character) => Err(InvalidId::Character { character, id }),
            None => Ok(Self(id)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl Borrow<str> for DocumentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document's version, opaque, with its quotes. Two versions of one document never share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    pub fn new(etag: impl Into<String>) -> Self {
        Self(etag.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One component of a partition key. A document without the path has `Undefined` there.
#[derive(Clone, Debug)]
pub enum KeyPart {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    String(String),
}

impl KeyPart {
    fn rank(&self) -> u8 {
        match self {
            Self::Undefined => 0,
            Self::Null => 1,
            Self::Bool(_) => 2,
            Self::Number(_) => 3,
            Self::String(_) => 4,
        }
    }
}

impl Ord for KeyPart {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for KeyPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyPart {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyPart {}

impl Hash for KeyPart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Undefined | Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Number(value) => value.to_bits().hash(state),
            Self::String(value) => value.hash(state),
        }
    }
}

/// What decides where a document lives: one part for each path of the container's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey(Vec<KeyPart>);

impl PartitionKey {
    pub fn from_parts(parts: Vec<KeyPart>) -> Self {
        Self(parts)
    }

    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }

    /// The text of a key that is a single string, as all of feedmill's own containers have it.
    pub fn as_str(&self) -> Option<&str> {
        match self.0.as_slice() {
            [KeyPart::String(text)] => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for PartitionKey {
    fn from(key: &str) -> Self {
        Self::from(key.to_owned())
    }
}

impl From<String> for PartitionKey {
    fn from(key: String) -> Self {
        Self(vec![KeyPart::String(key)])
    }
}

/// As the protocol writes it: a JSON array, `{}` for an undefined part.
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match part {
                KeyPart::Undefined => f.write_str("{}")?,
                KeyPart::Null => f.write_str("null")?,
                KeyPart::Bool(value) => write!(f, "{value}")?,
                KeyPart::Number(value) => write!(f, "{value}")?,
                KeyPart::String(value) => write!(f, "{}", serde_json::Value::from(value.as_str()))?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_the_service_cannot_address_are_refused() {
        for bad in ["a/b", "a\\b", "a?b", "a#b"] {
            assert!(matches!(DocumentId::new(bad), Err(InvalidId::Character { .. })), "{bad}");
        }
        assert_eq!(DocumentId::new(""), Err(InvalidId::Empty));
        assert!(DocumentId::new("x".repeat(1_023)).is_ok());
        assert!(matches!(DocumentId::new("x".repeat(1_024)), Err(InvalidId::TooLong { bytes: 1_024, .. })));
    }

    #[test]
    fn a_key_prints_as_the_protocol_writes_it() {
        let key = PartitionKey::from_parts(vec![
            KeyPart::String("a\"b".into()),
            KeyPart::Number(1.0),
            KeyPart::Null,
            KeyPart::Undefined,
            KeyPart::Bool(true),
        ]);
        assert_eq!(key.to_string(), r#"["a\"b",1,null,{},true]"#);
    }
}
