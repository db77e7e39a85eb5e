//! The handlers on the real local store.

use std::time::Duration;

use feedmill_documents::Retention;
use feedmill_documents::containers::{BLOCKS, FAN_OUT, FOLLOWS, NOTIFICATIONS, POST_REPLIES, POSTS, REACTIONS};
use feedmill_documents::id::join;
use feedmill_engine::{Processor, StartFrom};
use feedmill_testing::World;
use serde_json::{Value, json};

use crate::{Options, processors};

const AT: &str = "2019-12-31T00:00:00.000Z";
const LATER: &str = "2020-01-01T00:00:00.000Z";

fn all() -> Vec<Processor> {
    processors(&Options::default(), StartFrom::Beginning)
}

fn with(mut document: Value, with: Value) -> Value {
    document.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    document
}

fn post(author: &str, id: &str) -> Value {
    json!({"id": join([id]).unwrap(), "postId": id, "authorId": author, "createdAt": AT, "status": "published"})
}

fn like(post: &str, user: &str) -> Value {
    json!({"id": join([post, user]).unwrap(), "postId": post, "userId": user, "type": "like", "createdAt": AT})
}

fn reply(author: &str, id: &str, parent: &str) -> Value {
    with(post(author, id), json!({"replyToPostId": parent, "parentPostId": parent}))
}

fn edge(author: &str, follower: &str) -> Value {
    json!({"id": join([author, follower]).unwrap(), "followeeId": author, "followerId": follower, "createdAt": AT})
}

fn gone(document: Value) -> Value {
    with(document, json!({"deletedAt": LATER}))
}

async fn put_with(world: &mut World, options: &Options, documents: &[(&str, Value)]) -> Vec<String> {
    for (container, document) in documents {
        world.put(container, document.clone()).await;
    }
    world.deliver(&processors(options, StartFrom::Beginning)).await
}

async fn put(world: &mut World, documents: &[(&str, Value)]) -> Vec<String> {
    put_with(world, &Options::default(), documents).await
}

async fn ids(world: &World) -> Vec<String> {
    world.documents(NOTIFICATIONS).await.into_keys().collect()
}

#[tokio::test]
async fn reactions_and_replies_tell_the_author_and_follows_the_followee() {
    let mut world = World::new().await;
    let sources = [
        (POSTS, post("u", "p")),
        (REACTIONS, like("p", "a")),
        (POST_REPLIES, reply("b", "r", "p")),
        (FOLLOWS, edge("u", "c")),
    ];
    assert_eq!(put(&mut world, &sources).await, [""; 0]);
    let told = world.documents(NOTIFICATIONS).await;
    let end = "2020-01-30T00:00:00.000Z";
    assert_eq!(told.len(), 3);
    assert_eq!(
        told["u:reaction:p:a"],
        json!({"id": "u:reaction:p:a", "recipientId": "u", "kind": "reaction", "type": "like", "actorId": "a",
            "postId": "p", "createdAt": AT, "expiresAt": end, "read": false, "withdrawn": false})
    );
    assert_eq!(
        told["u:reply:r:b"],
        json!({"id": "u:reply:r:b", "recipientId": "u", "kind": "reply", "actorId": "b", "postId": "r",
            "parentPostId": "p", "createdAt": AT, "expiresAt": end, "read": false, "withdrawn": false})
    );
    assert_eq!(
        told["u:follow:u:c"],
        json!({"id": "u:follow:u:c", "recipientId": "u", "kind": "follow", "actorId": "c", "createdAt": AT,
            "expiresAt": end, "read": false, "withdrawn": false})
    );
}

#[tokio::test]
async fn causes_that_came_before_their_post_are_told_with_its_first_sight() {
    let mut world = World::new().await;
    put(&mut world, &[(REACTIONS, like("p", "a")), (POST_REPLIES, reply("b", "r", "p"))]).await;
    assert_eq!(ids(&world).await, [""; 0]);
    put(&mut world, &[(POSTS, post("u", "p"))]).await;
    assert_eq!(ids(&world).await, ["u:reaction:p:a", "u:reply:r:b"]);
}

#[tokio::test]
async fn what_came_early_leaves_a_note_and_nothing_else_does() {
    let mut world = World::new().await;
    put(&mut world, &[(REACTIONS, like("p", "a")), (REACTIONS, like("p", "b"))]).await;
    assert_eq!(world.documents(FAN_OUT).await.into_keys().collect::<Vec<_>>(), ["p:early"]);
    put(&mut world, &[(POSTS, post("u", "p")), (POSTS, post("u", "q")), (REACTIONS, like("q", "a"))]).await;
    assert_eq!(ids(&world).await, ["u:reaction:p:a", "u:reaction:p:b", "u:reaction:q:a"]);
    assert_eq!(world.documents(FAN_OUT).await.len(), 1);
    // What is too old to tell anybody is not awaited.
    put(&mut world, &[(REACTIONS, with(like("x", "a"), json!({"createdAt": "2019-01-01T00:00:00.000Z"})))]).await;
    assert_eq!(world.documents(FAN_OUT).await.len(), 1);
}

#[tokio::test]
async fn both_orders_of_post_and_cause_end_the_same() {
    let mut ends = Vec::new();
    for posts_first in [false, true] {
        let mut world = World::new().await;
        world.put(REACTIONS, like("p", "a")).await;
        world.put(POST_REPLIES, gone(reply("b", "r", "p"))).await;
        world.put(POSTS, post("u", "p")).await;
        let mut processors = all();
        if posts_first {
            processors.reverse();
        }
        world.deliver(&processors).await;
        ends.push(world.documents(NOTIFICATIONS).await);
    }
    assert_eq!(ends[0].len(), 2);
    assert_eq!(ends[0], ends[1]);
}

#[tokio::test]
async fn a_read_notification_stays_one_and_read_through_like_unlike_like() {
    let mut world = World::new().await;
    put(&mut world, &[(POSTS, post("u", "p")), (REACTIONS, like("p", "a"))]).await;
    let told = world.documents(NOTIFICATIONS).await.remove("u:reaction:p:a").unwrap();
    world.put(NOTIFICATIONS, with(told, json!({"read": true}))).await;
    put(&mut world, &[(REACTIONS, gone(like("p", "a")))]).await;
    let withdrawn = &world.documents(NOTIFICATIONS).await["u:reaction:p:a"];
    assert_eq!((&withdrawn["read"], &withdrawn["withdrawn"]), (&json!(true), &json!(true)));
    put(&mut world, &[(REACTIONS, with(like("p", "a"), json!({"createdAt": LATER})))]).await;
    let again = world.documents(NOTIFICATIONS).await;
    assert_eq!(again.len(), 1);
    let again = &again["u:reaction:p:a"];
    assert_eq!(
        (&again["read"], &again["withdrawn"], &again["createdAt"]),
        (&json!(true), &json!(false), &json!(LATER))
    );
}

#[tokio::test]
async fn a_cause_that_was_never_seen_live_leaves_a_withdrawn_notification() {
    let mut world = World::new().await;
    put(&mut world, &[(POSTS, post("u", "p")), (REACTIONS, gone(like("p", "a"))), (FOLLOWS, gone(edge("u", "b")))])
        .await;
    let told = world.documents(NOTIFICATIONS).await;
    assert_eq!(told["u:reaction:p:a"]["withdrawn"], true);
    assert_eq!(told["u:follow:u:b"]["withdrawn"], true);
}

#[tokio::test]
async fn a_change_of_type_is_told_in_place() {
    let mut world = World::new().await;
    put(&mut world, &[(POSTS, post("u", "p")), (REACTIONS, like("p", "a"))]).await;
    put(&mut world, &[(REACTIONS, with(like("p", "a"), json!({"type": "love"})))]).await;
    let told = world.documents(NOTIFICATIONS).await;
    assert_eq!((told.len(), &told["u:reaction:p:a"]["type"]), (1, &json!("love")));
}

/// One person's side of a block with another.
fn block(user: &str, other: &str) -> Value {
    json!({"id": join([user, other]).unwrap(), "userId": user, "otherId": other, "createdAt": AT})
}

#[tokio::test]
async fn nobody_is_told_across_a_block_and_unblocking_brings_back_what_was_told_as_it_was_read() {
    let mut world = World::new().await;
    let causes = [
        (POSTS, post("u", "p")),
        (REACTIONS, like("p", "a")),
        (POST_REPLIES, reply("a", "r", "p")),
        (FOLLOWS, edge("u", "a")),
        (REACTIONS, like("p", "b")),
    ];
    put(&mut world, &causes).await;
    let told = world.documents(NOTIFICATIONS).await;
    let of_a = ["u:follow:u:a", "u:reaction:p:a", "u:reply:r:a"];
    world.put(NOTIFICATIONS, with(told[of_a[1]].clone(), json!({"read": true}))).await;
    put(&mut world, &[(BLOCKS, block("u", "a")), (BLOCKS, block("a", "u"))]).await;
    let hidden = world.documents(NOTIFICATIONS).await;
    assert!(of_a.iter().all(|id| hidden[*id]["withdrawn"] == true));
    assert_eq!((&hidden[of_a[1]]["read"], &hidden["u:reaction:p:b"]["withdrawn"]), (&json!(true), &json!(false)));

    put(&mut world, &[(POST_REPLIES, reply("a", "s", "p"))]).await;
    assert_eq!(world.documents(NOTIFICATIONS).await["u:reply:s:a"]["withdrawn"], true);

    put(&mut world, &[(BLOCKS, gone(block("u", "a")))]).await;
    let back = world.documents(NOTIFICATIONS).await;
    assert!(of_a.iter().chain(&["u:reply:s:a"]).all(|id| back[*id]["withdrawn"] == false));
    assert_eq!(back[of_a[1]]["read"], true);
    let written = world.written();
    world.rewind();
    put(&mut world, &[]).await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn both_orders_of_block_and_cause_end_the_same() {
    let mut ends = Vec::new();
    for reversed in [false, true] {
        let mut world = World::new().await;
        put(&mut world, &[(POSTS, post("u", "p"))]).await;
        for user in ["a", "b", "c", "d", "e"] {
            world.put(REACTIONS, like("p", user)).await;
        }
        world.put(BLOCKS, block("u", "b")).await;
        world.put(BLOCKS, block("u", "z")).await;
        let mut processors = all();
        if reversed {
            processors.reverse();
        }
        world.deliver(&processors).await;
        ends.push(world.documents(NOTIFICATIONS).await);
    }
    assert_eq!(ends[0], ends[1]);
    let withdrawn: Vec<_> = ends[0].iter().filter(|(_, told)| told["withdrawn"] == true).map(|(id, _)| id).collect();
    assert_eq!(withdrawn, ["u:reaction:p:b"]);
}

#[tokio::test]
async fn whatever_becomes_of_the_post_its_notifications_stay() {
    let mut world = World::new().await;
    put(&mut world, &[(POSTS, post("u", "p")), (REACTIONS, like("p", "a"))]).await;
    let before = world.documents(NOTIFICATIONS).await;
    put(&mut world, &[(POSTS, gone(post("u", "p")))]).await;
    assert_eq!(world.documents(NOTIFICATIONS).await, before);
    put(&mut world, &[(REACTIONS, like("p", "b"))]).await;
    assert_eq!(ids(&world).await, ["u:reaction:p:a", "u:reaction:p:b"]);
}

#[tokio::test]
async fn own_actions_are_told_only_by_option() {
    let own = Options { own_actions: true, ..Options::default() };
    for (options, told) in [(Options::default(), 0), (own, 3)] {
        let mut world = World::new().await;
        let sources = [
            (POSTS, post("u", "p")),
            (REACTIONS, like("p", "u")),
            (POST_REPLIES, reply("u", "r", "p")),
            (FOLLOWS, edge("u", "u")),
        ];
        put_with(&mut world, &options, &sources).await;
        assert_eq!(ids(&world).await.len(), told);
    }
}

#[tokio::test]
async fn of_events_older_than_the_retention_nothing_is_made() {
    let old = json!({"createdAt": "2010-01-01T00:00:00.000Z"});
    let none = Options { retention: Retention::NONE, ..Options::default() };
    for (options, told) in [(Options::default(), 0), (none, 2)] {
        let mut world = World::new().await;
        let sources = [
            (POSTS, post("u", "p")),
            (REACTIONS, with(like("p", "a"), old.clone())),
            (FOLLOWS, with(edge("u", "a"), old.clone())),
        ];
        assert_eq!(put_with(&mut world, &options, &sources).await, [""; 0]);
        assert_eq!(ids(&world).await.len(), told);
        assert_eq!(world.written(), told as u64);
    }
}

#[tokio::test]
async fn a_notification_lives_until_its_event_is_as_old_as_the_retention() {
    let mut world = World::new().await;
    put(&mut world, &[(FOLLOWS, edge("u", "a"))]).await;
    // Written at noon of 1 January for an event of 31 December: 28.5 days are left.
    world.clock.advance(Duration::from_secs((28 * 24 + 11) * 3_600));
    assert_eq!(ids(&world).await.len(), 1);
    world.clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(ids(&world).await.len(), 0);
}

#[tokio::test]
async fn a_replay_of_everything_writes_nothing() {
    let mut world = World::new().await;
    let sources = [
        (POSTS, post("u", "p")),
        (REACTIONS, like("p", "a")),
        (REACTIONS, gone(like("p", "b"))),
        (POST_REPLIES, reply("b", "r", "p")),
        (FOLLOWS, edge("u", "c")),
    ];
    put(&mut world, &sources).await;
    let written = world.written();
    assert_eq!(written, 4);
    world.rewind();
    put(&mut world, &[]).await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn ids_with_special_characters_are_encoded() {
    let mut world = World::new().await;
    let (author, id) = ("u:%", "p/\\?#");
    put(&mut world, &[(POSTS, post(author, id)), (REACTIONS, like(id, "a/b")), (POST_REPLIES, reply("a/b", "r?", id))])
        .await;
    assert_eq!(ids(&world).await, ["u%3A%25:reaction:p%2F%5C%3F%23:a%2Fb", "u%3A%25:reply:r%3F:a%2Fb"]);
}

#[tokio::test]
async fn what_cannot_be_understood_is_rejected_and_the_others_go_on() {
    let mut world = World::new().await;
    let untimed = json!({"id": "u:b", "followeeId": "u", "followerId": "b"});
    let sources = [
        (POSTS, post("u", "p")),
        (REACTIONS, with(like("p", "a"), json!({"userId": 7}))),
        (REACTIONS, like("p", "b")),
        (FOLLOWS, untimed),
        (FOLLOWS, edge("u", "c")),
    ];
    let rejected = put(&mut world, &sources).await;
    assert_eq!(rejected.len(), 2);
    assert!(rejected[0].starts_with("field `userId`"), "{}", rejected[0]);
    assert!(rejected[1].starts_with("field `createdAt` is missing"), "{}", rejected[1]);
    assert_eq!(ids(&world).await, ["u:follow:u:c", "u:reaction:p:b"]);
}
