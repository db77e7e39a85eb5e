//! The handlers on the real local store.

#[path = "../../index/src/tests/world.rs"]
mod world;

use std::collections::BTreeMap;

use feedmill_documents::containers::{AUTHOR_POSTS, FOLLOWS, USER_FEED};
use feedmill_documents::id::join;
use feedmill_engine::{Processor, StartFrom};
use serde_json::{Value, json};

use self::world::World;
use crate::{Options, processors};

const LATER: &str = "2019-06-01T00:00:00.000Z";

fn all() -> Vec<Processor> {
    processors(&Options::default(), StartFrom::Beginning)
}

fn with(mut document: Value, with: Value) -> Value {
    document.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    document
}

fn post(author: &str, id: &str) -> Value {
    json!({"id": join([id]).unwrap(), "postId": id, "authorId": author, "createdAt": "2019-01-01T00:00:00Z",
        "status": "published", "text": "hello"})
}

fn edge(author: &str, follower: &str) -> Value {
    json!({"id": join([author, follower]).unwrap(), "followeeId": author, "followerId": follower,
        "createdAt": "2019-02-01T00:00:00Z"})
}

/// Writes the sources, one container after the other, and delivers them all.
async fn put(world: &mut World, options: &Options, posts: &[Value], edges: &[Value]) -> Vec<String> {
    for post in posts {
        world.put(AUTHOR_POSTS, post.clone()).await;
    }
    for edge in edges {
        world.put(FOLLOWS, edge.clone()).await;
    }
    world.deliver(&processors(options, StartFrom::Beginning)).await
}

/// Ids of the items that are shown.
async fn shown(world: &World) -> Vec<String> {
    let items = world.documents(USER_FEED).await;
    items.into_iter().filter(|(_, item)| item.get("deletedAt").is_none()).map(|(id, _)| id).collect()
}

/// A world in which `r` and `s` follow `a`, who has two posts.
async fn two_followers() -> World {
    let mut world = World::new().await;
    let rejected =
        put(&mut world, &Options::default(), &[post("a", "1"), post("a", "2")], &[edge("a", "r"), edge("a", "s")])
            .await;
    assert_eq!(rejected, [""; 0]);
    assert_eq!(shown(&world).await, ["r:1", "r:2", "s:1", "s:2"]);
    world
}

#[tokio::test]
async fn a_new_follower_gets_the_posts_that_were_there_and_those_that_come() {
    let mut world = World::new().await;
    put(&mut world, &Options::default(), &[post("a", "1"), post("b", "2")], &[]).await;
    assert_eq!(shown(&world).await, [""; 0]);
    put(&mut world, &Options::default(), &[], &[edge("a", "r")]).await;
    assert_eq!(shown(&world).await, ["r:1"]);
    put(&mut world, &Options::default(), &[post("a", "3")], &[]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:3"]);
    let expected = json!({"id": "r:1", "recipientId": "r", "authorId": "a", "postId": "1",
        "createdAt": "2019-01-01T00:00:00.000Z", "status": "published", "text": "hello"});
    assert_eq!(world.documents(USER_FEED).await["r:1"], expected);
}

#[tokio::test]
async fn an_unfollow_takes_the_posts_out_and_a_new_follow_brings_them_back() {
    let mut world = two_followers().await;
    put(&mut world, &Options::default(), &[], &[with(edge("a", "r"), json!({"deletedAt": LATER}))]).await;
    assert_eq!(shown(&world).await, ["s:1", "s:2"]);
    let tombstone = json!({"id": "r:1", "recipientId": "r", "deletedAt": LATER});
    assert_eq!(world.documents(USER_FEED).await["r:1"], tombstone);
    put(&mut world, &Options::default(), &[post("a", "3")], &[]).await;
    assert_eq!(shown(&world).await, ["s:1", "s:2", "s:3"]);
    put(&mut world, &Options::default(), &[], &[edge("a", "r")]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3", "s:1", "s:2", "s:3"]);
}

#[tokio::test]
async fn a_mute_takes_the_posts_out_and_unmuting_brings_them_back() {
    let mut world = two_followers().await;
    put(&mut world, &Options::default(), &[], &[with(edge("a", "s"), json!({"muted": true}))]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2"]);
    assert_eq!(world.documents(USER_FEED).await["s:1"]["deletedAt"], "2019-02-01T00:00:00.000Z");
    put(&mut world, &Options::default(), &[post("a", "3")], &[]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3"]);
    put(&mut world, &Options::default(), &[], &[edge("a", "s")]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3", "s:1", "s:2", "s:3"]);
}

#[tokio::test]
async fn an_edit_reaches_every_follower() {
    let mut world = two_followers().await;
    put(&mut world, &Options::default(), &[with(post("a", "1"), json!({"text": "edited"}))], &[]).await;
    let items = world.documents(USER_FEED).await;
    assert_eq!((&items["r:1"]["text"], &items["s:1"]["text"]), (&json!("edited"), &json!("edited")));
    assert_eq!(items["r:2"]["text"], "hello");
}

#[tokio::test]
async fn withdrawn_hidden_and_removed_posts_are_taken_out_and_may_come_back() {
    for gone in [json!({"deletedAt": LATER}), json!({"status": "hidden"}), json!({"status": "removed"})] {
        let mut world = two_followers().await;
        put(&mut world, &Options::default(), &[with(post("a", "2"), gone.clone())], &[]).await;
        assert_eq!(shown(&world).await, ["r:1", "s:1"], "{gone}");
        put(&mut world, &Options::default(), &[post("a", "2")], &[]).await;
        assert_eq!(shown(&world).await, ["r:1", "r:2", "s:1", "s:2"], "{gone}");
    }
}

#[tokio::test]
async fn a_replay_of_everything_changes_nothing_and_writes_nothing() {
    let mut world = two_followers().await;
    put(
        &mut world,
        &Options::default(),
        &[with(post("a", "2"), json!({"deletedAt": LATER}))],
        &[with(edge("a", "s"), json!({"muted": true})), with(edge("a", "t"), json!({"deletedAt": LATER}))],
    )
    .await;
    let (before, written) = (world.documents(USER_FEED).await, world.written());
    world.rewind();
    assert_eq!(world.deliver(&all()).await, [""; 0]);
    assert_eq!(world.written(), written);
    assert_eq!(world.documents(USER_FEED).await, before);
}

#[tokio::test]
async fn both_orders_of_two_changes_end_the_same() {
    let muted = with(edge("a", "r"), json!({"muted": true}));
    let unfollowed = with(edge("a", "r"), json!({"deletedAt": LATER}));
    let edited = with(post("a", "1"), json!({"text": "edited"}));
    let withdrawn = with(post("a", "1"), json!({"deletedAt": "2019-07-01T00:00:00.000Z"}));
    for a in [&post("a", "3"), &edited, &withdrawn] {
        for b in [&edge("a", "t"), &muted, &unfollowed] {
            let mut ends = Vec::new();
            for edges_first in [false, true] {
                let mut world = two_followers().await;
                world.put(AUTHOR_POSTS, a.clone()).await;
                world.put(FOLLOWS, b.clone()).await;
                let mut processors = all();
                if edges_first {
                    processors.reverse();
                }
                world.deliver(&processors).await;
                ends.push(world.documents(USER_FEED).await);
            }
            assert_eq!(ends[0], ends[1], "{a} and {b}");
        }
    }
}

/// An older settlement may still have a write in the air: the tombstone is what it meets.
#[tokio::test]
async fn absence_is_written_also_where_nothing_was_whichever_side_changed() {
    let unfollowed = with(edge("a", "r"), json!({"deletedAt": LATER}));
    let muted = with(edge("a", "s"), json!({"muted": true}));
    let withdrawn = with(post("a", "1"), json!({"deletedAt": LATER}));
    let ids = |items: BTreeMap<String, Value>| items.into_keys().collect::<Vec<_>>();

    let mut world = World::new().await;
    put(&mut world, &Options::default(), &[], &[unfollowed, muted]).await;
    put(&mut world, &Options::default(), &[post("a", "1")], &[]).await;
    assert_eq!(shown(&world).await, [""; 0]);
    assert_eq!(ids(world.documents(USER_FEED).await), ["r:1", "s:1"], "a post names withdrawn and muted edges");

    let mut world = World::new().await;
    put(&mut world, &Options::default(), &[withdrawn], &[]).await;
    put(&mut world, &Options::default(), &[], &[edge("a", "r")]).await;
    assert_eq!(shown(&world).await, [""; 0]);
    assert_eq!(ids(world.documents(USER_FEED).await), ["r:1"], "an edge names withdrawn posts");
}

#[tokio::test]
async fn ids_with_every_special_character_are_encoded() {
    let (author, follower, id) = ("a/\\?#:%", "r:/1%2F", "p?#");
    let mut world = World::new().await;
    put(&mut world, &Options::default(), &[post(author, id)], &[]).await;
    put(&mut world, &Options::default(), &[post(author, "q")], &[edge(author, follower)]).await;
    put(&mut world, &Options::default(), &[with(post(author, id), json!({"text": "edited"}))], &[]).await;
    let items = world.documents(USER_FEED).await;
    assert_eq!(items.len(), 2);
    let item = &items["r%3A%2F1%252F:p%3F%23"];
    assert_eq!(
        (&item["recipientId"], &item["postId"], &item["text"]),
        (&json!(follower), &json!(id), &json!("edited"))
    );
}

#[tokio::test]
async fn unknown_fields_are_carried() {
    let mut world = World::new().await;
    let fields = json!({"mood": {"x": [1, null]}, "cut": 3, "kind": "note"});
    put(&mut world, &Options::default(), &[with(post("a", "1"), fields.clone())], &[edge("a", "r")]).await;
    put(&mut world, &Options::default(), &[with(with(post("a", "1"), fields.clone()), json!({"text": "2"}))], &[])
        .await;
    let mut item = world.documents(USER_FEED).await.remove("r:1").unwrap();
    for field in ["mood", "cut", "kind"] {
        assert_eq!(item[field].take(), fields[field], "{field}");
    }
    assert_eq!(item["text"], "2");
}

#[tokio::test]
async fn a_malformed_change_is_rejected_and_the_others_go_on() {
    let mut world = World::new().await;
    let bad_post = with(post("a", "1"), json!({"status": 7}));
    let bad_edge = with(edge("a", "s"), json!({"muted": "yes"}));
    let rejected = put(&mut world, &Options::default(), &[bad_post, post("a", "2")], &[bad_edge, edge("a", "r")]).await;
    assert_eq!(rejected.len(), 2);
    assert!(rejected.iter().any(|reason| reason.contains("1 of authorPosts: field `status`: found a number, 7")));
    assert!(rejected.iter().any(|reason| reason.contains("a:s of follows: field `muted`")));
    assert_eq!(shown(&world).await, ["r:2"]);
    let mended = put(&mut world, &Options::default(), &[post("a", "1")], &[edge("a", "s")]).await;
    assert_eq!(mended, [""; 0]);
    assert_eq!(shown(&world).await, ["r:1", "r:2", "s:1", "s:2"]);
}

#[tokio::test]
async fn an_item_whose_id_would_be_too_long_is_rejected_and_the_others_go_on() {
    let mut world = World::new().await;
    let long = "x".repeat(1_020);
    let rejected =
        put(&mut world, &Options::default(), &[post("a", "12345")], &[edge("a", &long), edge("a", "r")]).await;
    assert_eq!(rejected.len(), 2, "by the post and by the edge");
    assert!(rejected[0].contains("1023 bytes"), "{}", rejected[0]);
    assert_eq!(shown(&world).await, ["r:12345"]);
}

#[tokio::test]
async fn ones_own_posts_are_in_the_feed_by_option() {
    let own = Options { own_posts: true, ..Options::default() };
    for (options, expected) in [(Options::default(), vec!["r:1"]), (own, vec!["a:1", "r:1"])] {
        let mut world = World::new().await;
        put(&mut world, &options, &[post("a", "1")], &[edge("a", "r")]).await;
        assert_eq!(shown(&world).await, expected);
        // Following oneself makes no difference to it.
        put(&mut world, &options, &[], &[with(edge("a", "a"), json!({"deletedAt": LATER}))]).await;
        put(&mut world, &options, &[with(post("a", "1"), json!({"text": "edited"}))], &[]).await;
        assert_eq!(shown(&world).await, expected);
    }
}

#[tokio::test]
async fn replies_are_left_out_by_option() {
    let without = Options { replies: false, ..Options::default() };
    let reply = with(post("a", "2"), json!({"replyToPostId": "9"}));
    for (options, expected) in [(Options::default(), vec!["r:1", "r:2", "s:1", "s:2"]), (without, vec!["r:1", "s:1"])] {
        let mut world = World::new().await;
        put(&mut world, &options, &[], &[edge("a", "s")]).await;
        put(&mut world, &options, &[post("a", "1"), reply.clone()], &[]).await;
        put(&mut world, &options, &[], &[edge("a", "r")]).await;
        assert_eq!(shown(&world).await, expected);
        assert_eq!(world.documents(USER_FEED).await.len(), expected.len(), "nothing was written for what is left out");
    }
}

#[tokio::test]
async fn a_back_fill_may_be_limited_to_the_newest_posts_and_an_unfollow_is_not() {
    let options = Options { backfill_items_max: 2.try_into().ok(), ..Options::default() };
    let mut world = World::new().await;
    let at = |id: &str, day: u32| with(post("a", id), json!({"createdAt": format!("2019-01-{day:02}T00:00:00.000Z")}));
    let withdrawn = with(at("4", 9), json!({"deletedAt": LATER}));
    put(&mut world, &options, &[at("1", 5), at("2", 7), at("3", 6), withdrawn], &[]).await;
    put(&mut world, &options, &[], &[edge("a", "r")]).await;
    assert_eq!(shown(&world).await, ["r:2", "r:3"]);
    put(&mut world, &options, &[at("5", 1)], &[]).await;
    assert_eq!(shown(&world).await, ["r:2", "r:3", "r:5"]);
    put(&mut world, &options, &[], &[with(edge("a", "r"), json!({"deletedAt": LATER}))]).await;
    assert_eq!(shown(&world).await, [""; 0]);
}

#[tokio::test]
async fn audiences_and_back_fills_of_several_pages_are_complete() {
    let posts: Vec<_> = (0..21).map(|n| post("a", &format!("p{n:02}"))).collect();
    let edges: Vec<_> = (0..1_050).map(|n| edge("a", &format!("r{n:04}"))).collect();
    let mut world = World::new().await;
    put(&mut world, &Options::default(), &posts[..20], &edges[..1_049]).await;
    assert_eq!(shown(&world).await.len(), 20 * 1_049);
    put(&mut world, &Options::default(), &posts[20..], &edges[1_049..]).await;
    assert_eq!(shown(&world).await.len(), 21 * 1_050);
}
