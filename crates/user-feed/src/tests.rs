//! The handlers on the real local store.

use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_documents::Retention;
use feedmill_documents::containers::{AUTHOR_POSTS, BLOCKS, FAN_OUT, FOLLOWING, FOLLOWS, USER_FEED};
use feedmill_documents::id::join;
use feedmill_engine::{Act, DifferenceKind, Processor, StartFrom};
use feedmill_testing::World;
use serde_json::{Value, json};

use crate::{Options, UserFeed, processors};

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

/// The author's side of a block with somebody.
fn block(author: &str, other: &str) -> Value {
    json!({"id": join([author, other]).unwrap(), "userId": author, "otherId": other, "createdAt": LATER})
}

#[tokio::test]
async fn a_block_takes_the_posts_of_its_side_out_and_unblocking_brings_them_back() {
    let mut world = two_followers().await;
    world.put(BLOCKS, block("a", "s")).await;
    world.put(BLOCKS, block("s", "a")).await;
    put(&mut world, &Options::default(), &[], &[]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2"]);
    assert_eq!(world.documents(USER_FEED).await["s:1"], json!({"id": "s:1", "recipientId": "s", "deletedAt": LATER}));
    put(&mut world, &Options::default(), &[post("a", "3")], &[edge("a", "s")]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3"], "neither a post nor an edge goes around a block");
    world.put(BLOCKS, with(block("a", "s"), json!({"deletedAt": LATER}))).await;
    put(&mut world, &Options::default(), &[], &[]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3", "s:1", "s:2", "s:3"]);
    // Once the withdrawn block has gone for good, nothing is missing and nothing is written again and again.
    let written = world.written();
    world.rewind();
    world.deliver(&all()).await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn a_block_between_strangers_writes_nothing() {
    let mut world = two_followers().await;
    let written = world.written();
    world.put(BLOCKS, block("a", "x")).await;
    world.put(BLOCKS, block("x", "a")).await;
    put(&mut world, &Options::default(), &[], &[]).await;
    assert_eq!(world.written(), written);
    put(&mut world, &Options::default(), &[], &[edge("a", "x")]).await;
    assert_eq!(shown(&world).await, ["r:1", "r:2", "s:1", "s:2"]);
}

#[tokio::test]
async fn many_followers_meet_few_blocks_and_the_order_of_both_makes_no_difference() {
    let edges: Vec<_> = (0..30).map(|n| edge("a", &format!("r{n:02}"))).collect();
    for blocks_first in [false, true] {
        let mut world = World::new().await;
        for edge in &edges {
            world.put(FOLLOWS, edge.clone()).await;
        }
        for other in ["r07", "r19", "z"] {
            world.put(BLOCKS, block("a", other)).await;
        }
        world.put(AUTHOR_POSTS, post("a", "1")).await;
        let mut processors = all();
        if blocks_first {
            processors.reverse();
        }
        world.deliver(&processors).await;
        let shown = shown(&world).await;
        assert_eq!(shown.len(), 28);
        assert!(!shown.contains(&"r07:1".to_owned()) && !shown.contains(&"r19:1".to_owned()));
    }
}

#[tokio::test]
async fn a_block_that_cannot_be_understood_is_rejected_and_shows_nothing_new() {
    let mut world = two_followers().await;
    world.put(BLOCKS, with(block("a", "s"), json!({"deletedAt": 7}))).await;
    let rejected = put(&mut world, &Options::default(), &[post("a", "3")], &[]).await;
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].contains("a:s of blocks: field `deletedAt`"), "{}", rejected[0]);
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3", "s:1", "s:2"]);
    world.put(BLOCKS, with(block("a", "s"), json!({"deletedAt": LATER}))).await;
    assert_eq!(put(&mut world, &Options::default(), &[], &[]).await, [""; 0]);
    assert_eq!(shown(&world).await, ["r:1", "r:2", "r:3", "s:1", "s:2", "s:3"]);
}

fn in_chunks(max: usize) -> Options {
    Options { fan_out_inline_max: max.try_into().unwrap(), ..Options::default() }
}

/// States of all chunks, by id.
async fn chunks(world: &World) -> BTreeMap<String, String> {
    let work = world.documents(FAN_OUT).await.into_iter();
    work.filter_map(|(id, chunk)| Some((id, chunk["state"].as_str()?.to_owned()))).collect()
}

#[tokio::test]
async fn past_the_limit_followers_are_cut_into_chunks_and_everyone_is_reached() {
    let (mut world, options) = (World::new().await, in_chunks(4));
    let edges: Vec<_> = (0..11).map(|n| edge("a", &format!("r{n:02}"))).collect();
    put(&mut world, &options, &[], &edges).await;
    let processors = processors(&options, StartFrom::Beginning);
    world.put(AUTHOR_POSTS, post("a", "1")).await;
    world.deliver(&processors[..1]).await;
    assert_eq!(shown(&world).await.len(), 4, "so many are settled at once, the others are work");
    let work = world.documents(FAN_OUT).await;
    assert_eq!(work["a:cuts"]["cuts"], json!(["r04", "r08"]));
    assert_eq!(work["1:0"]["cuts"], json!(["r04", "r08"]));
    let states = |states: [&str; 3]| -> BTreeMap<String, String> {
        (0..).zip(states).map(|(n, state)| (format!("1:{n}"), state.to_owned())).collect()
    };
    assert_eq!(chunks(&world).await, states(["done", "todo", "todo"]));
    world.deliver(&processors).await;
    assert_eq!(chunks(&world).await, states(["done", "done", "done"]));
    assert_eq!(shown(&world).await.len(), 11);

    // An edit makes the same chunks work again, one of them is not settled before the withdrawal.
    world.put(AUTHOR_POSTS, with(post("a", "1"), json!({"text": "edited"}))).await;
    world.deliver(&processors[..1]).await;
    assert_eq!(chunks(&world).await, states(["todo", "todo", "todo"]));
    assert!(world.documents(USER_FEED).await.values().all(|item| item["text"] == "hello"));
    world.put(AUTHOR_POSTS, with(post("a", "1"), json!({"deletedAt": LATER}))).await;
    world.deliver(&processors).await;
    assert_eq!(shown(&world).await, [""; 0]);
    world.put(AUTHOR_POSTS, with(post("a", "1"), json!({"text": "back"}))).await;
    world.deliver(&processors).await;
    assert_eq!(chunks(&world).await, states(["done", "done", "done"]));
    assert_eq!(shown(&world).await.len(), 11);
    assert!(world.documents(USER_FEED).await.values().all(|item| item["text"] == "back"));
}

/// Otherwise a replay of its dead letter would find nothing to do.
#[tokio::test]
async fn a_chunk_of_which_something_was_rejected_stays_work() {
    let (mut world, options) = (World::new().await, in_chunks(2));
    let long = format!("m3{}", "x".repeat(1_018));
    let edges = ["m0", "m1", "m2", &long].map(|follower| edge("a", follower));
    put(&mut world, &options, &[], &edges).await;
    let rejected = put(&mut world, &options, &[post("a", "12345")], &[]).await;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(shown(&world).await, ["m0:12345", "m1:12345", "m2:12345"]);
    let expected = [("12345:0", "done"), ("12345:1", "todo")].map(|(id, state)| (id.to_owned(), state.to_owned()));
    assert_eq!(chunks(&world).await, expected.into());
}

#[tokio::test]
async fn who_follows_before_the_first_or_behind_the_last_cut_point_is_in_a_chunk_too() {
    let (mut world, options) = (World::new().await, in_chunks(2));
    let edges: Vec<_> = (10..16).map(|n| edge("a", &format!("r{n}"))).collect();
    put(&mut world, &options, &[post("a", "1")], &edges).await;
    put(&mut world, &options, &[], &[edge("a", "a:1"), edge("a", "r111"), edge("a", "z")]).await;
    put(&mut world, &options, &[post("a", "2")], &[]).await;
    assert_eq!(shown(&world).await.len(), 2 * 9);
}

#[tokio::test]
async fn an_interval_that_has_grown_is_cut_for_the_posts_that_come() {
    let (mut world, options) = (World::new().await, in_chunks(2));
    let edges: Vec<_> = (0..3).map(|n| edge("a", &format!("m{n}"))).collect();
    put(&mut world, &options, &[post("a", "1")], &edges).await;
    assert_eq!(world.documents(FAN_OUT).await["a:cuts"]["cuts"], json!(["m2"]));
    let more: Vec<_> = (0..6).map(|n| edge("a", &format!("z{n}"))).collect();
    put(&mut world, &options, &[], &more).await;
    put(&mut world, &options, &[post("a", "2")], &[]).await;
    assert_eq!(world.documents(FAN_OUT).await["a:cuts"]["cuts"], json!(["m2", "z1", "z3", "z5"]));
    put(&mut world, &options, &[post("a", "3"), with(post("a", "2"), json!({"text": "edited"}))], &[]).await;
    let chunks = chunks(&world).await;
    let of = |post: &str| chunks.keys().filter(|id| id.starts_with(post)).count();
    assert_eq!((of("1:"), of("2:"), of("3:")), (2, 2, 5), "an edit finds the chunks of its post");
    assert_eq!(shown(&world).await.len(), 3 * 9);
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

fn of_december(id: &str, day: u32) -> Value {
    with(post("a", id), json!({"createdAt": format!("2019-12-{day:02}T00:00:00.000Z")}))
}

#[tokio::test]
async fn a_post_leaves_every_feed_when_it_is_as_old_as_the_retention_and_nothing_brings_it_back() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let options = Options { retention: Retention::days(20), ..Options::default() };
    let mut world = World::new().await;
    put(&mut world, &options, &[], &[edge("a", "r")]).await;
    // By fan-out, and by back-fill.
    put(&mut world, &options, &[of_december("old", 1), of_december("young", 20)], &[]).await;
    assert_eq!(shown(&world).await, ["r:young"]);
    put(&mut world, &options, &[], &[edge("a", "s")]).await;
    assert_eq!(shown(&world).await, ["r:young", "s:young"]);
    assert_eq!(world.written(), 2, "what is over is not even written");

    world.clock.advance(7 * DAY);
    put(&mut world, &options, &[with(of_december("young", 20), json!({"text": "edited"}))], &[]).await;
    assert_eq!(world.documents(USER_FEED).await["r:young"]["text"], "edited");
    world.clock.advance(DAY);
    // Whether the store has taken it out already or not.
    assert_eq!(shown(&world).await, [""; 0]);
    let written = world.written();
    world.rewind();
    put(&mut world, &options, &[with(of_december("young", 20), json!({"text": "again"}))], &[edge("a", "t")]).await;
    assert_eq!(shown(&world).await, [""; 0]);
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn a_retention_that_is_set_later_is_applied_by_a_repair() {
    let mut world = World::new().await;
    put(&mut world, &Options::default(), &[of_december("old", 1), of_december("young", 20)], &[edge("a", "r")]).await;
    world
        .put(FOLLOWING, json!({"id": "r:a", "followerId": "r", "followeeId": "a", "createdAt": "2019-02-01T00:00:00Z"}))
        .await;
    assert_eq!(shown(&world).await, ["r:old", "r:young"]);
    let feed = UserFeed::new(Options { retention: Retention::days(20), ..Options::default() });
    let judged = feed.rebuild("r", Act::Repair, &world.operator(true)).await.unwrap();
    let ttl = DifferenceKind::Fields(vec!["ttl".to_owned()]);
    assert!(judged.differences.len() == 2 && judged.differences.values().all(|each| each.kind == ttl), "{judged:?}");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(shown(&world).await, ["r:young"]);
    let judged = feed.rebuild("r", Act::Compare, &world.operator(false)).await.unwrap();
    assert!(judged.differences.is_empty(), "{judged:?}");
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
