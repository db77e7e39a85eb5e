use std::borrow::Cow;

use bytes::Bytes;
use feedmill_store_api::{DocumentId, Error, ErrorKind, limits};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The text of a body, once it is an object with this id.
///
/// The id of a create or an upsert is not part of the request, so the service would take a body with another one for what was
/// meant. Everything else about a body is the service's to judge.
pub(crate) fn checked<'b>(id: &DocumentId, body: &'b Bytes) -> Result<&'b RawValue, Error> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    let refused = |why: String| Error::new(ErrorKind::Invalid, format!("write {id}: {why}"));
    if body.len() > limits::ITEM_BYTES_MAX {
        return Err(refused(format!("a body of {} bytes: it may have {}", body.len(), limits::ITEM_BYTES_MAX)));
    }
    let head: Head<'_> = serde_json::from_slice(body)
        .map_err(|error| refused("its body is no object with an id".into()).with_source(error))?;
    if head.id != id.as_str() {
        return Err(refused(format!("its body says that it is {}", head.id)));
    }
    serde_json::from_slice(body).map_err(|error| refused("its body is no JSON".into()).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_be_an_object_that_carries_the_id_it_is_written_under() {
        let id = DocumentId::new("a").unwrap();
        let check = |text: &str| checked(&id, &Bytes::copy_from_slice(text.as_bytes())).map(|raw| raw.get().to_owned());
        for good in [r#"{"id":"a"}"#, r#" {"n": 1.10,  "id" : "\u0061"} "#] {
            assert_eq!(check(good).unwrap(), good.trim());
        }
        for bad in ["", "null", "[]", "{", r#"{"id":"a"} x"#, r#"{"n":1}"#, r#"{"id":"b"}"#, r#"{"id":1}"#, "\"a\""] {
            assert_eq!(check(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
