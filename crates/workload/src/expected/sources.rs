use std::collections::BTreeMap;

use bytes::Bytes;
use feedmill_documents::containers;
use feedmill_documents::notification::Preferences;
use jiff::Timestamp;
use serde::Deserialize;

use crate::SourceWrite;

/// The source documents, each in its newest version.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub(super) posts: BTreeMap<String, Post>,
    /// By followee and follower.
    pub(super) follows: BTreeMap<(String, String), Follow>,
    /// By post and user.
    pub(super) reactions: BTreeMap<(String, String), Reaction>,
    pub(super) profiles: BTreeMap<String, Profile>,
    /// By the person on whose side it is, and the other.
    pub(super) blocks: BTreeMap<(String, String), Block>,
    /// What people want to be shown of their notifications.
    pub(super) preferences: BTreeMap<String, Preferences>,
}

/// A document that is none of a source container, or lacks what one needs.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSource {
    #[error("{0} is no source container")]
    Container(String),
    #[error("read a document of {container}")]
    Document { container: String, source: serde_json::Error },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    pub post_id: String,
    pub author_id: String,
    pub created_at: Timestamp,
    pub reply_to_post_id: Option<String>,
    pub status: String,
    pub deleted_at: Option<Timestamp>,
    #[serde(default)]
    version: u64,
    /// JSON text of all of it.
    #[serde(skip)]
    pub body: Bytes,
}

impl Post {
    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none() && self.status == "published"
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Follow {
    pub(super) followee_id: String,
    pub(super) follower_id: String,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) muted: bool,
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(default)]
    version: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reaction {
    pub(super) post_id: String,
    pub(super) user_id: String,
    pub(super) r#type: String,
    pub(super) created_at: Timestamp,
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(default)]
    version: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    pub(super) user_id: String,
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(default)]
    version: u64,
    #[serde(skip)]
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block {
    user_id: String,
    other_id: String,
    pub(super) deleted_at: Option<Timestamp>,
    #[serde(default)]
    version: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preferring {
    recipient_id: String,
    #[serde(flatten)]
    preferences: Preferences,
}

impl Sources {
    /// Takes a document of a source container; of two versions the higher one stays, of two equal ones the later.
    pub fn put(&mut self, container: &str, body: &Bytes) -> Result<(), InvalidSource> {
        let invalid = |source| InvalidSource::Document { container: container.to_owned(), source };
        match container {
            containers::POSTS => {
                let post: Post = serde_json::from_slice(body).map_err(invalid)?;
                let post = Post { body: body.clone(), ..post };
                newest(&mut self.posts, post.post_id.clone(), post, |post| post.version);
            }
            containers::FOLLOWS => {
                let follow: Follow = serde_json::from_slice(body).map_err(invalid)?;
                let key = (follow.followee_id.clone(), follow.follower_id.clone());
                newest(&mut self.follows, key, follow, |follow| follow.version);
            }
            containers::REACTIONS => {
                let reaction: Reaction = serde_json::from_slice(body).map_err(invalid)?;
                let key = (reaction.post_id.clone(), reaction.user_id.clone());
                newest(&mut self.reactions, key, reaction, |reaction| reaction.version);
            }
            containers::BLOCKS => {
                let block: Block = serde_json::from_slice(body).map_err(invalid)?;
                let key = (block.user_id.clone(), block.other_id.clone());
                newest(&mut self.blocks, key, block, |block| block.version);
            }
            // Of these the preferences alone are a source.
            containers::NOTIFICATIONS => {
                let Preferring { recipient_id, preferences } = serde_json::from_slice(body).map_err(invalid)?;
                self.preferences.insert(recipient_id, preferences);
            }
            containers::PUBLIC_PROFILES => {
                let profile: Profile = serde_json::from_slice(body).map_err(invalid)?;
                let profile = Profile { body: body.clone(), ..profile };
                newest(&mut self.profiles, profile.user_id.clone(), profile, |profile| profile.version);
            }
            other => return Err(InvalidSource::Container(other.to_owned())),
        }
        Ok(())
    }

    pub fn apply(&mut self, write: &SourceWrite) -> Result<(), InvalidSource> {
        self.put(write.container, &write.body)
    }

    /// A post whatever its state.
    pub fn post(&self, post_id: &str) -> Option<&Post> {
        self.posts.get(post_id)
    }

    /// Whether there is a block on `user`'s side between the two, whichever of them made it.
    pub(super) fn blocked(&self, user: &str, other: &str) -> bool {
        self.blocks.get(&(user.to_owned(), other.to_owned())).is_some_and(|block| block.deleted_at.is_none())
    }

    /// Ids of all people with a profile that is not withdrawn.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        let live = self.profiles.values().filter(|profile| profile.deleted_at.is_none());
        live.map(|profile| profile.user_id.as_str())
    }
}

fn newest<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, version: impl Fn(&V) -> u64) {
    if map.get(&key).is_none_or(|old| version(old) <= version(&value)) {
        map.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(version: u64, status: &str) -> Bytes {
        let post = serde_json::json!({
            "postId": "1", "authorId": "2", "createdAt": "2010-01-01T00:00:00Z", "status": status, "version": version
        });
        post.to_string().into()
    }

    #[test]
    fn of_two_versions_the_higher_one_stays_whatever_the_order() {
        for order in [[0, 1], [1, 0]] {
            let mut sources = Sources::default();
            for version in order {
                let status = if version == 1 { "removed" } else { "published" };
                sources.put("posts_v2", &post(version, status)).unwrap();
            }
            assert!(!sources.post("1").unwrap().is_live(), "{order:?}");
        }
    }

    #[test]
    fn what_is_no_source_document_is_refused() {
        let mut sources = Sources::default();
        assert!(sources.put("userFeed", &post(0, "published")).is_err());
        assert!(sources.put("follows", &post(0, "published")).is_err());
    }
}
