//! `notifications`: somebody did something that concerns the recipient.

use std::fmt;
use std::str::FromStr;

use feedmill_store_api::DocumentId;
use serde::{Deserialize, Serialize};

use crate::{IdError, id};

pub const KEY_FIELD: &str = "recipientId";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody reacted to a post of the recipient's.
    Reaction,
    /// Somebody replied to a post of the recipient's.
    Reply,
    /// Somebody follows the recipient.
    Follow,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reaction => "reaction",
            Self::Reply => "reply",
            Self::Follow => "follow",
        }
    }
}

impl FromStr for Kind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Reaction, Self::Reply, Self::Follow].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fields beside id, key, `_source` and `ttl`. Times as [`crate::time::text`] writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub kind: Kind,
    /// Of the reaction.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub reaction_type: Option<String>,
    pub actor_id: String,
    /// The post reacted to, or the reply itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_id: Option<String>,
    /// The post replied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_post_id: Option<String>,
    /// Of the event.
    pub created_at: String,
    /// From then on it counts as absent. Without one it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The recipient's own: set by readers, carried over by the processor.
    pub read: bool,
    /// What it tells of is no longer so; readers hide it.
    pub withdrawn: bool,
}

/// One event tells one recipient once, however often it is delivered, undone and done again:
/// `${recipientId}:${kind}:${subjectId}:${actorId}`. `subject_id` is what happened: the reply's own id, the post reacted
/// to, the followee.
pub fn id(recipient_id: &str, kind: Kind, subject_id: &str, actor_id: &str) -> Result<DocumentId, IdError> {
    id::join([recipient_id, kind.as_str(), subject_id, actor_id])
}

/// What a notification's id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub recipient_id: String,
    pub kind: Kind,
    pub subject_id: String,
    pub actor_id: String,
}

/// Fails when [`id()`] would not have made it.
pub fn parts(id: &str) -> Result<Parts, IdError> {
    let [recipient_id, kind, subject_id, actor_id] = id::split(id)?;
    let kind = kind.parse().map_err(|()| IdError::Malformed { id: id.to_owned(), expected: 4 })?;
    Ok(Parts { recipient_id, kind, subject_id, actor_id })
}

/// What a recipient wants to be shown of what they are told: a document of their own beside their notifications, made by the
/// application and never by feedmill, which only applies it where notifications are shown. Its `ttl` must be -1, or it goes with
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Kinds that are not shown.
    #[serde(default)]
    pub off: Vec<Kind>,
}

/// `${recipientId}:preferences`, which is no notification's id.
pub fn preferences_id(recipient_id: &str) -> Result<DocumentId, IdError> {
    id::join([recipient_id, "preferences"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let expected =
            Parts { recipient_id: "u/1".into(), kind: Kind::Reply, subject_id: "p:2".into(), actor_id: "a%".into() };
        assert_eq!(parts("u%2F1:reply:p%3A2:a%25"), Ok(expected));
        assert!(parts("u:wave:p:a").is_err() && parts("u:reply:p").is_err());
    }

    #[test]
    fn preferences_are_no_notification() {
        assert!(parts(preferences_id("u:1").unwrap().as_str()).is_err());
        let read: Preferences = serde_json::from_str(r#"{"id":"u:preferences","off":["reply"],"ttl":-1}"#).unwrap();
        assert_eq!(read.off, [Kind::Reply]);
        assert!(serde_json::from_str::<Preferences>(r#"{"off":["wave"]}"#).is_err());
    }

    #[test]
    fn an_id_says_who_is_told_what_by_whom() {
        assert_eq!(id("u/1", Kind::Reply, "p:2", "a%").unwrap().as_str(), "u%2F1:reply:p%3A2:a%25");
    }

    #[test]
    fn fields_that_do_not_apply_are_left_out() {
        let follow = Notification {
            kind: Kind::Follow,
            reaction_type: None,
            actor_id: "a".into(),
            post_id: None,
            parent_post_id: None,
            created_at: "2010-01-02T03:04:05.000Z".into(),
            expires_at: None,
            read: false,
            withdrawn: false,
        };
        let expected =
            r#"{"kind":"follow","actorId":"a","createdAt":"2010-01-02T03:04:05.000Z","read":false,"withdrawn":false}"#;
        assert_eq!(serde_json::to_string(&follow).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Notification>(expected).unwrap(), follow);
    }
}
