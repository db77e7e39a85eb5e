use feedmill_store_api::{DocumentId, PartitionKey};

use crate::source::is_reserved;
use crate::{IdError, Members, SourceDocument, containers, id, time};

/// A source re-keyed one to one, so that what is asked by the new key is a single-partition query. Its documents carry
/// their source's fields, `deletedAt` and `ttl` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    /// Posts by author: key `authorId`, id `postId`.
    AuthorPosts,
    /// Replies by the post they reply to: key `parentPostId`, id `postId`. A post that is no reply is not in it.
    PostReplies,
    /// Whom a person follows: key `followerId`, id `${followerId}:${followeeId}`.
    Following,
}

impl Index {
    pub const ALL: [Self; 3] = [Self::AuthorPosts, Self::PostReplies, Self::Following];

    /// The container it re-keys.
    pub fn source(self) -> &'static str {
        match self {
            Self::AuthorPosts | Self::PostReplies => containers::POSTS,
            Self::Following => containers::FOLLOWS,
        }
    }

    /// The container it is kept in.
    pub fn container(self) -> &'static str {
        match self {
            Self::AuthorPosts => containers::AUTHOR_POSTS,
            Self::PostReplies => containers::POST_REPLIES,
            Self::Following => containers::FOLLOWING,
        }
    }

    pub fn key_field(self) -> &'static str {
        match self {
            Self::AuthorPosts => "authorId",
            Self::PostReplies => "parentPostId",
            Self::Following => "followerId",
        }
    }

    /// Where the source's index document lives; `None` when it has none.
    pub fn place(self, source: &SourceDocument<'_>) -> Result<Option<(PartitionKey, DocumentId)>, IdError> {
        Ok(match (self, source) {
            (Self::AuthorPosts, SourceDocument::Post(post)) => Some((post.author_id.as_str().into(), post.id.clone())),
            (Self::PostReplies, SourceDocument::Post(post)) => {
                post.reply_to.as_deref().map(|parent| (parent.into(), post.id.clone()))
            }
            (Self::Following, SourceDocument::Follow(follow)) => {
                let id = id::join([&follow.follower_id, &follow.followee_id])?;
                Some((follow.follower_id.as_str().into(), id))
            }
            _ => None,
        })
    }

    /// The source's fields, without those that the engine writes. `createdAt` is brought to its one form, so that its
    /// order as text is that of time.
    pub fn fields<'a>(self, source: SourceDocument<'a>) -> Members<'a> {
        let created_at = match &source {
            SourceDocument::Post(post) => Some(post.created_at),
            SourceDocument::Follow(follow) => follow.created_at,
        };
        let mut members = source.into_members();
        members.retain(|name| !is_reserved(name) && name != self.key_field());
        if let Some(created_at) = created_at.filter(|_| members.get("createdAt").is_some()) {
            members.set("createdAt", time::text(created_at));
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = r#"{"id":"a%2Fb","postId":"a/b","authorId":"u/1","createdAt":"2010-01-02T04:04:05+01:00",
        "status":"hidden","replyToPostId":"p:1","deletedAt":"2020-01-01T00:00:00Z","ttl":60,"mood":[1],"_etag":"x","_ts":1}"#;

    fn place(index: Index, json: &str) -> Option<(String, String)> {
        let source = SourceDocument::decode(index, json.as_bytes()).unwrap();
        index.place(&source).unwrap().map(|(key, id)| (key.as_str().unwrap().to_owned(), id.into_string()))
    }

    #[test]
    fn an_index_document_lives_under_its_new_key() {
        let at = |key: &str, id: &str| Some((key.to_owned(), id.to_owned()));
        assert_eq!(place(Index::AuthorPosts, REPLY), at("u/1", "a%2Fb"));
        assert_eq!(place(Index::PostReplies, REPLY), at("p:1", "a%2Fb"));
        assert_eq!(place(Index::PostReplies, &REPLY.replace("replyToPostId", "other")), None);
        let follow = r#"{"id":"a%3A:b%25","followeeId":"a:","followerId":"b%"}"#;
        assert_eq!(place(Index::Following, follow), at("b%", "b%25:a%3A"));
    }

    #[test]
    fn an_index_document_carries_the_sources_fields_and_not_the_stores() {
        let fields = |index: Index| {
            let source = SourceDocument::decode(index, REPLY.as_bytes()).unwrap();
            serde_json::to_value(index.fields(source)).unwrap()
        };
        let mut expected = serde_json::json!({"postId": "a/b", "createdAt": "2010-01-02T03:04:05.000Z", "status": "hidden",
            "replyToPostId": "p:1", "deletedAt": "2020-01-01T00:00:00Z", "mood": [1]});
        assert_eq!(fields(Index::AuthorPosts), expected);
        expected["authorId"] = "u/1".into();
        assert_eq!(fields(Index::PostReplies), expected);
    }
}
