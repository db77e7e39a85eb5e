use std::collections::BTreeMap;

use feedmill_documents::counter;
use serde_json::{Value, json};

use super::Expected;

impl Expected<'_> {
    /// Every number that is not zero, by subject and name. What is not in it is 0, or was never counted.
    pub fn counters(&self) -> BTreeMap<(String, String), u64> {
        let mut counters = BTreeMap::new();
        let mut count = |subject: &str, name: &str, by: usize| {
            if by > 0 {
                *counters.entry((subject.to_owned(), name.to_owned())).or_default() += by as u64;
            }
        };
        for (post, reactions) in &self.reactions {
            for reaction in reactions {
                count(post, &counter::of_reaction(&reaction.r#type), 1);
            }
        }
        for (post, replies) in &self.replies {
            count(post, counter::REPLIES, replies.len());
        }
        for (user, edges) in &self.followers {
            count(user, counter::FOLLOWERS, edges.len());
        }
        for (user, edges) in &self.following {
            count(user, counter::FOLLOWING, edges.len());
        }
        for (user, posts) in &self.posts_by_author {
            count(user, counter::POSTS, posts.iter().filter(|post| post.is_live()).count());
        }
        counters
    }

    pub(super) fn all_counters(&self) -> impl Iterator<Item = Value> {
        self.counters().into_iter().map(|((subject, name), value)| {
            let id = counter::id(&subject, &name).expect("the sources' ids fit together");
            json!({"id": id.as_str(), "subjectId": subject, "name": name, "value": value})
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, sources};
    use super::super::{Expected, Options};

    #[test]
    fn only_what_is_live_counts_each_type_of_reaction_for_itself() {
        let sources = sources(
            r#"{"in":"posts_v2","postId":"p","authorId":"ann","createdAt":"2020-01-01T00:00:00Z","status":"published"}
               {"in":"posts_v2","postId":"q","authorId":"ann","createdAt":"2020-01-01T00:00:00Z","status":"hidden"}
               {"in":"posts_v2","postId":"r","authorId":"bob","createdAt":"2020-01-01T00:00:00Z","status":"published","replyToPostId":"p"}
               {"in":"posts_v2","postId":"s","authorId":"bob","createdAt":"2020-01-01T00:00:00Z","status":"removed","replyToPostId":"p"}
               {"in":"reactions","postId":"p","userId":"bob","type":"like","createdAt":"2020-01-01T00:00:00Z"}
               {"in":"reactions","postId":"p","userId":"cid","type":"like","createdAt":"2020-01-01T00:00:00Z"}
               {"in":"reactions","postId":"p","userId":"dan","type":"wow","createdAt":"2020-01-01T00:00:00Z"}
               {"in":"reactions","postId":"p","userId":"eve","type":"wow","createdAt":"2020-01-01T00:00:00Z","deletedAt":"2020-01-01T00:00:00Z"}
               {"in":"follows","followeeId":"ann","followerId":"bob","createdAt":"2020-01-01T00:00:00Z","muted":true}
               {"in":"follows","followeeId":"ann","followerId":"cid","createdAt":"2020-01-01T00:00:00Z","deletedAt":"2020-01-01T00:00:00Z"}"#,
        );
        let expected = Expected::new(&sources, Options::default(), NOW);
        let found: Vec<_> =
            expected.documents("counters").map(|(id, counter)| format!("{id}={}", counter["value"])).collect();
        assert_eq!(
            found,
            ["ann:followers=1", "ann:posts=1", "bob:following=1", "bob:posts=1", "p:likes=2", "p:replies=1", "p:wow=1"]
        );
    }
}
