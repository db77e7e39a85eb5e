use std::num::NonZeroUsize;

use feedmill_documents::Retention;
use feedmill_documents::containers::{self, FAN_OUT, USER_FEED};
use serde::{Deserialize, Deserializer, Serialize};

/// What a feed holds. A change of these holds for what is settled from then on; a repair applies it to what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Container of the feeds: `userFeed`, or a version of it that was built beside, such as `userFeed_v2`. Default
    /// `userFeed`. Each version has processors, leases and work of its own.
    #[serde(deserialize_with = "version")]
    pub container: String,
    /// Whether a person's own posts are in their feed. Default false.
    pub own_posts: bool,
    /// Whether replies are in feeds. Default true.
    pub replies: bool,
    /// How long after its `createdAt` a post is in feeds, such as `90d`; of older ones no items are made. Each item has that
    /// time to live, so that what is too old goes by itself and no feed is ever looked through for it. Default `none`: for
    /// ever.
    pub retention: Retention,
    /// Items that a feed shows at most, the newest first. Default none: all there are. Whoever reads a feed keeps to it, see
    /// `feedmill feed`; older items stay until their `retention` is over, and come up again where newer ones are withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_items_max: Option<NonZeroUsize>,
    /// Posts of an author that come into the feed of a new follower at most, the newest first. Default none: all of
    /// them. What an unfollow or a mute takes out is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill_items_max: Option<NonZeroUsize>,
    /// Followers to whom a post is settled at once. Those of an author with more are cut into chunks of about as many,
    /// which all hosts share. Default 10000.
    pub fan_out_inline_max: NonZeroUsize,
}

const FAN_OUT_INLINE_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

impl Default for Options {
    fn default() -> Self {
        Self {
            container: USER_FEED.to_owned(),
            own_posts: false,
            replies: true,
            retention: Retention::NONE,
            feed_items_max: None,
            backfill_items_max: None,
            fan_out_inline_max: FAN_OUT_INLINE_MAX,
        }
    }
}

impl Options {
    /// Container of the work that is left of posts with very many recipients.
    pub fn work(&self) -> String {
        containers::beside(&self.container, USER_FEED, FAN_OUT)
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    containers::version_of(String::deserialize(deserializer)?, USER_FEED).map_err(serde::de::Error::custom)
}
