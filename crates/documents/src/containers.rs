//! Every container feedmill reads or keeps: name, partition key, time to live, indexes.

use feedmill_store_api::{ContainerSpec, DefaultTtl, Order};

pub const POSTS: &str = "posts_v2";
pub const REACTIONS: &str = "reactions";
pub const FOLLOWS: &str = "follows";
pub const BLOCKS: &str = "blocks";
pub const FOLLOWING: &str = "following";
pub const AUTHOR_POSTS: &str = "authorPosts";
pub const POST_REPLIES: &str = "postReplies";
pub const USER_FEED: &str = "userFeed";
pub const COUNTERS: &str = "counters";
pub const NOTIFICATIONS: &str = "notifications";
pub const PUBLIC_PROFILES: &str = "publicProfiles";
pub const FAN_OUT: &str = "fanOut";
pub const LEASES: &str = "leases";
pub const DEAD_LETTERS: &str = "deadLetters";

/// The container that belongs to version `name` of `base`, as `other` does to `base`: `fanOut_v2` to `userFeed_v2`.
pub fn beside(name: &str, base: &str, other: &str) -> String {
    format!("{other}{}", name.strip_prefix(base).unwrap_or_default())
}

/// What the processors of version `name` of `base` are called: as those of `base` are, and after the version. So each version
/// has leases of its own, and goes on from them wherever it is used.
pub fn processor_of(name: &str, base: &str, processor: &str) -> String {
    if name == base { processor.to_owned() } else { format!("{processor}@{name}") }
}

/// Reads the name of a version of `base`; for options.
pub fn version_of(name: String, base: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if is_version_of(&name, base) && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain) {
        return Ok(name);
    }
    Err(format!(
        "not a version of {base}: {name:?}, expected {base}, or {base}_ and letters or digits such as {base}_v2"
    ))
}

/// Whether `name` is the container `base`, or a version of it that is built beside it: `userFeed_v2` of `userFeed`.
pub fn is_version_of(name: &str, base: &str) -> bool {
    name.strip_prefix(base).is_some_and(|version| version.is_empty() || version.starts_with('_'))
}

/// Names are parts of the ids of leases.
const NAME_BYTES_MAX: usize = 100;

const DAY_SECONDS: u32 = 24 * 60 * 60;

/// Lineage is never searched for; indexed, it would add half to the price of a feed item.
const LINEAGE: &str = "/_source/*";
/// The lineage of a count.
const AS_OF: &str = "/asOf/*";

/// All of them. `partitions`: physical partitions of each container that grows with the customer; what is small has one.
pub fn all(partitions: u32) -> Vec<ContainerSpec> {
    use Order::{Ascending, Descending};
    // Time to live is on, but only what has a `ttl` of its own expires.
    let source = |name: &str, key: &str| ContainerSpec::new(name, key).ttl(DefaultTtl::Forever).partitions(partitions);
    let derived = |name: &str, key: &str| source(name, key).exclude(LINEAGE);
    let small = |name: &str| ContainerSpec::new(name, "/id").ttl(DefaultTtl::Forever);
    vec![
        source(POSTS, "/postId")
            .composite_index(&[("/authorId", Ascending), ("/createdAt", Descending)])
            .composite_index(&[("/status", Ascending), ("/createdAt", Descending)]),
        source(REACTIONS, "/postId").composite_index(&[
            ("/postId", Ascending),
            ("/type", Ascending),
            ("/createdAt", Descending),
        ]),
        source(FOLLOWS, "/followeeId"),
        source(BLOCKS, "/userId"),
        derived(FOLLOWING, "/followerId"),
        derived(AUTHOR_POSTS, "/authorId").composite_index(&[("/authorId", Ascending), ("/createdAt", Descending)]),
        derived(POST_REPLIES, "/parentPostId"),
        derived(USER_FEED, "/recipientId")
            .composite_index(&[("/recipientId", Ascending), ("/createdAt", Descending)])
            .composite_index(&[("/createdAt", Descending), ("/postId", Ascending)]),
        derived(COUNTERS, "/subjectId").exclude(AS_OF).ttl(DefaultTtl::Seconds(90 * DAY_SECONDS)),
        derived(NOTIFICATIONS, "/recipientId").ttl(DefaultTtl::Seconds(30 * DAY_SECONDS)).composite_index(&[
            ("/recipientId", Ascending),
            ("/read", Ascending),
            ("/createdAt", Descending),
        ]),
        derived(PUBLIC_PROFILES, "/userId").exclude("/bio/?"),
        small(FAN_OUT).exclude(LINEAGE),
        // Never a positive default here: it would expire positions.
        small(LEASES),
        small(DEAD_LETTERS),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Index, counter, notification, user_feed};

    #[test]
    fn a_version_has_a_name_work_and_processors_of_its_own() {
        let is = |name: &str| version_of(name.to_owned(), USER_FEED).is_ok();
        assert!(is("userFeed") && is("userFeed_v2") && is("userFeed_2024-01"));
        assert!(
            !is("userFeedv2") && !is("counters") && !is("userFeed_a/b") && !is(&format!("userFeed_{}", "x".repeat(99)))
        );
        assert_eq!(beside("userFeed_v2", USER_FEED, FAN_OUT), "fanOut_v2");
        assert_eq!(beside("userFeed", USER_FEED, FAN_OUT), "fanOut");
        assert_eq!(processor_of("userFeed", USER_FEED, "user-feed"), "user-feed");
        assert_eq!(processor_of("userFeed_v2", USER_FEED, "user-feed"), "user-feed@userFeed_v2");
    }

    #[test]
    fn every_container_is_there_once() {
        let names: BTreeSet<String> = all(4).into_iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), 14);
        assert_eq!(all(4).len(), 14);
    }

    #[test]
    fn what_derived_documents_say_their_key_is_is_the_containers_key() {
        let key = |name: &str| all(1).into_iter().find(|spec| spec.name == name).unwrap().partition_key;
        for index in Index::ALL {
            assert_eq!(key(index.container()), [format!("/{}", index.key_field())]);
        }
        assert_eq!(key(USER_FEED), [format!("/{}", user_feed::KEY_FIELD)]);
        assert_eq!(key(COUNTERS), [format!("/{}", counter::KEY_FIELD)]);
        assert_eq!(key(NOTIFICATIONS), [format!("/{}", notification::KEY_FIELD)]);
    }

    #[test]
    fn only_counters_and_notifications_expire_by_themselves() {
        for spec in all(1) {
            let days = match spec.name.as_str() {
                COUNTERS => DefaultTtl::Seconds(7_776_000),
                NOTIFICATIONS => DefaultTtl::Seconds(2_592_000),
                _ => DefaultTtl::Forever,
            };
            assert_eq!(spec.default_ttl, Some(days), "{}", spec.name);
        }
    }

    #[test]
    fn what_is_small_stays_on_one_partition() {
        for spec in all(8) {
            let small = [LEASES, DEAD_LETTERS, FAN_OUT].contains(&spec.name.as_str());
            assert_eq!(spec.partitions, if small { 1 } else { 8 }, "{}", spec.name);
        }
    }
}
