use std::borrow::Cow;

use feedmill_store_api::DocumentId;
use jiff::Timestamp;

use crate::{DecodeError, Members};

/// A person's public profile, as the canonical row says it.
#[derive(Clone, Debug)]
pub struct Profile<'a> {
    /// `userId`, encoded.
    pub id: DocumentId,
    pub user_id: String,
    /// Only a withdrawn profile may have none.
    pub display_name: Option<String>,
    pub bio: Option<String>,
    /// The canonical row's own version: an older one never replaces a newer.
    pub version: Option<u64>,
    pub deleted_at: Option<Timestamp>,
    /// All of it, system fields included.
    pub members: Members<'a>,
}

/// In characters (Unicode scalar values).
const DISPLAY_NAME_CHARACTERS_MAX: usize = 50;
const BIO_CHARACTERS_MAX: usize = 500;

impl<'a> Profile<'a> {
    /// Needs `id`, `userId`, and of a profile that is not withdrawn `displayName`.
    pub fn decode(json: &'a [u8]) -> Result<Self, DecodeError> {
        let members = Members::parse(json)?;
        let deleted_at = members.deleted_at()?;
        let user_id = members.string("userId")?.into_owned();
        let display_name = at_most(&members, "displayName", DISPLAY_NAME_CHARACTERS_MAX)?;
        if display_name.is_none() && deleted_at.is_none() {
            return Err(DecodeError::Missing { field: "displayName", expected: "a string that is not empty" });
        }
        Ok(Self {
            id: members.id_of([&user_id])?,
            display_name,
            // An empty one is a person who says nothing about themselves.
            bio: if members.get("bio").is_some_and(|bio| bio.get() == "\"\"") {
                Some(String::new())
            } else {
                at_most(&members, "bio", BIO_CHARACTERS_MAX)?
            },
            version: members.optional_number("version")?,
            deleted_at,
            user_id,
            members,
        })
    }
}

fn at_most(members: &Members<'_>, field: &'static str, max: usize) -> Result<Option<String>, DecodeError> {
    let Some(text) = members.optional_string(field)?.map(Cow::into_owned) else { return Ok(None) };
    match text.chars().count() {
        found if found > max => Err(DecodeError::Wrong {
            field,
            found: format!("{found} characters"),
            expected: format!("at most {max} characters").into(),
        }),
        _ => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(name: &str, bio: &str) -> Result<(), String> {
        let json = serde_json::json!({"id": "u", "userId": "u", "displayName": name, "bio": bio, "version": 3});
        let text = json.to_string();
        Profile::decode(text.as_bytes()).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_bios_have_a_length() {
        assert_eq!(decode(&"é".repeat(50), &"é".repeat(500)), Ok(()));
        assert_eq!(decode("x", ""), Ok(()));
        assert_eq!(
            decode(&"é".repeat(51), ""),
            Err("field `displayName`: found 51 characters, expected at most 50 characters".to_owned())
        );
        assert!(decode("x", &"é".repeat(501)).unwrap_err().starts_with("field `bio`"));
    }
}
