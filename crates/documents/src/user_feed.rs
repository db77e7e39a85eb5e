//! `userFeed`: a post in the feed of one recipient.

use feedmill_store_api::DocumentId;

use crate::source::is_reserved;
use crate::{IdError, Members, Post, id, time};

pub const KEY_FIELD: &str = "recipientId";

/// Bytes of an item's own fields. What does not fit is left out, and the item says `cut: true`.
pub const FIELDS_BYTES_MAX: usize = 64 * 1024;

/// What a feed is asked for and sorted by; never cut.
const FIRST: [&str; 4] = ["authorId", "postId", "createdAt", "replyToPostId"];

/// A post is at most once in a recipient's feed, whoever delivers it and however often: `${recipientId}:${postId}`.
pub fn id(recipient_id: &str, post_id: &str) -> Result<DocumentId, IdError> {
    id::join([recipient_id, post_id])
}

/// Fails when [`id()`] would.
pub fn check(recipient_id: &str, post_id: &str) -> Result<(), IdError> {
    id::check([recipient_id, post_id])
}

/// The item's fields beside id, key and `_source`, the same for every recipient: the post's, without those of the store.
pub fn fields<'a>(post: &Post<'a>) -> Members<'a> {
    let mut members = post.members.clone();
    members.retain(|name| !is_reserved(name) && name != KEY_FIELD);
    members.set("createdAt", time::text(post.created_at));
    members.put_first(&FIRST);
    let first = members.names().take_while(|name| FIRST.contains(name)).count();
    let room = FIELDS_BYTES_MAX - r#","cut":true"#.len();
    if members.cut(first, room) {
        members.set("cut", true);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> String {
        serde_json::to_string(&fields(&Post::decode(json.as_bytes()).unwrap())).unwrap()
    }

    const POST: &str = r#"{"id":"1","text":"hello","postId":"1","authorId":"a","createdAt":"2010-01-02T03:04:05Z",
        "status":"published","replyToPostId":"0","ttl":7,"_etag":"x","_source":{},"recipientId":"?","mood":{"x":1}}"#;

    #[test]
    fn an_item_has_the_posts_fields_those_that_are_asked_for_first() {
        assert_eq!(
            item(POST),
            r#"{"authorId":"a","postId":"1","createdAt":"2010-01-02T03:04:05.000Z","replyToPostId":"0","text":"hello","status":"published","mood":{"x":1}}"#
        );
    }

    #[test]
    fn past_sixty_four_kilobytes_fields_are_left_out_and_the_item_says_so() {
        let long = item(&POST.replace("hello", &"x".repeat(FIELDS_BYTES_MAX)));
        assert_eq!(
            long,
            r#"{"authorId":"a","postId":"1","createdAt":"2010-01-02T03:04:05.000Z","replyToPostId":"0","status":"published","mood":{"x":1},"cut":true}"#
        );
        // With all the rest around it, a text of exactly what remains is kept.
        let rest = item(&POST.replace("hello", "")).len();
        let room = FIELDS_BYTES_MAX - r#","cut":true"#.len();
        assert!(!item(&POST.replace("hello", &"x".repeat(room - rest - 1))).contains("cut"));
        assert!(item(&POST.replace("hello", &"x".repeat(room - rest + 1))).contains("cut"));
    }
}
