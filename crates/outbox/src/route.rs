use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Which document the events of a topic are. The payload is the document; its id, key and version are named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The container it goes to.
    pub container: String,
    /// The payload's field that is the container's partition key.
    pub key_field: String,
    /// The document's id: text with payload fields in braces, `{postId}:{userId}`. Values are percent-encoded where they
    /// hold `:` `/` `\` `?` `#` or `%`.
    pub id: String,
    /// The payload's field with the canonical row's own version, a whole number. An older one never replaces a newer.
    #[serde(default = "version_field")]
    pub version_field: String,
    /// Characters that a field may have; more is the event's own fault.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub characters_max: BTreeMap<String, u32>,
    /// Whether what has landed is copied to `posts_admin_mirror`.
    #[serde(default)]
    pub mirror: bool,
}

fn version_field() -> String {
    "version".to_owned()
}

/// A piece of an id template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Field(&'a str),
}

impl Route {
    pub(crate) fn check(&self, topic: &str) -> Result<(), Error> {
        let pieces = self.pieces().ok_or_else(|| {
            Error::Settings(format!("routes.{topic}.id: braces must hold a field's name and be closed: {}", self.id))
        })?;
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            return Err(Error::Settings(format!("routes.{topic}.id names no field, so all events are one document")));
        }
        Ok(())
    }

    /// `None` when braces do not match.
    pub(crate) fn pieces(&self) -> Option<Vec<Piece<'_>>> {
        let mut pieces = Vec::new();
        let mut rest = self.id.as_str();
        while !rest.is_empty() {
            let (text, behind) = rest.split_once('{').unwrap_or((rest, ""));
            if text.contains('}') {
                return None;
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text));
            }
            if text.len() == rest.len() {
                break;
            }
            let (field, behind) = behind.split_once('}')?;
            if field.is_empty() || field.contains('{') {
                return None;
            }
            pieces.push(Piece::Field(field));
            rest = behind;
        }
        Some(pieces)
    }
}

/// The topics of the canonical tables in `migrations/`.
pub(crate) fn defaults() -> BTreeMap<String, Route> {
    let route = |container: &str, key_field: &str, id: &str| Route {
        container: container.to_owned(),
        key_field: key_field.to_owned(),
        id: id.to_owned(),
        version_field: version_field(),
        characters_max: BTreeMap::new(),
        mirror: false,
    };
    let limits = [("displayName".to_owned(), 50), ("bio".to_owned(), 500)];
    BTreeMap::from([
        ("block".to_owned(), route("blocks", "userId", "{userId}:{otherId}")),
        ("follow".to_owned(), route("follows", "followeeId", "{followeeId}:{followerId}")),
        ("post".to_owned(), Route { mirror: true, ..route("posts_v2", "postId", "{postId}") }),
        (
            "profile".to_owned(),
            Route { characters_max: limits.into(), ..route("publicProfiles", "userId", "{userId}") },
        ),
        ("reaction".to_owned(), route("reactions", "postId", "{postId}:{userId}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: &str) -> Route {
        Route { id: id.to_owned(), ..defaults()["post"].clone() }
    }

    #[test]
    fn a_template_is_text_and_fields() {
        assert_eq!(
            route("a-{b}:{c}").pieces().unwrap(),
            [Piece::Text("a-"), Piece::Field("b"), Piece::Text(":"), Piece::Field("c")]
        );
    }

    #[test]
    fn a_template_that_cannot_work_is_refused() {
        for bad in ["{", "}", "{}", "{a", "a}", "{{a}}", "", "constant"] {
            assert!(route(bad).check("t").is_err(), "{bad}");
        }
    }
}
