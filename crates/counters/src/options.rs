use feedmill_documents::containers::{self, COUNTERS};
use serde::{Deserialize, Deserializer, Serialize};

use crate::measure::Measure;

/// Which counters are kept. One that is switched off stays as it is until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Container of the counters: `counters`, or a version of it that was built beside, such as `counters_v2`. Default
    /// `counters`. Each version has processors and leases of its own.
    #[serde(deserialize_with = "version")]
    pub container: String,
    /// Counts the reactions to a post: `likes`, and one counter for each other type. Default true.
    pub reactions: bool,
    /// Counts the replies to a post. Default true.
    pub replies: bool,
    /// Counts a person's followers. Default true.
    pub followers: bool,
    /// Counts whom a person follows. Default true.
    pub following: bool,
    /// Counts a person's posts, replies included. Default true.
    pub posts: bool,
}

impl Default for Options {
    fn default() -> Self {
        let container = COUNTERS.to_owned();
        Self { container, reactions: true, replies: true, followers: true, following: true, posts: true }
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    containers::version_of(String::deserialize(deserializer)?, COUNTERS).map_err(serde::de::Error::custom)
}

impl Options {
    pub(crate) fn keeps(&self, measure: Measure) -> bool {
        match measure {
            Measure::Reactions => self.reactions,
            Measure::Replies => self.replies,
            Measure::Followers => self.followers,
            Measure::Following => self.following,
            Measure::Posts => self.posts,
        }
    }
}
