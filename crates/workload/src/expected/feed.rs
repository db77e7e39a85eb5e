use std::cmp::Reverse;
use std::collections::BTreeSet;

use feedmill_documents::user_feed;
use serde_json::Value;

use super::Expected;
use super::sources::Post;
use super::visible::visible;

impl<'a> Expected<'a> {
    /// Every live post by an author whom `user` follows without muting and who has no block with them on their side, and by
    /// option their own, that is not too old; newest first, ties by post id.
    pub fn user_feed(&self, user: &str) -> Vec<&'a Post> {
        let mut feed: Vec<_> = self.user_feed_unsorted(user).collect();
        feed.sort_by_key(|post| (Reverse(post.created_at), &post.post_id));
        feed
    }

    /// The same in no order, for who wants only the number or the newest.
    pub fn user_feed_unsorted(&self, user: &str) -> impl Iterator<Item = &'a Post> {
        let edges = self.following.get(user).into_iter().flatten();
        let mut authors: BTreeSet<&str> =
            edges.filter(|edge| !edge.muted).map(|edge| edge.followee_id.as_str()).collect();
        authors.retain(|author| !self.sources.blocked(author, user));
        if self.options.own_posts {
            authors.extend(self.posts_by_author.get_key_value(user).map(|(author, _)| *author));
        }
        let posts = authors.into_iter().filter_map(|author| self.posts_by_author.get(author)).flatten().copied();
        posts.filter(|post| {
            let end = self.options.feed_retention.map(|retention| post.created_at.checked_add(retention));
            let is_over = end.is_some_and(|end| end.is_ok_and(|end| end <= self.now));
            post.is_live() && !is_over && (self.options.replies || post.reply_to_post_id.is_none())
        })
    }

    /// Ids of all whom `user` follows, muted or not.
    pub fn followees(&self, user: &str) -> impl Iterator<Item = &'a str> {
        self.following.get(user).into_iter().flatten().map(|edge| edge.followee_id.as_str())
    }

    /// All live posts of `author`.
    pub fn posts_of(&self, author: &str) -> impl Iterator<Item = &'a Post> {
        self.posts_by_author.get(author).into_iter().flatten().copied().filter(|post| post.is_live())
    }

    /// A post as a document of `userFeed`.
    pub fn feed_item(&self, user: &str, post: &Post) -> Value {
        let mut item = serde_json::from_slice(&post.body).expect("sources hold JSON only");
        item = visible(&item, self.now).unwrap_or(item);
        let id = user_feed::id(user, &post.post_id).expect("the sources' ids fit together");
        item["id"] = id.as_str().into();
        item["recipientId"] = user.into();
        item
    }

    pub(super) fn all_feeds(&self) -> impl Iterator<Item = Value> {
        let authors = self.posts_by_author.keys().filter(|_| self.options.own_posts);
        let users: BTreeSet<&str> = self.following.keys().chain(authors).copied().collect();
        users
            .into_iter()
            .flat_map(move |user| self.user_feed(user).into_iter().map(move |post| self.feed_item(user, post)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Options;
    use super::super::tests::{FEED_SOURCES, NOW, sources};
    use super::*;

    fn feed(options: Options, user: &str) -> Vec<String> {
        let sources = sources(FEED_SOURCES);
        let expected = Expected::new(&sources, options, NOW);
        expected.user_feed(user).into_iter().map(|post| post.post_id.clone()).collect()
    }

    #[test]
    fn a_feed_has_the_live_posts_of_followed_people_newest_first() {
        assert_eq!(feed(Options::default(), "ann"), ["p3", "p1", "p2"]);
    }

    #[test]
    fn a_muted_or_withdrawn_edge_shows_nothing() {
        assert_eq!(feed(Options::default(), "bob"), [""; 0]);
        assert_eq!(feed(Options::default(), "cid"), [""; 0]);
    }

    #[test]
    fn a_block_hides_the_posts_of_the_side_it_is_on_until_it_is_withdrawn() {
        let feed = |more: &str| {
            let sources = sources(&format!("{FEED_SOURCES}\n{more}"));
            Expected::new(&sources, Options::default(), NOW).user_feed("ann").len()
        };
        let block = r#"{"in":"blocks","userId":"bob","otherId":"ann"}"#;
        assert_eq!(feed(block), 0);
        assert_eq!(feed(&block.replace("\"ann\"", "\"ann\",\"deletedAt\":\"2020-01-01T00:00:00Z\"")), 3);
        assert_eq!(feed(r#"{"in":"blocks","userId":"ann","otherId":"bob"}"#), 3);
    }

    #[test]
    fn options_leave_out_replies_and_take_in_own_posts() {
        assert_eq!(feed(Options { replies: false, ..Options::default() }, "ann"), ["p1", "p2"]);
        assert_eq!(feed(Options { own_posts: true, ..Options::default() }, "cid"), ["c1"]);
    }

    #[test]
    fn what_is_too_old_is_in_no_feed() {
        let old = std::time::Duration::from_secs(31 * 24 * 60 * 60);
        assert_eq!(feed(Options { feed_retention: Some(old), ..Options::default() }, "ann"), ["p3"]);
    }

    #[test]
    fn an_item_carries_all_of_the_post_under_its_own_id() {
        let sources = sources(FEED_SOURCES);
        let expected = Expected::new(&sources, Options::default(), NOW);
        let item = expected.feed_item("ann", sources.post("p3").unwrap());
        assert_eq!(
            item,
            json!({
                "id": "ann:p3", "recipientId": "ann", "postId": "p3", "authorId": "bob", "status": "published",
                "createdAt": "2020-01-03T00:00:00.000Z", "replyToPostId": "c1", "mood": "blue"
            })
        );
        assert_eq!(
            expected.documents("userFeed").map(|(id, _)| id).collect::<Vec<_>>(),
            ["ann:p3", "ann:p1", "ann:p2"]
        );
    }
}
