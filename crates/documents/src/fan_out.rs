//! `fanOut`: work that is left. Of a post whose author has very many followers, what is to be done among which of them; of a
//! post that is not there yet, that somebody must look back once it is. Never any content.

use feedmill_store_api::{DocumentId, ETag};
use serde::{Deserialize, Serialize};

use crate::{IdError, id};

/// One interval of an author's followers to whom one post is to be settled.
///
/// Followers are named as in the ids of their edges, encoded, because that is the order in which they are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    pub post_id: String,
    pub author_id: String,
    /// 0 for the first.
    pub chunk: u32,
    /// The first follower; none for all up to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The first follower after it; none for all from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    pub state: State,
    /// The version of the post that made it work.
    #[serde(rename = "for")]
    pub for_etag: Option<ETag>,
    /// In the first one: where all of them are cut, so that an edit finds the same ones again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<String>,
}

/// `todo` until somebody has settled all of it; back to `todo` with the next version of the post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Todo,
    Done,
}

/// Where the followers of one author are cut for their next posts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// In order.
    pub cuts: Vec<String>,
}

/// Something happened to a post before it was there, so the post's first sight must look for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Early {
    pub post_id: String,
    /// When all of it is too old to tell anybody; none for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// `${postId}:${chunk}`
pub fn chunk_id(post_id: &str, chunk: u32) -> Result<DocumentId, IdError> {
    id::join([post_id, &chunk.to_string()])
}

/// `${authorId}:cuts`. No chunk has this id: theirs end in a number.
pub fn cuts_id(author_id: &str) -> Result<DocumentId, IdError> {
    id::join([author_id, "cuts"])
}

/// `${postId}:early`. No chunk has this id: theirs end in a number.
pub fn early_id(post_id: &str) -> Result<DocumentId, IdError> {
    id::join([post_id, "early"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_which_followers_of_which_version_of_which_post() {
        let chunk = Chunk {
            post_id: "p".into(),
            author_id: "a".into(),
            chunk: 1,
            from: Some("f".into()),
            until: None,
            state: State::Todo,
            for_etag: Some(ETag::new("1")),
            cuts: Vec::new(),
        };
        let text = r#"{"postId":"p","authorId":"a","chunk":1,"from":"f","state":"todo","for":"1"}"#;
        assert_eq!(serde_json::to_string(&chunk).unwrap(), text);
        assert_eq!(serde_json::from_str::<Chunk>(text).unwrap(), chunk);
        assert_eq!(chunk_id("p/1", 12).unwrap().as_str(), "p%2F1:12");
    }
}
