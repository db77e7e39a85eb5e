use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::{Members, id, time};

/// Why a document cannot be understood: which field, what was found, what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a JSON object: {0}")]
    NotAnObject(String),
    #[error("field `{field}` is missing, expected {expected}")]
    Missing { field: &'static str, expected: &'static str },
    #[error("field `{field}`: found {found}, expected {expected}")]
    Wrong { field: &'static str, found: String, expected: Cow<'static, str> },
    #[error(transparent)]
    Id(#[from] id::IdError),
}

const STRING: &str = "a string that is not empty";
const TIME: &str = "a time such as \"2010-12-28T12:34:56.000Z\"";

/// Typed access. Of optional members `null` is the same as none.
impl Members<'_> {
    pub(crate) fn string(&self, field: &'static str) -> Result<Cow<'_, str>, DecodeError> {
        self.optional_string(field)?.ok_or(DecodeError::Missing { field, expected: STRING })
    }

    pub(crate) fn optional_string(&self, field: &'static str) -> Result<Option<Cow<'_, str>>, DecodeError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        match unquoted(value) {
            Some(text) if !text.is_empty() => Ok(Some(text)),
            _ => Err(wrong(field, value, STRING)),
        }
    }

    pub(crate) fn optional_time(&self, field: &'static str) -> Result<Option<Timestamp>, DecodeError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        unquoted(value).and_then(|text| time::parse(&text)).map(Some).ok_or_else(|| wrong(field, value, TIME))
    }

    /// When the document was withdrawn. Here `null` is refused: queries tell a live document by `NOT IS_DEFINED`, to
    /// which `null` is defined, and what one side calls live the other must not call withdrawn.
    pub(crate) fn deleted_at(&self) -> Result<Option<Timestamp>, DecodeError> {
        match self.get("deletedAt") {
            Some(value) if value.get() == "null" => Err(wrong("deletedAt", value, TIME)),
            _ => self.optional_time("deletedAt"),
        }
    }

    pub(crate) fn flag(&self, field: &'static str) -> Result<bool, DecodeError> {
        match self.some(field).map(|value| (value, value.get())) {
            None | Some((_, "false")) => Ok(false),
            Some((_, "true")) => Ok(true),
            Some((value, _)) => Err(wrong(field, value, "true or false")),
        }
    }

    /// Seconds to live; `None` when the document stays, which Cosmos also writes as −1.
    pub(crate) fn ttl_seconds(&self) -> Result<Option<u32>, DecodeError> {
        let Some(value) = self.some("ttl").filter(|value| value.get() != "-1") else { return Ok(None) };
        match value.get().parse() {
            Ok(seconds) if (1..=i32::MAX as u32).contains(&seconds) => Ok(Some(seconds)),
            _ => Err(wrong("ttl", value, "a number of seconds from 1 to 2147483647, or -1")),
        }
    }

    pub(crate) fn optional_number(&self, field: &'static str) -> Result<Option<u64>, DecodeError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        value.get().parse().map(Some).map_err(|_| wrong(field, value, "a whole number"))
    }

    /// The document's id, which must be the one that its rule makes of its parts.
    pub(crate) fn id_of<const N: usize>(
        &self,
        parts: [&str; N],
    ) -> Result<feedmill_store_api::DocumentId, DecodeError> {
        let (found, expected) = (self.string("id")?, id::join(parts)?);
        if *found == *expected.as_str() {
            return Ok(expected);
        }
        let found = format!("{:?}", shortened(&found));
        Err(DecodeError::Wrong { field: "id", found, expected: format!("{:?}", expected.as_str()).into() })
    }

    fn some(&self, field: &str) -> Option<&RawValue> {
        self.get(field).filter(|value| value.get() != "null")
    }
}

/// The value of a JSON string, borrowed where it has no escapes.
fn unquoted(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

fn wrong(field: &'static str, value: &RawValue, expected: &'static str) -> DecodeError {
    let kind = match value.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "nothing",
        _ => "a number",
    };
    let found = format!("{kind}, {}", shortened(value.get()));
    DecodeError::Wrong { field, found, expected: Cow::Borrowed(expected) }
}

/// Enough of a value to recognise it; documents themselves stay out of messages.
fn shortened(text: &str) -> Cow<'_, str> {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(json: &str, decode: impl Fn(&Members<'_>) -> Result<T, DecodeError>) -> String {
        decode(&Members::parse(json.as_bytes()).unwrap()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_field_what_was_found_and_what_is_expected() {
        let author = |members: &Members<'_>| members.string("authorId").map(|_| ());
        assert_eq!(message("{}", author), "field `authorId` is missing, expected a string that is not empty");
        assert_eq!(
            message(r#"{"authorId":17}"#, author),
            "field `authorId`: found a number, 17, expected a string that is not empty"
        );
        let at = |members: &Members<'_>| members.optional_time("createdAt");
        assert_eq!(
            message(r#"{"createdAt":"soon"}"#, at),
            r#"field `createdAt`: found a string, "soon", expected a time such as "2010-12-28T12:34:56.000Z""#
        );
        let id = |members: &Members<'_>| members.id_of(["a/b", "c"]);
        assert_eq!(message(r#"{"id":"x"}"#, id), r#"field `id`: found "x", expected "a%2Fb:c""#);
        let long = format!(r#"{{"authorId":["{}"]}}"#, "x".repeat(1_000));
        assert!(message(&long, author).len() < 200);
    }

    #[test]
    fn null_is_none_except_for_deleted_at() {
        let json = r#"{"a":null,"ttl":null,"deletedAt":null}"#;
        let members = Members::parse(json.as_bytes()).unwrap();
        assert_eq!(members.optional_string("a"), Ok(None));
        assert_eq!(members.flag("a"), Ok(false));
        assert_eq!(members.ttl_seconds(), Ok(None));
        assert!(members.deleted_at().is_err());
    }

    #[test]
    fn a_time_to_live_is_whole_positive_seconds_or_minus_one() {
        let ttl = |text: &str| Members::parse(format!("{{\"ttl\":{text}}}").as_bytes()).unwrap().ttl_seconds().ok();
        assert_eq!(ttl("60"), Some(Some(60)));
        assert_eq!(ttl("-1"), Some(None));
        for bad in ["0", "-2", "1.5", "\"60\"", "4294967296"] {
            assert_eq!(ttl(bad), None, "{bad}");
        }
    }

    #[test]
    fn escaped_strings_are_read() {
        let members = Members::parse(br#"{"a":"x\u002fy\"","b":""}"#).unwrap();
        assert_eq!(members.string("a").unwrap(), "x/y\"");
        assert!(members.string("b").is_err());
    }
}
