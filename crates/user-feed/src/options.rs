use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// What a feed holds. A change of these holds for what is settled from then on; a rebuild applies it to what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether a person's own posts are in their feed. Default false.
    pub own_posts: bool,
    /// Whether replies are in feeds. Default true.
    pub replies: bool,
    /// Posts of an author that come into the feed of a new follower at most, the newest first. Default none: all of
    /// them. What an unfollow or a mute takes out is not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill_items_max: Option<NonZeroUsize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { own_posts: false, replies: true, backfill_items_max: None }
    }
}
