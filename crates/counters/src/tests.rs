//! The handlers on the real local store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feedmill_documents::containers::{AUTHOR_POSTS, COUNTERS, FOLLOWING, FOLLOWS, POST_REPLIES, REACTIONS};
use feedmill_documents::id::join;
use feedmill_engine::{Act, Processor, StartFrom};
use feedmill_store_api::{
    Container, Database, Operation, PartitionKey, PassingContainer, PassingDatabase, Result, Written,
};
use feedmill_testing::{Request, RequestKind, World};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::{Options, processors, rebuild};

const GONE: &str = "2019-06-01T00:00:00.000Z";

fn all() -> Vec<Processor> {
    processors(&Options::default(), StartFrom::Beginning)
}

fn reaction(post: &str, user: &str, kind: &str) -> Value {
    json!({"id": join([post, user]).unwrap(), "postId": post, "userId": user, "type": kind})
}

fn withdrawn(mut document: Value) -> Value {
    document["deletedAt"] = GONE.into();
    document
}

async fn put(world: &mut World, container: &str, documents: &[Value]) -> Vec<String> {
    for document in documents {
        world.put(container, document.clone()).await;
    }
    world.deliver(&all()).await
}

/// Values by id.
async fn values(world: &World) -> BTreeMap<String, u64> {
    let counters = world.documents(COUNTERS).await;
    counters.into_iter().map(|(id, counter)| (id, counter["value"].as_u64().unwrap())).collect()
}

fn expected(values: &[(&str, u64)]) -> BTreeMap<String, u64> {
    values.iter().map(|&(id, value)| (id.to_owned(), value)).collect()
}

#[tokio::test]
async fn each_type_of_reaction_has_a_counter() {
    let mut world = World::new().await;
    let reactions = [reaction("p", "a", "like"), reaction("p", "b", "like"), reaction("p", "c", "love")];
    assert_eq!(put(&mut world, REACTIONS, &reactions).await, [""; 0]);
    assert_eq!(values(&world).await, expected(&[("p:likes", 2), ("p:love", 1)]));
    let counter = json!({"id": "p:likes", "subjectId": "p", "name": "likes", "value": 2});
    assert_eq!(world.documents(COUNTERS).await["p:likes"], counter);
}

#[tokio::test]
async fn an_unlike_is_counted_down_to_nothing() {
    let mut world = World::new().await;
    put(&mut world, REACTIONS, &[reaction("p", "a", "like"), reaction("p", "b", "like")]).await;
    put(&mut world, REACTIONS, &[withdrawn(reaction("p", "a", "like"))]).await;
    assert_eq!(values(&world).await, expected(&[("p:likes", 1)]));
    // A withdrawn reaction need not say any more which type it was.
    let bare = json!({"id": "p:b", "postId": "p", "userId": "b", "deletedAt": GONE});
    put(&mut world, REACTIONS, &[bare]).await;
    assert_eq!(values(&world).await, expected(&[("p:likes", 0)]));
}

#[tokio::test]
async fn a_change_of_type_corrects_the_counter_it_left() {
    let mut world = World::new().await;
    put(&mut world, REACTIONS, &[reaction("p", "a", "like")]).await;
    put(&mut world, REACTIONS, &[reaction("p", "a", "love")]).await;
    assert_eq!(values(&world).await, expected(&[("p:likes", 0), ("p:love", 1)]));
    put(&mut world, REACTIONS, &[reaction("p", "a", "haha")]).await;
    assert_eq!(values(&world).await, expected(&[("p:haha", 1), ("p:likes", 0), ("p:love", 0)]));
}

/// Writes on their way.
type OnTheWay = Arc<Mutex<Vec<(Arc<dyn Container>, PartitionKey, Operation)>>>;

/// A network on which every write stays on its way.
struct Slow {
    inner: Arc<dyn Database>,
    on_the_way: OnTheWay,
}

struct SlowContainer {
    inner: Arc<dyn Container>,
    on_the_way: OnTheWay,
}

impl PassingDatabase for Slow {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(SlowContainer { inner, on_the_way: Arc::clone(&self.on_the_way) })
    }
}

impl PassingContainer for SlowContainer {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        self.on_the_way.lock().unwrap().push((Arc::clone(&self.inner), key.clone(), operation));
        std::future::pending().boxed()
    }
}

/// Found by tiny seed 1015412: the create of a counter was late, its sender gone, and its type named by nobody any more.
#[tokio::test]
async fn a_counter_that_is_made_late_does_not_count_what_has_changed_its_type() {
    let (mut world, on_the_way) = (World::new().await, OnTheWay::default());
    world.put(REACTIONS, reaction("p", "a", "wow")).await;
    world.write_through(|inner| Arc::new(Slow { inner, on_the_way: Arc::clone(&on_the_way) }));
    assert!(world.deliver(&all()).now_or_never().is_none(), "it waits for its write, and is gone");
    world.write_through(|inner| inner);
    put(&mut world, REACTIONS, &[reaction("p", "a", "like")]).await;
    let late = std::mem::take(&mut *on_the_way.lock().unwrap());
    assert_eq!(late.len(), 1);
    for (container, key, operation) in late {
        container.write(&key, operation).await.unwrap();
    }
    assert_eq!(values(&world).await, expected(&[("p:likes", 1), ("p:wow", 0)]));
}

#[tokio::test]
async fn a_rebuild_makes_a_counter_before_it_counts() {
    let mut world = World::new().await;
    world.put(REACTIONS, reaction("p", "a", "wow")).await;
    for act in [Act::Settle, Act::Repair] {
        let before = world.ledger.len();
        rebuild(&Options::default(), "p", act, &world.operator(true)).await.unwrap();
        assert_eq!(values(&world).await, expected(&[("p:wow", 1)]), "{act:?}");
        let requests = world.ledger.since(before);
        let is_write = |request: &&Request| request.kind == RequestKind::Write;
        if act == Act::Settle {
            let made = requests.iter().position(|request| is_write(&request)).unwrap();
            let counted = requests.iter().rposition(|request| request.container == REACTIONS).unwrap();
            assert!(made < counted && requests.iter().filter(is_write).count() == 2, "{requests:?}");
        } else {
            assert_eq!(requests.iter().filter(is_write).count(), 0, "what is right is left alone: {requests:?}");
        }
    }
    // Whoever leaves the type is found, though it was counted by hand alone.
    put(&mut world, REACTIONS, &[reaction("p", "a", "like")]).await;
    assert_eq!(values(&world).await, expected(&[("p:likes", 1), ("p:wow", 0)]));
}

#[tokio::test]
async fn a_counter_whose_document_has_expired_is_unknown_until_the_next_change_counts_it_right() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut world = World::new().await;
    put(&mut world, REACTIONS, &[reaction("p", "a", "like"), reaction("p", "b", "like"), reaction("p", "c", "wow")])
        .await;
    world.clock.advance(91 * DAY);
    assert_eq!(values(&world).await, expected(&[]));
    // Unknown is not wrong.
    let judged = rebuild(&Options::default(), "p", Act::Compare, &world.operator(true)).await.unwrap();
    assert!(judged.differences.is_empty(), "{judged:?}");
    // The type that is left says 0 or nothing, never what it was.
    put(&mut world, REACTIONS, &[reaction("p", "c", "like")]).await;
    assert_eq!(values(&world).await, expected(&[("p:likes", 3)]));
    world.clock.advance(91 * DAY);
    world.rewind();
    assert_eq!(world.deliver(&all()).await, [""; 0]);
    assert_eq!(values(&world).await, expected(&[("p:likes", 3)]));
    // One that expires while its subject changes every day is there all the time.
    for day in 0..100 {
        world.clock.advance(DAY);
        put(&mut world, REACTIONS, &[reaction("p", &format!("d{day}"), "like")]).await;
        assert_eq!(values(&world).await, expected(&[("p:likes", 4 + day)]));
    }
}

#[tokio::test]
async fn a_subject_may_be_post_and_person_and_have_types_named_like_counters() {
    let mut world = World::new().await;
    put(&mut world, FOLLOWS, &[json!({"id": "1:b", "followeeId": "1", "followerId": "b"})]).await;
    put(&mut world, REACTIONS, &[reaction("1", "a", "like"), reaction("1", "b", "followers")]).await;
    assert_eq!(values(&world).await, expected(&[("1:followers", 1), ("1:followers_", 1), ("1:likes", 1)]));
}

#[tokio::test]
async fn followers_and_followees_are_live_edges_muted_ones_included() {
    let mut world = World::new().await;
    let edge = |follower: &str, muted: bool| json!({"id": join(["a", follower]).unwrap(), "followeeId": "a", "followerId": follower, "muted": muted});
    put(&mut world, FOLLOWS, &[edge("b", false), edge("c", true), withdrawn(edge("d", false))]).await;
    let following = |id: &str| json!({"id": format!("b:{id}"), "followeeId": id, "followerId": "b"});
    put(&mut world, FOLLOWING, &[following("a"), following("z"), withdrawn(following("y"))]).await;
    assert_eq!(values(&world).await, expected(&[("a:followers", 2), ("b:following", 2)]));
}

#[tokio::test]
async fn posts_and_replies_are_the_published_ones() {
    let mut world = World::new().await;
    let post = |id: &str, status: &str| json!({"id": id, "postId": id, "authorId": "a", "parentPostId": "p", "status": status});
    let posts =
        [post("1", "published"), post("2", "hidden"), post("3", "published"), withdrawn(post("4", "published"))];
    put(&mut world, AUTHOR_POSTS, &posts).await;
    put(&mut world, POST_REPLIES, &posts[..2]).await;
    assert_eq!(values(&world).await, expected(&[("a:posts", 2), ("p:replies", 1)]));
    put(&mut world, POST_REPLIES, &[post("2", "published"), withdrawn(post("1", "published"))]).await;
    assert_eq!(values(&world).await["p:replies"], 1);
}

#[tokio::test]
async fn a_replay_of_everything_writes_nothing() {
    let mut world = World::new().await;
    put(&mut world, REACTIONS, &[reaction("p", "a", "like"), reaction("p", "b", "love"), reaction("q", "a", "like")])
        .await;
    put(&mut world, REACTIONS, &[withdrawn(reaction("p", "b", "love"))]).await;
    put(&mut world, FOLLOWS, &[json!({"id": "a:b", "followeeId": "a", "followerId": "b"})]).await;
    let written = world.written();
    world.rewind();
    assert_eq!(world.deliver(&all()).await, [""; 0]);
    assert_eq!(world.written(), written);
    assert_eq!(values(&world).await, expected(&[("a:followers", 1), ("p:likes", 1), ("p:love", 0), ("q:likes", 1)]));
}

#[tokio::test]
async fn ids_and_types_with_special_characters_are_encoded() {
    let mut world = World::new().await;
    put(&mut world, REACTIONS, &[reaction("p/?", "a:b", "+1:#%")]).await;
    assert_eq!(values(&world).await, expected(&[("p%2F%3F:+1%3A%23%25", 1)]));
    put(&mut world, REACTIONS, &[reaction("p/?", "a:b", "like")]).await;
    assert_eq!(values(&world).await, expected(&[("p%2F%3F:+1%3A%23%25", 0), ("p%2F%3F:likes", 1)]));
}

#[tokio::test]
async fn a_malformed_reaction_is_rejected_and_the_others_are_counted() {
    let mut world = World::new().await;
    let bad = json!({"id": "p:b", "postId": "p", "userId": "b", "type": 7});
    let rejected = put(&mut world, REACTIONS, &[reaction("p", "a", "like"), bad]).await;
    assert_eq!(rejected, ["field `type`: found a number, 7, expected a string that is not empty"]);
    assert_eq!(values(&world).await, expected(&[("p:likes", 1)]));
}

#[tokio::test]
async fn changes_without_a_subject_are_rejected() {
    let mut world = World::new().await;
    let rejected = put(&mut world, FOLLOWS, &[json!({"id": "a:b", "followerId": "b"})]).await;
    assert_eq!(rejected, ["field `partition key`: found [{}], expected a string that is not empty"]);
    assert_eq!(values(&world).await, expected(&[]));
}
