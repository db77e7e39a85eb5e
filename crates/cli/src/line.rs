use bytes::Bytes;
use feedmill_documents::{DecodeError, Members};
use feedmill_store_api::{DocumentId, Error, ErrorKind, InvalidId, KeyPart, PartitionKey};
use serde_json::Value;

/// What the store adds to a document, and would refuse or ignore coming from outside.
const SYSTEM_FIELDS: [&str; 6] = ["_attachments", "_etag", "_lsn", "_rid", "_self", "_ts"];

/// One document as a line of text, as export writes and import reads it.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) id: DocumentId,
    pub(crate) key: PartitionKey,
    /// Without what the store adds; all values as they were spelled.
    pub(crate) body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("not a JSON object: {0}")]
    Json(String),
    #[error("the document has no id, or one that is not text")]
    NoId,
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("the partition key {path} is {found}, which no key can be")]
    Key { path: String, found: &'static str },
}

impl Line {
    pub(crate) fn parse(text: &str, key_paths: &[String]) -> Result<Self, LineError> {
        let mut members = members(text.as_bytes())?;
        let (id, key) = (id_of(&members)?, key_of(&members, key_paths)?);
        members.retain(|name| !SYSTEM_FIELDS.contains(&name));
        let body = serde_json::to_vec(&members).expect("members serialise as they were read").into();
        Ok(Self { id, key, body })
    }
}

/// Whether two documents are the same but for what the store adds. Order and spelling do not count.
pub(crate) fn same_content(a: &[u8], b: &[u8]) -> bool {
    let content = |body: &[u8]| -> serde_json::Result<serde_json::Map<String, Value>> {
        let mut content: serde_json::Map<String, Value> = serde_json::from_slice(body)?;
        content.retain(|name, _| !SYSTEM_FIELDS.contains(&name.as_str()));
        Ok(content)
    };
    matches!((content(a), content(b)), (Ok(a), Ok(b)) if a == b)
}

/// Id and key of a stored document; the rest of it is not taken apart.
pub(crate) fn identity(body: &[u8], key_paths: &[String]) -> Result<(DocumentId, PartitionKey), Error> {
    let identity = || {
        let members = members(body)?;
        Ok((id_of(&members)?, key_of(&members, key_paths)?))
    };
    identity().map_err(|error: LineError| {
        Error::new(ErrorKind::Corrupt, "read id and key of a stored document").with_source(error)
    })
}

fn members(json: &[u8]) -> Result<Members<'_>, LineError> {
    Members::parse(json).map_err(|error| match error {
        DecodeError::NotAnObject(reason) => LineError::Json(reason),
        other => LineError::Json(other.to_string()),
    })
}

fn field(members: &Members<'_>, name: &str) -> Option<Value> {
    members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn id_of(members: &Members<'_>) -> Result<DocumentId, LineError> {
    match field(members, "id") {
        Some(Value::String(id)) => Ok(DocumentId::new(id)?),
        _ => Err(LineError::NoId),
    }
}

fn key_of(members: &Members<'_>, paths: &[String]) -> Result<PartitionKey, LineError> {
    paths.iter().map(|path| part(members, path)).collect::<Result<_, _>>().map(PartitionKey::from_parts)
}

fn part(members: &Members<'_>, path: &str) -> Result<KeyPart, LineError> {
    let mut steps = path.split('/').skip(1);
    let first = steps.next().and_then(|name| field(members, name));
    let found = steps.fold(first, |value, step| value.and_then(|value| value.get(step).cloned()));
    let refused = |found| LineError::Key { path: path.to_owned(), found };
    Ok(match found {
        None => KeyPart::Undefined,
        Some(Value::Null) => KeyPart::Null,
        Some(Value::Bool(value)) => KeyPart::Bool(value),
        Some(Value::Number(number)) => {
            KeyPart::Number(number.as_f64().ok_or_else(|| refused("a number out of range"))?)
        }
        Some(Value::String(text)) => KeyPart::String(text),
        Some(Value::Array(_)) => return Err(refused("an array")),
        Some(Value::Object(_)) => return Err(refused("an object")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Line, LineError> {
        Line::parse(text, &["/postId".to_owned()])
    }

    #[test]
    fn a_line_loses_what_the_store_added_and_keeps_everything_else_as_it_is_spelled() {
        let stored =
            r#"{"id":"1","n":1.00,"postId":"1","_source":{"rev":1},"_etag":"x","_ts":3,"_rid":"r","_self":""}"#;
        let line = parse(stored).unwrap();
        assert_eq!(line.body, r#"{"id":"1","n":1.00,"postId":"1","_source":{"rev":1}}"#);
        assert_eq!((line.id.as_str(), line.key), ("1", PartitionKey::from("1")));
        assert!(same_content(stored.as_bytes(), &line.body));
        assert!(!same_content(stored.as_bytes(), br#"{"id":"1","n":1.00,"postId":"1"}"#));
        assert!(!same_content(b"torn", b"torn"));
    }

    #[test]
    fn a_key_of_any_type_is_taken_as_the_store_takes_it() {
        let key = |text| parse(text).unwrap().key.to_string();
        assert_eq!(key(r#"{"id":"1"}"#), "[{}]");
        assert_eq!(key(r#"{"id":"1","postId":null}"#), "[null]");
        assert_eq!(key(r#"{"id":"1","postId":7}"#), "[7]");
        let body = br#"{"_etag":"x","postId":"p","id":"i","more":[{}]}"#;
        let (id, key) = identity(body, &["/postId".to_owned()]).unwrap();
        assert_eq!((id.as_str(), key), ("i", PartitionKey::from("p")));
        let nested = Line::parse(r#"{"id":"1","a":{"b":true}}"#, &["/a/b".to_owned()]).unwrap();
        assert_eq!(nested.key.to_string(), "[true]");
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (text, wrong) in [
            (r#"{"id":"1","postId"}"#, "not a JSON object: expected `:` at line 1 column 19"),
            (r#"["id"]"#, "not a JSON object: invalid type: sequence, expected an object at line 1 column 0"),
            (r#"{"id":7}"#, "the document has no id, or one that is not text"),
            (r#"{"id":"a/b"}"#, "an id must not contain '/': a/b"),
            (r#"{"id":"1","postId":[]}"#, "the partition key /postId is an array, which no key can be"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), wrong, "{text}");
        }
    }
}
