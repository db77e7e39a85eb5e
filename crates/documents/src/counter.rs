//! `counters`: one number about one subject, a post or a person.

use feedmill_store_api::DocumentId;
use serde::{Deserialize, Serialize};

use crate::{IdError, id};

pub const KEY_FIELD: &str = "subjectId";

/// Of a post: live reactions of type `like`.
pub const LIKES: &str = "likes";
/// Of a post: live replies to it.
pub const REPLIES: &str = "replies";
/// Of a person: those who follow them, muting or not.
pub const FOLLOWERS: &str = "followers";
/// Of a person: those whom they follow, muting or not.
pub const FOLLOWING: &str = "following";
/// Of a person: their live posts, replies included.
pub const POSTS: &str = "posts";

const NAMES: [&str; 5] = [LIKES, REPLIES, FOLLOWERS, FOLLOWING, POSTS];

/// The fields beside id, key and `asOf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub name: String,
    pub value: u64,
}

/// `${subjectId}:${name}`
pub fn id(subject_id: &str, name: &str) -> Result<DocumentId, IdError> {
    id::join([subject_id, name])
}

/// Name of the counter of reactions of one type: `likes` for `like`, and for every other type the type itself. A type
/// that is called like one of the counters above, with any number of `_` behind it, gets one `_` more, so that no two
/// types share a counter and none takes another counter's name.
pub fn of_reaction(kind: &str) -> String {
    match kind {
        "like" => LIKES.to_owned(),
        kind if NAMES.contains(&kind.trim_end_matches('_')) => format!("{kind}_"),
        kind => kind.to_owned(),
    }
}

/// The type of reactions that a counter counts; `None` when it counts something else.
pub fn reaction_of(name: &str) -> Option<&str> {
    match name {
        LIKES => Some("like"),
        name if NAMES.contains(&name) => None,
        name if NAMES.contains(&name.trim_end_matches('_')) => name.strip_suffix('_'),
        // Not made by the rule above: `like` is counted as `likes`.
        "like" => None,
        name => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reaction_type_names_its_counter() {
        for (kind, name) in [
            ("like", "likes"),
            ("love", "love"),
            ("likes", "likes_"),
            ("likes_", "likes__"),
            ("posts", "posts_"),
            ("_", "_"),
        ] {
            assert_eq!(of_reaction(kind), name);
            assert_eq!(reaction_of(name), Some(kind));
        }
        for name in [REPLIES, FOLLOWERS, FOLLOWING, POSTS, "like"] {
            assert_eq!(reaction_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_type_has_a_counter_of_its_own(kind in "(like|likes|replies|posts|love)?[_a:]{0,3}") {
            let name = of_reaction(&kind);
            prop_assert_eq!(reaction_of(&name), Some(kind.as_str()));
        }
    }
}
