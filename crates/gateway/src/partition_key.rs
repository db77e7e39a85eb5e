use feedmill_store_api::{KeyPart, PartitionKey};
use serde_json::Value;

use crate::fault::{Fault, sub_status};
use crate::headers::{Asked, PARTITION_KEY};

/// The key a request names in its header; `None` where it names none.
pub(crate) fn asked(asked: Asked<'_>) -> Result<Option<PartitionKey>, Fault> {
    asked.text(PARTITION_KEY).map(parse).transpose()
}

/// A JSON array of the key's parts, as the protocol writes them: `{}` for what is not there. An empty array is the key of documents
/// that have none.
pub(crate) fn parse(text: &str) -> Result<PartitionKey, Fault> {
    let refuse = || Fault::bad_request(format!("the partition key {text:?} is no JSON array of scalars"));
    let parts: Vec<Value> = serde_json::from_str(text).map_err(|_| refuse())?;
    if parts.is_empty() {
        return Ok(PartitionKey::from_parts(vec![KeyPart::Undefined]));
    }
    let parts = parts.into_iter().map(|value| part(Some(&value)).ok_or_else(refuse));
    Ok(PartitionKey::from_parts(parts.collect::<Result<_, _>>()?))
}

/// The key that a document has.
pub(crate) fn of_document(document: &Value, paths: &[String]) -> Result<PartitionKey, Fault> {
    let parts = paths.iter().map(|path| {
        let mut names = path.trim_start_matches('/').split('/').map(|name| name.trim_matches('"'));
        let found = names.try_fold(document, |value, name| value.as_object()?.get(name));
        part(found).ok_or_else(|| {
            Fault::bad_request(format!("the document has an array or object at {path}, its partition key"))
        })
    });
    Ok(PartitionKey::from_parts(parts.collect::<Result<_, _>>()?))
}

/// That a document is under the key its request names.
pub(crate) fn check(document: &Value, paths: &[String], key: &PartitionKey) -> Result<(), Fault> {
    if of_document(document, paths)? == *key {
        return Ok(());
    }
    let text = format!(
        "PartitionKey extracted from document doesn't match the one specified in the header: the document is of {}, the header says {key}",
        of_document(document, paths)?
    );
    Err(Fault::bad_request(text).sub(sub_status::PARTITION_KEY_MISMATCH))
}

fn part(value: Option<&Value>) -> Option<KeyPart> {
    Some(match value {
        None => KeyPart::Undefined,
        Some(Value::Null) => KeyPart::Null,
        Some(Value::Bool(value)) => KeyPart::Bool(*value),
        Some(Value::Number(number)) => KeyPart::Number(number.as_f64()?),
        Some(Value::String(text)) => KeyPart::String(text.clone()),
        Some(Value::Object(object)) if object.is_empty() => KeyPart::Undefined,
        Some(Value::Array(_) | Value::Object(_)) => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_read_as_the_protocol_writes_them() {
        for text in [r#"["a\"b"]"#, "[1]", "[null]", "[true]", "[{}]", r#"["a",{},2.5]"#] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("[]").unwrap().to_string(), "[{}]");
        for bad in ["", "a", "{}", "[[]]", r#"[{"a":1}]"#, "[1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_of_another_key_is_told_apart() {
        let paths = ["/a/b".to_owned(), "/c".to_owned()];
        let document = json!({"a": {"b": "x"}, "c": 1});
        assert_eq!(of_document(&document, &paths).unwrap().to_string(), r#"["x",1]"#);
        assert!(check(&document, &paths, &parse(r#"["x",1]"#).unwrap()).is_ok());
        let fault = check(&document, &paths, &parse(r#"["x",2]"#).unwrap()).unwrap_err();
        assert_eq!((fault.status.as_u16(), fault.sub_status), (400, 1001));
        assert_eq!(of_document(&json!({"a": 1}), &paths).unwrap().to_string(), "[{},{}]");
        assert!(of_document(&json!({"a": {"b": []}}), &paths).is_err());
    }
}
