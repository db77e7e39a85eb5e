use std::fmt::Write;

use feedmill_store_api::{DocumentId, FeedRange, KeyPart, PartitionKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::{LETTER_DOCUMENT_BYTES_MAX, LETTER_ERROR_BYTES_MAX, LETTER_ID_BYTES_MAX};

/// A dead letter as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    pub id: String,
    /// Name of the processor that could not apply it.
    pub processor: String,
    /// Name of the source container.
    pub container: String,
    /// The key where it is one string; otherwise the protocol's array, `{}` for an undefined part.
    pub partition_key: Value,
    /// Id of the source document.
    pub source_id: String,
    pub source_etag: String,
    /// A retry counts as this commit: what was settled for a later one includes it.
    pub source_lsn: u64,
    /// Where in the feed it was, so that who reads that part tries it again.
    pub range: FeedRange,
    /// What went wrong the last time.
    pub error: String,
    /// The source document as it was delivered, up to 1 MB; for people. A retry never uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    pub attempts: u64,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    pub next_retry_at: Option<Timestamp>,
    pub state: LetterState,
    /// Seconds, once it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
}

/// → in the order of appearance; a closed one opens again when its document fails again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    Retrying,
    /// No longer tried by itself: a newer change or a person must help.
    Dead,
    /// Applied after all, or the source document is gone.
    Closed,
}

/// Why a change could not be applied: its own fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl Fault {
    /// Text beyond 4 KB is cut.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > LETTER_ERROR_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LETTER_ERROR_BYTES_MAX - '…'.len_utf8()));
            text.push('…');
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `${processor}:${container}:${partitionKey}:${sourceId}`, parts percent-encoded where they contain what separates or
/// what Cosmos refuses. What would be too long keeps its beginning and ends in a hash of the whole.
pub(super) fn letter_id(processor: &str, container: &str, key: &PartitionKey, source_id: &str) -> DocumentId {
    let shown;
    let key = match key.as_str() {
        Some(key) => key,
        None => {
            shown = key.to_string();
            &shown
        }
    };
    let mut id = String::new();
    for (index, part) in [processor, container, key, source_id].into_iter().enumerate() {
        if index > 0 {
            id.push(':');
        }
        for character in part.chars() {
            match character {
                ':' | '/' | '\\' | '?' | '#' | '%' => {
                    write!(id, "%{:02X}", character as u32).expect("a string takes every text");
                }
                plain => id.push(plain),
            }
        }
    }
    if id.len() > LETTER_ID_BYTES_MAX {
        let hash = fnv1a(id.as_bytes());
        id.truncate(id.floor_char_boundary(LETTER_ID_BYTES_MAX));
        write!(id, "~{hash:016x}").expect("a string takes every text");
    }
    DocumentId::new(id).expect("it has three separators, is encoded, and was cut to length")
}

/// Stable across versions and machines, because ids are made of it.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

pub(super) fn key_value(key: &PartitionKey) -> Value {
    match key.as_str() {
        Some(text) => Value::from(text),
        None => serde_json::from_str(&key.to_string()).expect("a key prints as JSON"),
    }
}

/// `None` for what no key looks like.
pub(super) fn key_of(value: &Value) -> Option<PartitionKey> {
    let part = |value: &Value| match value {
        Value::String(text) => Some(KeyPart::String(text.clone())),
        Value::Number(number) => number.as_f64().map(KeyPart::Number),
        Value::Bool(value) => Some(KeyPart::Bool(*value)),
        Value::Null => Some(KeyPart::Null),
        Value::Object(object) if object.is_empty() => Some(KeyPart::Undefined),
        _ => None,
    };
    match value {
        Value::String(text) => Some(PartitionKey::from(text.as_str())),
        Value::Array(parts) => parts.iter().map(part).collect::<Option<_>>().map(PartitionKey::from_parts),
        _ => None,
    }
}

/// The body as it goes into a letter; text that is not JSON as a string, `None` when it is too large.
pub(super) fn kept(body: &[u8]) -> Option<Box<RawValue>> {
    if body.len() > LETTER_DOCUMENT_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    RawValue::from_string(text.to_string())
        .or_else(|_| serde_json::value::to_raw_value(&text))
        .ok()
        .filter(|kept| kept.get().len() <= LETTER_DOCUMENT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(processor: &str, container: &str, key: &str, source_id: &str) -> String {
        letter_id(processor, container, &PartitionKey::from(key), source_id).into_string()
    }

    #[test]
    fn parts_with_separators_stay_apart() {
        assert_eq!(id("user-feed", "posts", "u1", "p1"), "user-feed:posts:u1:p1");
        assert_eq!(id("p", "c", "a:b", "c"), "p:c:a%3Ab:c");
        assert_eq!(id("p", "c", "a", "b:c"), "p:c:a:b%3Ac");
        assert_eq!(id("p", "c", "a/b\\c?d#e%f", ""), "p:c:a%2Fb%5Cc%3Fd%23e%25f:");
    }

    #[test]
    fn long_ids_keep_their_beginning_and_stay_different() {
        let (one, other) = (id("p", "c", &"ä:".repeat(700), "1"), id("p", "c", &"ä:".repeat(700), "2"));
        assert!(one.starts_with("p:c:ä%3Aä") && one.len() <= 1_023);
        assert_ne!(one, other);
    }

    #[test]
    fn keys_read_back() {
        let parts = vec![KeyPart::String("a".into()), KeyPart::Number(1.5), KeyPart::Null, KeyPart::Undefined];
        for key in [PartitionKey::from("plain"), PartitionKey::from_parts(parts), PartitionKey::from_parts(vec![])] {
            assert_eq!(key_of(&key_value(&key)), Some(key));
        }
        assert_eq!(key_of(&Value::from(1)), None);
    }

    #[test]
    fn errors_are_cut_between_characters() {
        let fault = Fault::new("ü".repeat(4_000));
        assert!(fault.as_str().len() <= 4_096 && fault.as_str().ends_with("ü…"));
        assert_eq!(Fault::new("short").as_str(), "short");
    }

    #[test]
    fn documents_are_kept_as_they_are_or_as_text_or_not_at_all() {
        assert_eq!(kept(br#"{"a": 1}"#).unwrap().get(), r#"{"a": 1}"#);
        assert_eq!(kept(br#"{"a": "#).unwrap().get(), r#""{\"a\": ""#);
        assert!(kept(&vec![b' '; 2_000_000]).is_none());
    }
}
