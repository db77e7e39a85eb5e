//! What every projection must be, given the sources: said as plainly as possible and computed without any shortcut.
//!
//! Documents are as a reader sees them: what is a tombstone, withdrawn or expired is absent, and the fields that only
//! the engine writes are left out (see [`visible`]). Items past 64 KB, which the processors cut, are not imitated.
//! Read `sources.rs` first.

mod counters;
mod feed;
mod notifications;
mod profiles;
mod sources;
mod visible;

use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_documents::containers;
use jiff::Timestamp;
use serde_json::Value;

pub use sources::{InvalidSource, Post, Sources};
pub use visible::visible;

use sources::{Follow, Reaction};

/// What of the configuration decides what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `user_feed.own_posts`
    pub own_posts: bool,
    /// `user_feed.replies`
    pub replies: bool,
    /// `user_feed.retention`
    pub feed_retention: Option<Duration>,
    /// `notifications.own_actions`
    pub own_actions: bool,
    /// `notifications.retention`
    pub retention: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        let retention = Some(Duration::from_secs(30 * 24 * 60 * 60));
        Self { own_posts: false, replies: true, feed_retention: None, own_actions: false, retention }
    }
}

impl Options {
    /// As checks on the LDBC data need them: old events are told, and people's own actions too.
    pub fn ldbc() -> Self {
        Self { own_actions: true, retention: None, ..Self::default() }
    }
}

/// All projections of some sources at one time.
#[derive(Debug)]
pub struct Expected<'a> {
    sources: &'a Sources,
    options: Options,
    now: Timestamp,
    /// All posts by author, withdrawn ones too.
    posts_by_author: BTreeMap<&'a str, Vec<&'a Post>>,
    /// Live replies by the post they reply to.
    replies: BTreeMap<&'a str, Vec<&'a Post>>,
    /// Live reactions by post.
    reactions: BTreeMap<&'a str, Vec<&'a Reaction>>,
    /// Live edges by who follows.
    following: BTreeMap<&'a str, Vec<&'a Follow>>,
    /// Live edges by who is followed.
    followers: BTreeMap<&'a str, Vec<&'a Follow>>,
}

impl<'a> Expected<'a> {
    /// `now` decides what has expired.
    pub fn new(sources: &'a Sources, options: Options, now: Timestamp) -> Self {
        let mut expected = Self {
            sources,
            options,
            now,
            posts_by_author: BTreeMap::new(),
            replies: BTreeMap::new(),
            reactions: BTreeMap::new(),
            following: BTreeMap::new(),
            followers: BTreeMap::new(),
        };
        for post in sources.posts.values() {
            expected.posts_by_author.entry(&post.author_id).or_default().push(post);
            if let Some(parent) = post.reply_to_post_id.as_deref().filter(|_| post.is_live()) {
                expected.replies.entry(parent).or_default().push(post);
            }
        }
        for reaction in sources.reactions.values().filter(|reaction| reaction.deleted_at.is_none()) {
            expected.reactions.entry(&reaction.post_id).or_default().push(reaction);
        }
        for follow in sources.follows.values().filter(|follow| follow.deleted_at.is_none()) {
            expected.following.entry(&follow.follower_id).or_default().push(follow);
            expected.followers.entry(&follow.followee_id).or_default().push(follow);
        }
        expected
    }

    /// Every visible document of a derived container, or of `publicProfiles`, by id. Empty for a container that is
    /// neither.
    pub fn documents(&self, container: &str) -> Box<dyn Iterator<Item = (String, Value)> + '_> {
        let documents: Box<dyn Iterator<Item = Value>> = match container {
            containers::USER_FEED => Box::new(self.all_feeds()),
            containers::COUNTERS => Box::new(self.all_counters()),
            containers::NOTIFICATIONS => Box::new(self.all_notifications()),
            containers::PUBLIC_PROFILES => Box::new(self.all_profiles()),
            _ => Box::new(std::iter::empty()),
        };
        Box::new(documents.map(|document| (document["id"].as_str().unwrap_or_default().to_owned(), document)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-02-01.
    pub(super) const NOW: Timestamp = Timestamp::constant(1_580_515_200, 0);

    /// Sources from lines of JSON, each with its container as `in`.
    pub(super) fn sources(lines: &str) -> Sources {
        let mut sources = Sources::default();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let mut document: Value = serde_json::from_str(line).unwrap();
            let container = document.as_object_mut().unwrap().remove("in").unwrap();
            sources.put(container.as_str().unwrap(), &document.to_string().into()).unwrap();
        }
        sources
    }

    /// Ann follows bob, bob follows cid muted, cid no longer follows bob.
    pub(super) const FEED_SOURCES: &str = r#"
        {"in":"follows","followeeId":"bob","followerId":"ann","createdAt":"2020-01-09T00:00:00Z"}
        {"in":"follows","followeeId":"cid","followerId":"bob","createdAt":"2020-01-01T00:00:00Z","muted":true}
        {"in":"follows","followeeId":"bob","followerId":"cid","createdAt":"2020-01-01T00:00:00Z","deletedAt":"2020-01-02T00:00:00Z"}
        {"in":"posts_v2","id":"p2","postId":"p2","authorId":"bob","createdAt":"2020-01-01T00:00:00.000Z","status":"published"}
        {"in":"posts_v2","id":"p1","postId":"p1","authorId":"bob","createdAt":"2020-01-01T00:00:00.000Z","status":"published"}
        {"in":"posts_v2","id":"p3","postId":"p3","authorId":"bob","createdAt":"2020-01-03T00:00:00.000Z","status":"published","replyToPostId":"c1","mood":"blue","_etag":"x"}
        {"in":"posts_v2","id":"p4","postId":"p4","authorId":"bob","createdAt":"2020-01-04T00:00:00.000Z","status":"hidden"}
        {"in":"posts_v2","id":"p5","postId":"p5","authorId":"bob","createdAt":"2020-01-05T00:00:00.000Z","status":"published","deletedAt":"2020-01-06T00:00:00.000Z"}
        {"in":"posts_v2","id":"c1","postId":"c1","authorId":"cid","createdAt":"2020-01-02T00:00:00.000Z","status":"published"}"#;

    #[test]
    fn only_profiles_that_are_not_withdrawn_are_shown() {
        let sources = sources(
            r#"{"in":"publicProfiles","id":"ann","userId":"ann","displayName":"Ann","_ts":1}
               {"in":"publicProfiles","id":"bob","userId":"bob","deletedAt":"2020-01-01T00:00:00Z"}"#,
        );
        let expected = Expected::new(&sources, Options::default(), NOW);
        let profiles: Vec<_> = expected.documents("publicProfiles").collect();
        let ann = serde_json::json!({"id": "ann", "userId": "ann", "displayName": "Ann"});
        assert_eq!(profiles, [("ann".to_owned(), ann)]);
        assert_eq!(sources.users().collect::<Vec<_>>(), ["ann"]);
    }
}
