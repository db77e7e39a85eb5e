use std::borrow::Cow;

use feedmill_store_api::DocumentId;
use jiff::Timestamp;

use crate::{DecodeError, Members, id};

/// A post or reply: a document of `posts_v2`, or of `authorPosts` and `postReplies`, which carry the same fields.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// `postId`, encoded.
    pub id: DocumentId,
    pub post_id: String,
    pub author_id: String,
    /// The post this one replies to.
    pub reply_to: Option<String>,
    /// Of a withdrawn post that no longer says it: the time of the withdrawal.
    pub created_at: Timestamp,
    /// Left out where it is not a time: nothing depends on it but the time a tombstone tells.
    pub updated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub status: Status,
    pub ttl_seconds: Option<u32>,
    /// All of it, system fields included.
    pub members: Members<'a>,
}

/// Whether the author's side shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Published,
    /// `hidden`, `removed`, and whatever else is not `published`: better not shown than shown by mistake.
    Unpublished,
}

impl<'a> Post<'a> {
    /// Needs `id`, `postId`, `authorId`, and of a post that is not withdrawn `createdAt` and `status`.
    pub fn decode(json: &'a [u8]) -> Result<Self, DecodeError> {
        let members = Members::parse(json)?;
        let deleted_at = members.deleted_at()?;
        let post_id = members.string("postId")?.into_owned();
        let status = match (members.optional_string("status")?.as_deref(), deleted_at) {
            (Some("published"), _) => Status::Published,
            (Some(_), _) | (None, Some(_)) => Status::Unpublished,
            (None, None) => {
                return Err(DecodeError::Missing { field: "status", expected: "published, hidden or removed" });
            }
        };
        let created_at = members.optional_time("createdAt")?.or(deleted_at);
        Ok(Self {
            id: members.id_of([&post_id])?,
            author_id: members.string("authorId")?.into_owned(),
            reply_to: members.optional_string("replyToPostId")?.map(Cow::into_owned),
            created_at: created_at.ok_or(DecodeError::Missing { field: "createdAt", expected: "a time" })?,
            updated_at: members.optional_time("updatedAt").unwrap_or_default(),
            deleted_at,
            status,
            ttl_seconds: members.ttl_seconds()?,
            post_id,
            members,
        })
    }

    /// Its document id in `posts_v2`, `authorPosts` and `postReplies`.
    pub fn id(post_id: &str) -> Result<DocumentId, id::IdError> {
        id::join([post_id])
    }

    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none() && self.status == Status::Published
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = r#"{"id":"a%2Fb","postId":"a/b","authorId":"u","createdAt":"2010-01-02T03:04:05Z",
        "status":"published","replyToPostId":null,"mood":{"x":1}}"#;

    #[test]
    fn a_post_is_decoded_and_its_unknown_fields_are_carried() {
        let post = Post::decode(POST.as_bytes()).unwrap();
        assert_eq!((post.post_id.as_str(), post.id.as_str(), post.author_id.as_str()), ("a/b", "a%2Fb", "u"));
        assert_eq!(post.reply_to, None);
        assert!(post.is_live());
        assert_eq!(post.members.get("mood").unwrap().get(), r#"{"x":1}"#);
    }

    #[test]
    fn only_a_published_post_that_is_not_withdrawn_is_live() {
        for (with, live) in [
            (r#""status":"published""#, true),
            (r#""status":"hidden""#, false),
            (r#""status":"removed""#, false),
            (r#""status":"draft""#, false),
            (r#""status":"published","deletedAt":"2020-01-01T00:00:00Z""#, false),
        ] {
            let json = POST.replace(r#""status":"published""#, with);
            assert_eq!(Post::decode(json.as_bytes()).unwrap().is_live(), live, "{with}");
        }
    }

    #[test]
    fn a_post_that_lacks_a_needed_field_is_refused_by_its_name() {
        for field in ["id", "postId", "authorId", "createdAt", "status"] {
            let json = POST.replace(&format!("\"{field}\""), "\"other\"");
            assert!(Post::decode(json.as_bytes()).unwrap_err().to_string().contains(&format!("`{field}`")), "{field}");
        }
        for (field, bad) in [("replyToPostId", "7"), ("deletedAt", "true"), ("ttl", "\"x\"")] {
            let json = POST.replace("\"mood\":", &format!("\"{field}\":{bad},\"mood\":"));
            let error = Post::decode(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
        }
    }

    #[test]
    fn a_withdrawn_post_needs_no_more_than_its_identity() {
        let json = br#"{"id":"1","postId":"1","authorId":"u","deletedAt":"2020-01-01T00:00:00Z"}"#;
        let post = Post::decode(json).unwrap();
        assert_eq!(Some(post.created_at), post.deleted_at);
        assert!(!post.is_live());
    }

    #[test]
    fn a_malformed_update_time_is_nobodys_fault() {
        let json = POST.replace("\"mood\":", "\"updatedAt\":17,\"mood\":");
        assert_eq!(Post::decode(json.as_bytes()).unwrap().updated_at, None);
    }
}
