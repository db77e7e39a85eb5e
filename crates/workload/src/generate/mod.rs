//! A social network made from a seed, skewed like real ones: a few accounts have very many followers, a few people write
//! most of the posts, a few posts get most of the likes. One seed and one set of options give one network.
//!
//! Read `graph.rs` for who follows whom, `changes.rs` for what becomes of it.

mod changes;
mod graph;
mod words;
mod zipf;

use std::collections::BTreeSet;
use std::time::Duration;

use feedmill_clock::Entropy;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::SourceWrite;
use crate::source::{Follow, Like, Post, Profile, Stamp};
use zipf::Zipf;

/// What is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Another seed makes another network (default 1).
    pub seed: u64,
    /// Accounts (default 1,000; at least 2).
    pub users: u32,
    /// Accounts that one follows, on average before the same are met twice (default 30).
    pub follows_mean: u32,
    /// Posts, replies among them (default 5,000).
    pub posts: u32,
    /// Part of the posts that are replies, from 0 to 1 (default 0.4).
    pub replies_share: f64,
    /// Likes, about (default 15,000).
    pub likes: u32,
    /// What happens afterwards, about: edits, withdrawals and returns, mutes, blocks, other names (default 0).
    pub changes: u32,
    /// How long all of it took (default 14 days).
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub span: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            users: 1_000,
            follows_mean: 30,
            posts: 5_000,
            replies_share: 0.4,
            likes: 15_000,
            changes: 0,
            span: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

/// A network; holds who follows whom and the frame of each post, not the documents.
pub struct Network {
    begun: Timestamp,
    follows: Vec<Vec<u32>>,
    posts: Vec<PostPlan>,
    likes: Vec<LikePlan>,
}

#[derive(Clone, Copy)]
struct PostPlan {
    author: u32,
    /// Index of the post replied to; always an earlier one.
    reply_to: Option<u32>,
    created: Timestamp,
}

#[derive(Clone, Copy)]
struct LikePlan {
    post: u32,
    user: u32,
    created: Timestamp,
}

/// Posts are numbered from here, so that nobody takes one for an account.
const POST_FIRST: u64 = 1_000_000_000;
/// How much more the busiest write and like than the others.
const ACTIVITY_EXPONENT: f64 = 0.7;
/// How much more the most liked posts are liked than the others.
const ATTENTION_EXPONENT: f64 = 0.8;
/// Replies go to one of about so many posts before them.
const REPLY_DISTANCE_MEAN: f64 = 100.0;
/// Likes come about so long after the post.
const LIKE_DELAY_MEAN_SECONDS: f64 = 4.0 * 3_600.0;

impl Network {
    /// Everything lies before `end`.
    pub fn new(options: &Options, end: Timestamp) -> Self {
        let entropy = Entropy::seeded(options.seed);
        let users = options.users.max(2) as usize;
        let span = SignedDuration::try_from(options.span).unwrap_or(SignedDuration::MAX);
        let begun = end.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH).min(end);
        let follows = graph::follows(users, options.follows_mean, &entropy);
        let busy = Busy { by_rank: graph::shuffled(users, &entropy), activity: Zipf::new(users, ACTIVITY_EXPONENT) };
        let posts = posts(options, &busy, (begun, end), &entropy);
        let likes = likes(options, &busy, (&posts, end), &entropy);
        Self { begun, follows, posts, likes }
    }

    /// How many documents [`Self::writes`] gives.
    pub fn documents(&self) -> u64 {
        let follows: usize = self.follows.iter().map(Vec::len).sum();
        (self.follows.len() + follows + self.posts.len() + self.likes.len()) as u64
    }

    /// The source documents; causes come before effects.
    pub fn writes(&self) -> impl Iterator<Item = SourceWrite> + Send {
        let live = Stamp::default();
        let profiles = (0..self.follows.len()).map(move |user| {
            let profile = Profile { user: account(user), name: Some(words::name(user)), created: self.begun };
            profile.write(live)
        });
        let follows = self.follows.iter().enumerate().flat_map(move |(user, followees)| {
            let follow = move |followee: &u32| Follow {
                followee: account(*followee as usize),
                follower: account(user),
                created: self.begun,
            };
            followees.iter().map(move |followee| follow(followee).write(live))
        });
        let posts = self.posts.iter().enumerate().map(move |(index, plan)| {
            let post = Post {
                post: post_id(index),
                author: account(plan.author as usize),
                reply_to: plan.reply_to.map(|parent| post_id(parent as usize)),
                content: Some(&words::sentence(index, plan.reply_to.is_some())),
                created: plan.created,
            };
            post.write(live)
        });
        let likes = self.likes.iter().map(move |plan| {
            let (post, user) = (post_id(plan.post as usize), account(plan.user as usize));
            Like { post, user, created: plan.created }.write(live)
        });
        profiles.chain(follows).chain(posts).chain(likes)
    }
}

struct Busy {
    by_rank: Vec<u32>,
    activity: Zipf,
}

impl Busy {
    fn someone(&self, entropy: &Entropy) -> u32 {
        self.by_rank[self.activity.draw(entropy)]
    }
}

fn posts(options: &Options, busy: &Busy, (begun, end): (Timestamp, Timestamp), entropy: &Entropy) -> Vec<PostPlan> {
    let step = end.duration_since(begun).as_secs_f64() / f64::from(options.posts.max(1));
    let plan = |index: u32| {
        let since = step * (f64::from(index) + entropy.unit());
        let distance = 1.0 + graph::exponential(REPLY_DISTANCE_MEAN, entropy);
        let is_reply = entropy.unit() < options.replies_share;
        PostPlan {
            author: busy.someone(entropy),
            reply_to: if is_reply { index.checked_sub(distance as u32) } else { None },
            created: later(begun, since, end),
        }
    };
    (0..options.posts).map(plan).collect()
}

/// Post by post, so that likes of one post are written together.
fn likes(options: &Options, busy: &Busy, (posts, end): (&[PostPlan], Timestamp), entropy: &Entropy) -> Vec<LikePlan> {
    if posts.is_empty() {
        return Vec::new();
    }
    let ranks = graph::shuffled(posts.len(), entropy);
    let attention = Zipf::new(posts.len(), ATTENTION_EXPONENT);
    let mut likes = Vec::new();
    for ((index, post), rank) in (0..).zip(posts).zip(ranks) {
        // The fraction decides by chance, or the many posts with less than one like in expectation would get none.
        let wanted = (f64::from(options.likes) * attention.share(rank as usize) + entropy.unit()).floor() as usize;
        let users: BTreeSet<u32> = (0..wanted).map(|_| busy.someone(entropy)).collect();
        for user in users {
            let created = later(post.created, graph::exponential(LIKE_DELAY_MEAN_SECONDS, entropy), end);
            likes.push(LikePlan { post: index, user, created });
        }
    }
    likes
}

fn later(time: Timestamp, seconds: f64, end: Timestamp) -> Timestamp {
    let milliseconds = SignedDuration::from_millis((seconds * 1_000.0) as i64);
    time.checked_add(milliseconds).unwrap_or(end).min(end)
}

fn account(index: usize) -> u64 {
    index as u64 + 1
}

fn post_id(index: usize) -> u64 {
    POST_FIRST + index as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// 2020-02-01.
    const END: Timestamp = Timestamp::constant(1_580_515_200, 0);

    fn small(seed: u64) -> Options {
        Options { seed, users: 100, follows_mean: 5, posts: 400, likes: 1_000, ..Options::default() }
    }

    fn writes(options: &Options) -> Vec<SourceWrite> {
        Network::new(options, END).writes().collect()
    }

    #[test]
    fn one_seed_gives_one_network_and_another_seed_another() {
        assert_eq!(writes(&small(1)), writes(&small(1)));
        assert_ne!(writes(&small(1)), writes(&small(2)));
    }

    #[test]
    fn every_document_is_there_once_after_what_it_refers_to_and_before_the_end() {
        let network = Network::new(&small(1), END);
        let mut made: BTreeMap<(&str, String), Timestamp> = BTreeMap::new();
        for write in network.writes() {
            let body: Value = serde_json::from_slice(&write.body).unwrap();
            let text = |field: &str| body[field].as_str().map(str::to_owned);
            let created: Timestamp = text("createdAt").unwrap().parse().unwrap();
            let causes = match write.container {
                "follows" => [("publicProfiles", text("followeeId")), ("publicProfiles", text("followerId"))],
                "posts_v2" => [("publicProfiles", text("authorId")), ("posts_v2", text("replyToPostId"))],
                "reactions" => [("publicProfiles", text("userId")), ("posts_v2", text("postId"))],
                _ => [("publicProfiles", None), ("publicProfiles", None)],
            };
            for (container, id) in causes {
                assert!(id.is_none_or(|id| made[&(container, id)] <= created), "{body}");
            }
            assert!(created <= END);
            assert_eq!(made.insert((write.container, write.id.to_string()), created), None, "{body}");
        }
        assert_eq!(made.len() as u64, network.documents());
    }

    #[test]
    fn there_is_about_as_much_of_everything_as_was_asked_for() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut replies = 0;
        for write in writes(&small(3)) {
            *counts.entry(write.container).or_default() += 1;
            let body: Value = serde_json::from_slice(&write.body).unwrap();
            replies += usize::from(body.get("replyToPostId").is_some());
        }
        assert_eq!((counts["publicProfiles"], counts["posts_v2"]), (100, 400));
        assert!((300..800).contains(&counts["follows"]), "{counts:?}");
        assert!((700..1_100).contains(&counts["reactions"]), "{counts:?}");
        assert!((100..180).contains(&replies), "{replies} replies");
    }

    #[test]
    fn a_network_without_posts_is_one_too() {
        let options = Options { posts: 0, users: 0, ..small(1) };
        assert!(writes(&options).iter().all(|write| ["publicProfiles", "follows"].contains(&write.container)));
    }
}
