use std::cmp::Reverse;
use std::collections::BTreeSet;

use feedmill_documents::notification::{self, Kind};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Expected;
use crate::source::iso;

impl Expected<'_> {
    /// What `user` is told as documents of `notifications`, newest first, ties by id: who reacted or replied to a post of
    /// theirs, whatever became of the post, and who follows them; nobody with whom there is a block on their side.
    pub fn notifications(&self, user: &str) -> Vec<Value> {
        let mut told = Vec::new();
        for post in self.posts_by_author.get(user).into_iter().flatten() {
            for reaction in self.reactions.get(post.post_id.as_str()).into_iter().flatten() {
                let more = json!({"postId": post.post_id, "type": reaction.r#type});
                let event = (Kind::Reaction, post.post_id.as_str(), reaction.user_id.as_str());
                told.extend(self.notification(user, event, reaction.created_at, more));
            }
            for reply in self.replies.get(post.post_id.as_str()).into_iter().flatten() {
                let more = json!({"postId": reply.post_id, "parentPostId": post.post_id});
                let event = (Kind::Reply, reply.post_id.as_str(), reply.author_id.as_str());
                told.extend(self.notification(user, event, reply.created_at, more));
            }
        }
        for edge in self.followers.get(user).into_iter().flatten() {
            let event = (Kind::Follow, user, edge.follower_id.as_str());
            told.extend(self.notification(user, event, edge.created_at, json!({})));
        }
        let text = |document: &Value, field: &str| document[field].as_str().unwrap_or_default().to_owned();
        told.sort_by_cached_key(|document| (Reverse(text(document, "createdAt")), text(document, "id")));
        told
    }

    /// What of it the user is shown: nothing of a kind that they turned off.
    pub fn shown_notifications(&self, user: &str) -> Vec<Value> {
        let mut shown = self.notifications(user);
        if let Some(preferences) = self.sources.preferences.get(user) {
            shown.retain(|document| !preferences.off.iter().any(|kind| document["kind"] == kind.as_str()));
        }
        shown
    }

    /// `None` where it is the user's own action, from across a block, or too long ago. `more`: the fields of this kind alone.
    fn notification(
        &self,
        recipient: &str,
        (kind, subject, actor): (Kind, &str, &str),
        at: Timestamp,
        more: Value,
    ) -> Option<Value> {
        if actor == recipient && !self.options.own_actions || self.sources.blocked(recipient, actor) {
            return None;
        }
        let id = notification::id(recipient, kind, subject, actor).expect("the sources' ids fit together");
        let mut document = more;
        document["id"] = id.as_str().into();
        document["recipientId"] = recipient.into();
        document["kind"] = kind.as_str().into();
        document["actorId"] = actor.into();
        document["createdAt"] = iso(at).into();
        document["read"] = false.into();
        document["withdrawn"] = false.into();
        if let Some(retention) = self.options.retention {
            let expires = at.checked_add(retention).unwrap_or(Timestamp::MAX);
            if expires <= self.now {
                return None;
            }
            document["expiresAt"] = iso(expires).into();
        }
        Some(document)
    }

    pub(super) fn all_notifications(&self) -> impl Iterator<Item = Value> {
        let users: BTreeSet<&str> = self.posts_by_author.keys().chain(self.followers.keys()).copied().collect();
        users.into_iter().flat_map(move |user| self.notifications(user))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::tests::{NOW, sources};
    use super::*;

    const SOURCES: &str = r#"
        {"in":"posts_v2","postId":"p","authorId":"ann","createdAt":"2020-01-01T00:00:00Z","status":"removed"}
        {"in":"posts_v2","postId":"r","authorId":"bob","createdAt":"2020-01-30T00:00:00Z","status":"published","replyToPostId":"p"}
        {"in":"posts_v2","postId":"s","authorId":"ann","createdAt":"2020-01-29T00:00:00Z","status":"published","replyToPostId":"p"}
        {"in":"posts_v2","postId":"t","authorId":"cid","createdAt":"2020-01-29T00:00:00Z","status":"hidden","replyToPostId":"p"}
        {"in":"reactions","postId":"p","userId":"bob","type":"like","createdAt":"2020-01-28T00:00:00Z"}
        {"in":"reactions","postId":"p","userId":"cid","type":"like","createdAt":"2020-01-28T00:00:00Z","deletedAt":"2020-01-28T00:00:00Z"}
        {"in":"reactions","postId":"p","userId":"dan","type":"wow","createdAt":"2020-01-01T00:00:00Z"}
        {"in":"reactions","postId":"nowhere","userId":"dan","type":"wow","createdAt":"2020-01-28T00:00:00Z"}
        {"in":"follows","followeeId":"ann","followerId":"dan","createdAt":"2020-01-27T00:00:00Z","muted":true}"#;

    fn ids(options: Options) -> Vec<String> {
        let sources = sources(SOURCES);
        Expected::new(&sources, options, NOW).documents("notifications").map(|(id, _)| id).collect()
    }

    #[test]
    fn the_author_is_told_of_live_causes_that_are_not_too_old_and_not_their_own() {
        let expected = ["ann:reply:r:bob", "ann:reaction:p:bob", "ann:follow:ann:dan"];
        assert_eq!(ids(Options::default()), expected);
    }

    #[test]
    fn imports_of_old_data_tell_everything_and_one_s_own_actions() {
        let expected =
            ["ann:reply:r:bob", "ann:reply:s:ann", "ann:reaction:p:bob", "ann:follow:ann:dan", "ann:reaction:p:dan"];
        assert_eq!(ids(Options::ldbc()), expected);
    }

    #[test]
    fn a_kind_that_is_turned_off_is_told_and_not_shown() {
        let off = r#"{"in":"notifications","id":"ann:preferences","recipientId":"ann","off":["reply","follow"]}"#;
        let sources = sources(&format!("{SOURCES}\n{off}"));
        let expected = Expected::new(&sources, Options::default(), NOW);
        let ids = |told: Vec<Value>| told.into_iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(expected.shown_notifications("ann")), ["ann:reaction:p:bob"]);
        assert_eq!(ids(expected.notifications("ann")).len(), 3);
    }

    #[test]
    fn a_notification_has_the_fields_of_its_kind() {
        let sources = sources(SOURCES);
        let all = Expected::new(&sources, Options::default(), NOW).notifications("ann");
        let expected = json!({
            "id": "ann:reply:r:bob", "recipientId": "ann", "kind": "reply", "actorId": "bob", "postId": "r",
            "parentPostId": "p", "createdAt": "2020-01-30T00:00:00.000Z", "expiresAt": "2020-02-29T00:00:00.000Z",
            "read": false, "withdrawn": false
        });
        assert_eq!(all[0], expected);
        assert_eq!((&all[1]["type"], &all[1]["postId"]), (&json!("like"), &json!("p")));
        assert_eq!((all[2].get("postId"), all[2].get("type")), (None, None));
    }
}
