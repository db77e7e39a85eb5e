//! The source documents a customer's application would write, as the loaders make them.

use bytes::Bytes;
use feedmill_documents::{IdError, containers, id};
use feedmill_store_api::{DocumentId, PartitionKey};
use jiff::Timestamp;
use serde::Serialize;

/// One version of one source document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWrite {
    pub container: &'static str,
    pub key: PartitionKey,
    pub id: DocumentId,
    /// JSON text of the whole document.
    pub body: Bytes,
    /// Also in the body. Of two versions of one document the higher one stays, whatever order they are written in.
    pub version: u64,
}

/// Which version of a document this is, and whether it is its withdrawal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) version: u64,
    pub(crate) withdrawn: Option<Withdrawal>,
}

/// A soft delete: the document stays for `ttl_seconds` after it is written, so that the change feed shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Withdrawal {
    pub(crate) at: Timestamp,
    pub(crate) ttl_seconds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stamped<'a, T> {
    id: &'a str,
    #[serde(flatten)]
    fields: T,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Profile<'a> {
    pub(crate) user: u64,
    /// First and last name; nothing is known of a stub but its id.
    pub(crate) name: Option<(&'a str, &'a str)>,
    pub(crate) created: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) post: u64,
    pub(crate) author: u64,
    pub(crate) reply_to: Option<u64>,
    pub(crate) content: Option<&'a str>,
    pub(crate) created: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    pub(crate) followee: u64,
    pub(crate) follower: u64,
    pub(crate) created: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Like {
    pub(crate) post: u64,
    pub(crate) user: u64,
    pub(crate) created: Timestamp,
}

/// Longer display names would become dead letters.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 50;

impl Profile<'_> {
    pub(crate) fn write(&self, stamp: Stamp) -> SourceWrite {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            user_id: &'a str,
            display_name: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            first_name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_name: Option<&'a str>,
            created_at: String,
        }
        let user = self.user.to_string();
        let display_name = self.name.map_or_else(|| user.clone(), |(first, last)| format!("{first} {last}"));
        let fields = Fields {
            user_id: &user,
            display_name: display_name.chars().take(DISPLAY_NAME_CHARACTERS_MAX).collect(),
            first_name: self.name.map(|(first, _)| first),
            last_name: self.name.map(|(_, last)| last),
            created_at: iso(self.created),
        };
        write(containers::PUBLIC_PROFILES, &user, id::join([&user]), &fields, stamp)
    }
}

impl Post<'_> {
    pub(crate) fn write(&self, stamp: Stamp) -> SourceWrite {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            post_id: &'a str,
            author_id: String,
            created_at: String,
            status: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reply_to_post_id: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content: Option<&'a str>,
        }
        let post = self.post.to_string();
        let fields = Fields {
            post_id: &post,
            author_id: self.author.to_string(),
            created_at: iso(self.created),
            status: "published",
            reply_to_post_id: self.reply_to.map(|parent| parent.to_string()),
            content: self.content,
        };
        write(containers::POSTS, &post, feedmill_documents::Post::id(&post), &fields, stamp)
    }
}

impl Follow {
    pub(crate) fn write(&self, stamp: Stamp) -> SourceWrite {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            followee_id: &'a str,
            follower_id: &'a str,
            created_at: String,
        }
        let (followee, follower) = (self.followee.to_string(), self.follower.to_string());
        let fields = Fields { followee_id: &followee, follower_id: &follower, created_at: iso(self.created) };
        write(containers::FOLLOWS, &followee, feedmill_documents::Follow::id(&followee, &follower), &fields, stamp)
    }
}

impl Like {
    pub(crate) fn write(&self, stamp: Stamp) -> SourceWrite {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            post_id: &'a str,
            user_id: &'a str,
            r#type: &'static str,
            created_at: String,
        }
        let (post, user) = (self.post.to_string(), self.user.to_string());
        let fields = Fields { post_id: &post, user_id: &user, r#type: "like", created_at: iso(self.created) };
        write(containers::REACTIONS, &post, feedmill_documents::Reaction::id(&post, &user), &fields, stamp)
    }
}

fn write(
    container: &'static str,
    key: &str,
    id: Result<DocumentId, IdError>,
    fields: &impl Serialize,
    stamp: Stamp,
) -> SourceWrite {
    let id = id.expect("numbers make short ids without a forbidden character");
    let document = Stamped {
        id: id.as_str(),
        fields,
        version: stamp.version,
        deleted_at: stamp.withdrawn.map(|withdrawal| iso(withdrawal.at)),
        ttl: stamp.withdrawn.map(|withdrawal| withdrawal.ttl_seconds),
    };
    let body = Bytes::from(serde_json::to_vec(&document).expect("strings and numbers always serialise"));
    SourceWrite { container, key: PartitionKey::from(key), id, body, version: stamp.version }
}

/// UTC with milliseconds, so that text order is time order.
pub(crate) fn iso(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn body(write: &SourceWrite) -> Value {
        serde_json::from_slice(&write.body).unwrap()
    }

    #[test]
    fn a_comment_names_its_parent_and_a_post_has_no_such_field() {
        let comment =
            Post { post: 2, author: 7, reply_to: Some(1), content: Some("so it is"), created: at(1_290_687_902_110) };
        let write = comment.write(Stamp { version: 4, withdrawn: None });
        assert_eq!((write.container, write.key.as_str(), write.version), ("posts_v2", Some("2"), 4));
        assert_eq!(
            body(&write),
            json!({
                "id": "2", "postId": "2", "authorId": "7", "createdAt": "2010-11-25T12:25:02.110Z",
                "status": "published", "replyToPostId": "1", "content": "so it is", "version": 4
            })
        );
        let post = Post { post: 1, author: 7, reply_to: None, content: None, created: at(0) };
        let post = body(&post.write(Stamp::default()));
        assert!(post.get("replyToPostId").is_none() && post.get("content").is_none());
        assert_eq!(post["createdAt"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_withdrawn_document_is_the_same_one_with_its_time_and_ttl() {
        let follow = Follow { followee: 1, follower: 2, created: at(0) };
        let withdrawn = Some(Withdrawal { at: at(1_000), ttl_seconds: 60 });
        let write = follow.write(Stamp { version: 9, withdrawn });
        assert_eq!((write.container, write.key.as_str(), write.id.as_str()), ("follows", Some("1"), "1:2"));
        assert_eq!(
            body(&write),
            json!({
                "id": "1:2", "followeeId": "1", "followerId": "2", "createdAt": "1970-01-01T00:00:00.000Z",
                "version": 9, "deletedAt": "1970-01-01T00:00:01.000Z", "ttl": 60
            })
        );
    }

    #[test]
    fn a_like_lives_with_its_post() {
        let write = Like { post: 5, user: 6, created: at(0) }.write(Stamp::default());
        assert_eq!((write.container, write.key.as_str(), write.id.as_str()), ("reactions", Some("5"), "5:6"));
        assert_eq!(body(&write)["type"], "like");
    }

    #[test]
    fn a_profile_shows_both_names_and_a_stub_its_id() {
        let known = Profile { user: 3, name: Some(("Ada", "King")), created: at(0) }.write(Stamp::default());
        assert_eq!(body(&known)["displayName"], "Ada King");
        assert_eq!((known.container, known.key.as_str()), ("publicProfiles", Some("3")));
        let long = "x".repeat(60);
        let long = Profile { user: 3, name: Some((&long, "y")), created: at(0) }.write(Stamp::default());
        assert_eq!(body(&long)["displayName"].as_str().unwrap().len(), 50);
        let stub = body(&Profile { user: 3, name: None, created: at(0) }.write(Stamp::default()));
        assert_eq!((&stub["displayName"], stub.get("firstName")), (&json!("3"), None));
    }
}
