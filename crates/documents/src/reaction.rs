use std::borrow::Cow;

use feedmill_store_api::DocumentId;
use jiff::Timestamp;

use crate::{DecodeError, Members, id};

/// A document of `reactions`: `user_id` reacted to `post_id`. A person has one reaction to a post, of any one type.
#[derive(Clone, Debug)]
pub struct Reaction<'a> {
    /// `${postId}:${userId}`
    pub id: DocumentId,
    pub post_id: String,
    pub user_id: String,
    /// Such as `like`. Only a withdrawn reaction may have none.
    pub kind: Option<String>,
    /// Of a withdrawn reaction that no longer says it: the time of the withdrawal.
    pub created_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    /// All of it, system fields included.
    pub members: Members<'a>,
}

impl<'a> Reaction<'a> {
    /// Needs `id`, `postId`, `userId`, and of a reaction that is not withdrawn `type`.
    pub fn decode(json: &'a [u8]) -> Result<Self, DecodeError> {
        let members = Members::parse(json)?;
        let deleted_at = members.deleted_at()?;
        let post_id = members.string("postId")?.into_owned();
        let user_id = members.string("userId")?.into_owned();
        let kind = members.optional_string("type")?.map(Cow::into_owned);
        if kind.is_none() && deleted_at.is_none() {
            return Err(DecodeError::Missing { field: "type", expected: "a string such as \"like\"" });
        }
        Ok(Self {
            id: members.id_of([&post_id, &user_id])?,
            kind,
            created_at: members.optional_time("createdAt")?.or(deleted_at),
            deleted_at,
            post_id,
            user_id,
            members,
        })
    }

    /// `${postId}:${userId}`, its document id in `reactions`.
    pub fn id(post_id: &str, user_id: &str) -> Result<DocumentId, id::IdError> {
        id::join([post_id, user_id])
    }

    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_needs_its_type_while_it_is_live() {
        let live = br#"{"id":"p:u","postId":"p","userId":"u"}"#;
        assert!(Reaction::decode(live).unwrap_err().to_string().starts_with("field `type` is missing"));
        let withdrawn = br#"{"id":"p:u","postId":"p","userId":"u","deletedAt":"2020-01-01T00:00:00Z"}"#;
        assert!(!Reaction::decode(withdrawn).unwrap().is_live());
        let typed = br#"{"id":"p:u","postId":"p","userId":"u","type":"love"}"#;
        assert_eq!(Reaction::decode(typed).unwrap().kind.as_deref(), Some("love"));
    }
}
