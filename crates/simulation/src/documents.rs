//! The documents that the actors write, as a customer's application would.

use bytes::Bytes;
use feedmill_documents::{containers, id};
use feedmill_store_api::{DocumentId, PartitionKey};
use jiff::Timestamp;
use serde_json::{Value, json};

/// One source document in one version.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) container: &'static str,
    pub(crate) key: PartitionKey,
    pub(crate) id: DocumentId,
    pub(crate) body: Bytes,
}

impl Source {
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the actors write JSON")
    }

    /// A document as it is stored, withdrawn.
    pub(crate) fn withdrawn(container: &'static str, mut document: Value, at: Timestamp) -> Self {
        if let Some(members) = document.as_object_mut() {
            members.retain(|name, _| !name.starts_with('_'));
        }
        document["deletedAt"] = format!("{at:.3}").into();
        let text = |name: &str| document[name].as_str().unwrap_or_default();
        let key = text(match container {
            containers::FOLLOWS => "followeeId",
            containers::BLOCKS => "userId",
            _ => "postId",
        });
        let id = DocumentId::new(text("id")).expect("it is the id of a document");
        Self { container, key: PartitionKey::from(key), id, body: Bytes::from(document.to_string()) }
    }
}

/// What its owner has made of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    /// A post that nobody may see, or an edge that is muted. For a reaction the same as `Live`.
    Veiled,
    Withdrawn(Timestamp),
}

/// When everything in a simulated world was created, in seconds after the world's beginning: the past, a little apart, so
/// that feeds have an order.
fn created(number: u64) -> String {
    let seconds = crate::BEGINNING.as_second() - 3_600 + i64::try_from(number % 60).unwrap_or(0);
    let at = Timestamp::from_second(seconds).expect("an hour before the beginning is a time");
    format!("{at:.3}")
}

/// A post of `authorPosts` or `posts_v2`: both hold the same document, by another key.
pub(crate) fn post(
    container: &'static str,
    number: u64,
    author: &str,
    reply_to: Option<&str>,
    state: State,
    version: u64,
) -> Source {
    let post = format!("p{number}");
    let mut body = json!({
        "id": post, "postId": post, "authorId": author, "createdAt": created(number), "version": version,
        "status": if state == State::Veiled { "hidden" } else { "published" },
    });
    if let Some(parent) = reply_to {
        body["replyToPostId"] = parent.into();
    }
    let key = if container == containers::POSTS { &*post } else { author };
    source(container, key, &[&post], body, state)
}

pub(crate) fn follow(followee: &str, follower: &str, state: State, version: u64) -> Source {
    let mut body = json!({
        "followeeId": followee, "followerId": follower, "createdAt": created(1), "version": version,
    });
    if state == State::Veiled {
        body["muted"] = true.into();
    }
    source(containers::FOLLOWS, followee, &[followee, follower], body, state)
}

pub(crate) fn reaction(post: &str, user: &str, kind: &str, state: State, version: u64) -> Source {
    let body = json!({"postId": post, "userId": user, "type": kind, "createdAt": created(2), "version": version});
    source(containers::REACTIONS, post, &[post, user], body, state)
}

/// One side of a block between two people.
pub(crate) fn block(user: &str, other: &str, state: State, version: u64) -> Source {
    let body = json!({"userId": user, "otherId": other, "createdAt": created(3), "version": version});
    source(containers::BLOCKS, user, &[user, other], body, state)
}

fn source(container: &'static str, key: &str, parts: &[&str], mut body: Value, state: State) -> Source {
    let id = match *parts {
        [one] => id::join([one]),
        [one, other, ..] => id::join([one, other]),
        [] => unreachable!("every document has an id"),
    };
    let id = id.expect("the names of a simulated world are short and plain");
    body["id"] = id.as_str().into();
    if let State::Withdrawn(at) = state {
        body["deletedAt"] = format!("{at:.3}").into();
    }
    Source { container, key: PartitionKey::from(key), id, body: Bytes::from(body.to_string()) }
}
