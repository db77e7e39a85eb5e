//! The handlers on the real local store.

pub(crate) use feedmill_documents::containers::{AUTHOR_POSTS, FOLLOWING, FOLLOWS, POST_REPLIES, POSTS};
use feedmill_engine::{Processor, StartFrom};
use feedmill_testing::World;
use serde_json::{Value, json};

use crate::{Options, processors};

fn all() -> Vec<Processor> {
    processors(&Options::default(), StartFrom::Beginning)
}

fn post(id: &str, with: Value) -> Value {
    let mut post = json!({"id": id, "postId": id, "authorId": "ada", "createdAt": "2019-01-01T00:00:00Z",
        "status": "published", "text": "hello"});
    post.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    post
}

async fn world(sources: &[(&str, Value)]) -> (World, Vec<String>) {
    let mut world = World::new().await;
    for (container, document) in sources {
        world.put(container, document.clone()).await;
    }
    let rejected = world.deliver(&all()).await;
    (world, rejected)
}

#[tokio::test]
async fn a_reply_is_indexed_by_author_and_by_the_post_it_replies_to() {
    let (world, rejected) =
        world(&[(POSTS, post("1", json!({"mood": {"x": [1]}}))), (POSTS, post("2", json!({"replyToPostId": "1"})))])
            .await;
    assert_eq!(rejected, [""; 0]);
    let by_author = world.documents(AUTHOR_POSTS).await;
    let mut expected = post("1", json!({"mood": {"x": [1]}}));
    expected["createdAt"] = "2019-01-01T00:00:00.000Z".into();
    assert_eq!(by_author["1"], expected);
    assert_eq!(by_author.len(), 2);
    let replies = world.documents(POST_REPLIES).await;
    assert_eq!(replies.len(), 1);
    assert_eq!((&replies["2"]["parentPostId"], &replies["2"]["authorId"]), (&json!("1"), &json!("ada")));
}

#[tokio::test]
async fn edits_and_withdrawals_are_carried_over() {
    let (mut world, _) = world(&[(POSTS, post("1", json!({})))]).await;
    world.put(POSTS, post("1", json!({"text": "edited"}))).await;
    world.deliver(&all()).await;
    assert_eq!(world.documents(AUTHOR_POSTS).await["1"]["text"], "edited");
    let deleted_at = "2019-02-01T00:00:00Z";
    world.put(POSTS, post("1", json!({"deletedAt": deleted_at, "ttl": 3_600}))).await;
    world.deliver(&all()).await;
    let withdrawn = &world.documents(AUTHOR_POSTS).await["1"];
    assert_eq!((&withdrawn["deletedAt"], &withdrawn["text"]), (&json!(deleted_at), &json!("hello")));
    // Its time to live came along.
    world.clock.advance(std::time::Duration::from_secs(3_700));
    assert!(world.documents(AUTHOR_POSTS).await.is_empty());
}

#[tokio::test]
async fn a_follow_is_indexed_by_the_follower() {
    let follow = json!({"id": "a%3A:b%2F", "followeeId": "a:", "followerId": "b/", "muted": true});
    let (world, rejected) = world(&[(FOLLOWS, follow)]).await;
    assert_eq!(rejected, [""; 0]);
    let expected = json!({"id": "b%2F:a%3A", "followeeId": "a:", "followerId": "b/", "muted": true});
    assert_eq!(world.documents(FOLLOWING).await["b%2F:a%3A"], expected);
}

#[tokio::test]
async fn what_cannot_be_understood_is_rejected_and_the_others_go_on() {
    let bad = post("1", json!({"createdAt": 17}));
    let (mut world, rejected) = world(&[(POSTS, bad), (POSTS, post("2", json!({})))]).await;
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].contains("`createdAt`: found a number, 17"), "{}", rejected[0]);
    assert_eq!(world.documents(AUTHOR_POSTS).await.len(), 1);
    world.put(POSTS, post("1", json!({}))).await;
    assert_eq!(world.deliver(&all()).await, [""; 0]);
    assert_eq!(world.documents(AUTHOR_POSTS).await.len(), 2);
}

#[tokio::test]
async fn a_document_without_its_key_is_rejected() {
    let (_, rejected) = world(&[(FOLLOWS, json!({"id": "a:b", "followerId": "b"}))]).await;
    assert_eq!(rejected, ["field `followeeId` is missing, expected a string that is not empty"]);
}

#[tokio::test]
async fn a_replay_of_everything_writes_nothing() {
    let deleted = json!({"deletedAt": "2019-02-01T00:00:00Z"});
    let (mut world, _) = world(&[
        (POSTS, post("1", json!({}))),
        (POSTS, post("2", json!({"replyToPostId": "1"}))),
        (POSTS, post("3", deleted)),
        (FOLLOWS, json!({"id": "a:b", "followeeId": "a", "followerId": "b"})),
    ])
    .await;
    let written = world.written();
    assert_eq!(written, 5);
    world.rewind();
    world.deliver(&all()).await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn a_field_named_like_the_engines_own_does_no_harm() {
    let (mut world, _) = world(&[(POSTS, post("1", json!({"asOf": "yesterday", "parentPostId": 7})))]).await;
    world.put(POSTS, post("1", json!({"asOf": "today"}))).await;
    assert_eq!(world.deliver(&all()).await, [""; 0]);
    assert_eq!(world.written(), 2);
}

#[tokio::test]
async fn an_index_that_is_switched_off_is_not_kept() {
    let mut world = World::new().await;
    world.put(POSTS, post("2", json!({"replyToPostId": "1"}))).await;
    let options = Options { post_replies: false, following: false, ..Options::default() };
    let processors = processors(&options, StartFrom::Beginning);
    assert_eq!(processors.len(), 1);
    world.deliver(&processors).await;
    assert_eq!((world.documents(AUTHOR_POSTS).await.len(), world.documents(POST_REPLIES).await.len()), (1, 0));
}
