//! Which cause tells whom, and what the notification says.

use feedmill_documents::notification::{Kind, Notification};
use feedmill_documents::{DecodeError, Follow, Members, Post, Reaction, time};
use jiff::Timestamp;

use crate::Options;

/// What happened, as its cause says it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) actor: String,
    /// What happened, in the notification's id: the reply, the post reacted to, the followee.
    pub(crate) subject: String,
    /// The post replied to.
    parent: Option<String>,
    reaction_type: Option<String>,
    /// `None` where the cause does not say it.
    at: Option<Timestamp>,
    live: bool,
}

/// What a cause says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Event(Event),
    /// An index's tombstone: the cause is gone, and with it who did what.
    Gone(Timestamp),
}

/// Decodes a cause of this kind.
pub(crate) fn told(kind: Kind, json: &[u8]) -> Result<Told, DecodeError> {
    if let Some(deleted_at) = Members::parse(json)?.tombstone() {
        return Ok(Told::Gone(deleted_at));
    }
    Ok(Told::Event(match kind {
        Kind::Reaction => {
            let reaction = Reaction::decode(json)?;
            let (at, live) = (reaction.created_at, reaction.is_live());
            let (actor, subject) = (reaction.user_id, reaction.post_id);
            Event { kind, actor, subject, parent: None, reaction_type: reaction.kind, at, live }
        }
        Kind::Reply => {
            let reply = Post::decode(json)?;
            let (at, live) = (Some(reply.created_at), reply.is_live());
            let (actor, subject) = (reply.author_id, reply.post_id);
            Event { kind, actor, subject, parent: reply.reply_to, reaction_type: None, at, live }
        }
        // A muted edge is one too: muting concerns the follower's feed.
        Kind::Follow => {
            let follow = Follow::decode(json)?;
            let (at, live) = (follow.created_at, follow.is_live());
            let (actor, subject) = (follow.follower_id, follow.followee_id);
            Event { kind, actor, subject, parent: None, reaction_type: None, at, live }
        }
    }))
}

/// Whether somebody is told of what `actor` did: never of what they did themselves, unless by option.
pub(crate) fn concerns(recipient: &str, actor: &str, options: &Options) -> bool {
    options.own_actions || recipient != actor
}

impl Event {
    /// When it happened. Fails when its cause does not say it.
    pub(crate) fn time(&self) -> Result<Timestamp, DecodeError> {
        self.at.ok_or(DecodeError::Missing { field: "createdAt", expected: "a time" })
    }

    /// The notification, and from when on it counts as absent. One whose cause is gone, or whose actor is blocked, stays,
    /// withdrawn, so that doing it again neither tells again nor makes a read one unread. Fails when the event has no time.
    pub(crate) fn notification(
        self,
        options: &Options,
        read: bool,
        blocked: bool,
    ) -> Result<(Notification, Option<Timestamp>), DecodeError> {
        let at = self.time()?;
        let expires_at = options.retention.end(at);
        let notification = Notification {
            post_id: (self.kind != Kind::Follow).then_some(self.subject),
            kind: self.kind,
            reaction_type: self.reaction_type,
            actor_id: self.actor,
            parent_post_id: self.parent,
            created_at: time::text(at),
            expires_at: expires_at.map(time::text),
            read,
            withdrawn: !self.live || blocked,
        };
        Ok((notification, expires_at))
    }
}

#[cfg(test)]
mod tests {
    use feedmill_documents::Retention;

    use super::*;

    const REACTION: &str = r#"{"id":"p:a","postId":"p","userId":"a","type":"love","createdAt":"2020-01-01T00:00:00Z"}"#;
    const REPLY: &str = r#"{"id":"r","postId":"r","authorId":"a","createdAt":"2020-01-01T00:00:00Z","status":"published","replyToPostId":"p"}"#;
    const FOLLOW: &str = r#"{"id":"u:a","followeeId":"u","followerId":"a","createdAt":"2020-01-01T00:00:00Z"}"#;

    fn says(kind: Kind, json: &str, retention: Retention, read: bool) -> serde_json::Value {
        let Told::Event(event) = told(kind, json.as_bytes()).unwrap() else { panic!("an event") };
        let options = Options { retention, ..Options::default() };
        serde_json::to_value(event.notification(&options, read, false).unwrap().0).unwrap()
    }

    #[test]
    fn each_kind_says_who_did_what_to_which_post() {
        let at = "2020-01-01T00:00:00.000Z";
        assert_eq!(
            says(Kind::Reaction, REACTION, Retention::NONE, false),
            serde_json::json!({"kind": "reaction", "type": "love", "actorId": "a", "postId": "p", "createdAt": at,
                "read": false, "withdrawn": false})
        );
        assert_eq!(
            says(Kind::Reply, REPLY, Retention::NONE, true),
            serde_json::json!({"kind": "reply", "actorId": "a", "postId": "r", "parentPostId": "p", "createdAt": at,
                "read": true, "withdrawn": false})
        );
        assert_eq!(
            says(Kind::Follow, FOLLOW, Retention::days(30), false),
            serde_json::json!({"kind": "follow", "actorId": "a", "createdAt": at,
                "expiresAt": "2020-01-31T00:00:00.000Z", "read": false, "withdrawn": false})
        );
    }

    #[test]
    fn a_notification_is_withdrawn_with_its_cause() {
        let deleted =
            |json: &str| json.replace("\"createdAt\"", "\"deletedAt\":\"2021-01-01T00:00:00Z\",\"createdAt\"");
        for (kind, json, withdrawn) in [
            (Kind::Reaction, deleted(REACTION), true),
            (Kind::Reply, deleted(REPLY), true),
            (Kind::Reply, REPLY.replace("published", "hidden"), true),
            (Kind::Follow, deleted(FOLLOW), true),
            (Kind::Follow, FOLLOW.replace("\"createdAt\"", "\"muted\":true,\"createdAt\""), false),
        ] {
            assert_eq!(says(kind, &json, Retention::NONE, true)["withdrawn"], withdrawn, "{json}");
            assert_eq!(says(kind, &json, Retention::NONE, true)["read"], true);
            assert_eq!(says(kind, &json, Retention::NONE, true)["createdAt"], "2020-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn nobody_is_told_of_their_own_doing_unless_by_option() {
        let own = Options { own_actions: true, ..Options::default() };
        for (recipient, actor, options, told) in [
            ("a", "b", Options::default(), true),
            ("a", "a", Options::default(), false),
            ("a", "a", own.clone(), true),
            ("a", "b", own, true),
        ] {
            assert_eq!(concerns(recipient, actor, &options), told);
        }
    }

    #[test]
    fn an_event_without_a_time_is_an_error_that_names_the_field() {
        let Told::Event(event) = told(Kind::Follow, br#"{"id":"u:a","followeeId":"u","followerId":"a"}"#).unwrap()
        else {
            panic!("an event")
        };
        assert!(event.notification(&Options::default(), false, false).unwrap_err().to_string().contains("`createdAt`"));
    }

    #[test]
    fn an_index_tombstone_tells_no_more_than_that_it_is_gone() {
        let json = br#"{"id":"r","parentPostId":"p","deletedAt":"2020-01-01T00:00:00.000Z","ttl":1,"_source":{}}"#;
        assert!(matches!(told(Kind::Reply, json), Ok(Told::Gone(_))));
    }
}
