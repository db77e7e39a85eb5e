use feedmill_documents::Index;
use serde::{Deserialize, Serialize};

/// Which indexes are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Keeps `authorPosts`. Default true. Without it there is no fan-out, no back-fill and no counter of posts.
    pub author_posts: bool,
    /// Keeps `postReplies`. Default true. Without it there are no notifications and no counters of replies.
    pub post_replies: bool,
    /// Keeps `following`. Default true. Without it nobody's feed can be rebuilt and nobody's followees are counted.
    pub following: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { author_posts: true, post_replies: true, following: true }
    }
}

impl Options {
    pub(crate) fn keeps(&self, index: Index) -> bool {
        match index {
            Index::AuthorPosts => self.author_posts,
            Index::PostReplies => self.post_replies,
            Index::Following => self.following,
        }
    }
}
