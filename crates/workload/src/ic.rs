//! The benchmark's questions IC2, IC7 and IC8 and its counters, answered from projection documents.
//!
//! Takes documents as they are stored, tombstones and withdrawn ones too, in any order. Ids are text in documents and
//! numbers in the benchmark, so ties go by number here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use feedmill_documents::counter;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Rows of every answer at most.
pub const ROWS_MAX: usize = 20;

/// A document that cannot be part of an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("document {id}: field {field} is {found}, expected {expected}")]
    Field { id: String, field: &'static str, found: String, expected: &'static str },
    #[error("document {id} is about post {post}, which is not there")]
    NoPost { id: String, post: String },
}

/// A message of a friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ic2Row {
    pub author: u64,
    pub message: u64,
    pub created_ms: i64,
}

/// Somebody's latest like on any message of the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ic7Row {
    pub liker: u64,
    pub like_ms: i64,
    pub message: u64,
    /// Whole minutes from the message to the like.
    pub minutes: i64,
    /// Not a friend.
    pub is_new: bool,
}

/// A direct reply to a message of the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ic8Row {
    pub replier: u64,
    pub created_ms: i64,
    pub comment: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub friends: u64,
    pub messages: u64,
    pub likes_received: u64,
    pub replies_received: u64,
}

/// From the `userFeed` documents of the person: what was created up to `max_date_ms`.
pub fn ic2(feed: &[Value], max_date_ms: Option<i64>) -> Result<Vec<Ic2Row>, Error> {
    let mut rows = Vec::new();
    for item in feed.iter().filter(|item| is_there(item)) {
        let row =
            Ic2Row { author: id(item, "authorId")?, message: id(item, "postId")?, created_ms: ms(item, "createdAt")? };
        if max_date_ms.is_none_or(|max| row.created_ms <= max) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| (Reverse(row.created_ms), row.message));
    rows.truncate(ROWS_MAX);
    Ok(rows)
}

/// From the `notifications` and `following` documents of the person. `post` gives a message of the person's as a document
/// of `authorPosts` or `posts_v2`.
pub fn ic7(
    notifications: &[Value],
    following: &[Value],
    post: impl Fn(&str) -> Option<Value>,
) -> Result<Vec<Ic7Row>, Error> {
    let friends = following.iter().filter(|edge| is_there(edge));
    let friends: BTreeSet<u64> = friends.map(|edge| id(edge, "followeeId")).collect::<Result<_, _>>()?;
    // By liker: the latest time, then the lowest message.
    let mut latest: BTreeMap<u64, (Reverse<i64>, u64, &Value)> = BTreeMap::new();
    for like in
        notifications.iter().filter(|like| is_there(like) && like["kind"] == "reaction" && like["type"] == "like")
    {
        let (liker, found) = (id(like, "actorId")?, (Reverse(ms(like, "createdAt")?), id(like, "postId")?, like));
        let best = latest.entry(liker).or_insert(found);
        if (found.0, found.1) < (best.0, best.1) {
            *best = found;
        }
    }
    let mut likes: Vec<_> = latest.into_iter().collect();
    likes.sort_by_key(|(liker, (like_ms, ..))| (*like_ms, *liker));
    likes.truncate(ROWS_MAX);
    let row = |(liker, (Reverse(like_ms), message, like)): (u64, (Reverse<i64>, u64, &Value))| {
        let missing = || Error::NoPost { id: text(like, "id"), post: message.to_string() };
        let created_ms = ms(&post(&message.to_string()).ok_or_else(missing)?, "createdAt")?;
        let minutes = (like_ms - created_ms).div_euclid(60_000);
        Ok(Ic7Row { liker, like_ms, message, minutes, is_new: !friends.contains(&liker) })
    };
    likes.into_iter().map(row).collect()
}

/// From the `notifications` documents of the person.
pub fn ic8(notifications: &[Value]) -> Result<Vec<Ic8Row>, Error> {
    let replies = notifications.iter().filter(|reply| is_there(reply) && reply["kind"] == "reply");
    let row = |reply| {
        Ok(Ic8Row {
            replier: id(reply, "actorId")?,
            created_ms: ms(reply, "createdAt")?,
            comment: id(reply, "postId")?,
        })
    };
    let mut rows: Vec<_> = replies.map(row).collect::<Result<_, Error>>()?;
    rows.sort_by_key(|row| (Reverse(row.created_ms), row.comment));
    rows.truncate(ROWS_MAX);
    Ok(rows)
}

/// From `counters`, where `counter` gives the value by subject and name; an absent one counts 0. `posts`: ids of the
/// person's live messages, as `authorPosts` lists them.
pub fn counts<'a>(
    person: &str,
    posts: impl IntoIterator<Item = &'a str>,
    counter: impl Fn(&str, &str) -> Option<u64>,
) -> Counts {
    let value = |subject: &str, name| counter(subject, name).unwrap_or(0);
    let mut counts = Counts {
        friends: value(person, counter::FOLLOWERS),
        messages: value(person, counter::POSTS),
        ..Counts::default()
    };
    for post in posts {
        counts.likes_received += value(post, counter::LIKES);
        counts.replies_received += value(post, counter::REPLIES);
    }
    counts
}

impl Ic2Row {
    /// As the oracle files have it.
    pub fn oracle(&self) -> Value {
        json!([self.author, self.message, self.created_ms])
    }

    /// As the official answers have it, with times in whole seconds. `profile` is the author's, `post` the message.
    pub fn official(&self, profile: &Value, post: &Value) -> Value {
        let Self { author, message, created_ms } = self;
        json!([author, profile["firstName"], profile["lastName"], message, post["content"], created_ms / 1_000])
    }
}

impl Ic7Row {
    /// As the oracle files have it.
    pub fn oracle(&self) -> Value {
        json!([self.liker, self.like_ms, self.message, self.minutes, self.is_new])
    }

    /// As the official answers have it, with times in whole seconds. `profile` is the liker's, `post` the message.
    pub fn official(&self, profile: &Value, post: &Value) -> Value {
        let (first, last, content) = (&profile["firstName"], &profile["lastName"], &post["content"]);
        json!([self.liker, first, last, self.like_ms / 1_000, self.message, content, self.minutes, self.is_new])
    }
}

impl Ic8Row {
    /// As the oracle files have it.
    pub fn oracle(&self) -> Value {
        json!([self.replier, self.created_ms, self.comment])
    }

    /// As the official answers have it, with times in whole seconds. `profile` is the replier's, `post` the reply.
    pub fn official(&self, profile: &Value, post: &Value) -> Value {
        let Self { replier, created_ms, comment } = self;
        json!([replier, profile["firstName"], profile["lastName"], created_ms / 1_000, comment, post["content"]])
    }
}

fn is_there(document: &Value) -> bool {
    document.get("deletedAt").is_none() && document["withdrawn"] != true
}

fn id(document: &Value, field: &'static str) -> Result<u64, Error> {
    let number = document[field].as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(document, field, "a number as text"))
}

fn ms(document: &Value, field: &'static str) -> Result<i64, Error> {
    let time = document[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map(Timestamp::as_millisecond).ok_or_else(|| wrong(document, field, "a time"))
}

fn wrong(document: &Value, field: &'static str, expected: &'static str) -> Error {
    Error::Field { id: text(document, "id"), field, found: document[field].to_string(), expected }
}

fn text(document: &Value, field: &str) -> String {
    document[field].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> String {
        crate::source::iso(Timestamp::from_second(minute * 60).unwrap())
    }

    fn item(post: u64, author: u64, minute: i64) -> Value {
        json!({"id": format!("1:{post}"), "postId": post.to_string(), "authorId": author.to_string(), "createdAt": at(minute)})
    }

    fn told(kind: &str, post: u64, actor: u64, minute: i64) -> Value {
        let (post, actor) = (post.to_string(), actor.to_string());
        json!({"id": "n", "kind": kind, "type": "like", "postId": post, "actorId": actor, "createdAt": at(minute)})
    }

    fn changed(mut document: Value, field: &str, value: Value) -> Value {
        document[field] = value;
        document
    }

    #[test]
    fn ic2_has_the_newest_first_and_ties_by_number() {
        let feed = [item(9, 5, 1), item(10, 5, 1), item(2, 6, 2), changed(item(3, 6, 3), "deletedAt", json!(at(4)))];
        let messages = |max| ic2(&feed, max).unwrap().iter().map(|row| row.message).collect::<Vec<_>>();
        assert_eq!(messages(None), [2, 9, 10]);
        assert_eq!(messages(Some(60_000)), [9, 10]);
        let many: Vec<_> = (0..30).map(|post| item(post, 5, 1)).collect();
        assert_eq!(ic2(&many, None).unwrap().len(), 20);
    }

    #[test]
    fn ic7_has_only_the_latest_like_of_each_and_of_equal_ones_the_lowest_message() {
        let likes = [
            told("reaction", 10, 7, 5),
            told("reaction", 9, 7, 5),
            told("reaction", 8, 7, 4),
            told("reaction", 8, 6, 5),
            told("reply", 8, 5, 9),
            changed(told("reaction", 8, 4, 9), "withdrawn", json!(true)),
            changed(told("reaction", 8, 3, 9), "type", json!("wow")),
        ];
        let friends = [json!({"followeeId": "6"}), json!({"followeeId": "7", "deletedAt": at(0)})];
        let post = |id: &str| Some(json!({"createdAt": if id == "9" { at(2) } else { at(1) }}));
        let row = |liker, message, minutes, is_new| Ic7Row { liker, like_ms: 300_000, message, minutes, is_new };
        assert_eq!(ic7(&likes, &friends, post).unwrap(), [row(6, 8, 4, false), row(7, 9, 3, true)]);
    }

    #[test]
    fn ic8_has_replies_that_are_still_there() {
        let replies = [
            told("reply", 9, 5, 1),
            told("reply", 10, 6, 1),
            told("reply", 2, 5, 2),
            changed(told("reply", 3, 5, 3), "withdrawn", json!(true)),
            told("reaction", 4, 5, 4),
        ];
        let comments: Vec<_> = ic8(&replies).unwrap().iter().map(|row| row.comment).collect();
        assert_eq!(comments, [2, 9, 10]);
    }

    #[test]
    fn counters_of_all_posts_add_up() {
        let counter = |subject: &str, name: &str| match (subject, name) {
            ("1", "followers") => Some(3),
            ("1", "posts") => Some(2),
            ("8" | "9", "likes") => Some(5),
            ("9", "replies") => Some(1),
            _ => None,
        };
        let expected = Counts { friends: 3, messages: 2, likes_received: 10, replies_received: 1 };
        assert_eq!(counts("1", ["8", "9"], counter), expected);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_named() {
        let error = ic2(&[changed(item(9, 5, 1), "authorId", json!("x"))], None).unwrap_err().to_string();
        assert_eq!(error, "document 1:9: field authorId is \"x\", expected a number as text");
        let error = ic7(&[told("reaction", 8, 6, 5)], &[], |_| None).unwrap_err().to_string();
        assert_eq!(error, "document n is about post 8, which is not there");
    }
}
