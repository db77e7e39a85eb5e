//! What a post costs, counted in the request units of the local store's model.

use std::collections::BTreeMap;

use bytes::Bytes;
use feedmill_documents::containers::{PUBLIC_PROFILES, USER_FEED};
use feedmill_store_api::{DocumentId, Operation, PartitionKey, ReadLevel, RequestCharge};
use feedmill_testing::{Request, RequestKind, World};
use feedmill_workload::generate::{Network, Options};
use serde_json::json;

use crate::projections::{END, Life, all, small};

fn units<'a>(requests: impl IntoIterator<Item = &'a Request>) -> f64 {
    requests.into_iter().map(|request| request.charge).sum::<RequestCharge>().units()
}

fn writes_feeds(request: &Request) -> bool {
    request.kind == RequestKind::Write && request.container == USER_FEED
}

/// What one post of an author with so many followers costs: every request, and bare creates of the same items.
async fn post(followers: usize, fan_out_inline_max: usize) -> (Vec<Request>, f64) {
    let (mut world, processors) = (World::new().await, all(fan_out_inline_max));
    for number in 0..followers {
        let (id, follower) = (format!("a:r{number:06}"), format!("r{number:06}"));
        let edge =
            json!({"id": id, "followeeId": "a", "followerId": follower, "createdAt": "2019-12-01T00:00:00.000Z"});
        world.put("follows", edge).await;
    }
    let post = |id: &str| {
        json!({"id": id, "postId": id, "authorId": "a", "createdAt": "2019-12-31T00:00:00.000Z", "status": "published",
            "content": "about as long as such a thing is on average, which is not very long", "version": 0})
    };
    // The first post of an author with very many followers also finds out how they are cut, and after the edges have named
    // what it made the settler looks before it creates; the second one finds nothing there.
    for id in ["0", "1"] {
        world.put("posts_v2", post(id)).await;
        for _ in 0..2 {
            assert_eq!(world.deliver(&processors).await, [""; 0]);
        }
    }
    let before = world.ledger.len();
    let bare = world.bare_creates(USER_FEED).await.units() / 2.0;
    world.put("posts_v2", post("2")).await;
    for _ in 0..2 {
        assert_eq!(world.deliver(&processors).await, [""; 0]);
    }
    assert_eq!(world.documents(USER_FEED).await.len(), 3 * followers);
    (world.ledger.since(before), bare)
}

/// `--nocapture` shows every request and its charge.
#[tokio::test]
async fn a_post_costs_what_its_items_cost_and_little_more() {
    const FEW: f64 = 60.0;
    // The list of the followers, as a quorum read.
    const FOLLOWER: f64 = 0.28;
    // From a thousand followers on it is judged by what their items cost.
    for (followers, fan_out_inline_max, rest_max) in [
        (0, 10_000, Some(FEW)),
        (10, 10_000, Some(FEW)),
        (100, 10_000, Some(FEW + 100.0 * FOLLOWER)),
        (300, 10_000, Some(FEW + 300.0 * FOLLOWER + 10.0)),
        (1_000, 10_000, None),
        (2_500, 10_000, None),
        (2_500, 1_250, None),
        (5_000, 1_250, None),
    ] {
        let (requests, bare) = post(followers, fan_out_inline_max).await;
        let (items, rest): (Vec<_>, Vec<_>) = requests.iter().partition(|request| writes_feeds(request));
        let (writes, rest_units) = (units(items), units(rest.iter().copied()));
        let context = format!(
            "{followers} followers, {fan_out_inline_max} at once: {writes:.2} for {bare:.2}, and {rest_units:.2}, {:.2} %",
            100.0 * rest_units / writes
        );
        println!("{context}");
        rest.iter().for_each(|request| println!("{request}"));
        assert!(writes <= 1.02 * bare, "{context}");
        assert!(rest_units <= rest_max.unwrap_or(0.05 * writes), "{context}");
    }
}

/// Names are read where they are shown: `--nocapture` shows what both sides of that cost.
#[tokio::test]
async fn a_new_name_costs_its_own_write_however_many_see_it_and_a_point_read_where_it_is_shown() {
    const FOLLOWERS: usize = 200;
    let (mut world, processors) = (World::new().await, all(10_000));
    let profile = |name: &str| json!({"id": "a", "userId": "a", "displayName": name, "bio": "short", "version": 1});
    world.put(PUBLIC_PROFILES, profile("Ada")).await;
    for number in 0..FOLLOWERS {
        let (id, follower) = (format!("a:r{number}"), format!("r{number}"));
        let edge =
            json!({"id": id, "followeeId": "a", "followerId": follower, "createdAt": "2019-12-01T00:00:00.000Z"});
        world.put("follows", edge).await;
    }
    for id in 0..5 {
        let (id, at) = (id.to_string(), "2019-12-31T00:00:00.000Z");
        let post = json!({"id": id, "postId": id, "authorId": "a", "createdAt": at, "status": "published"});
        world.put("posts_v2", post).await;
    }
    for _ in 0..3 {
        assert_eq!(world.deliver(&processors).await, [""; 0]);
    }
    assert_eq!(world.documents(USER_FEED).await.len(), 5 * FOLLOWERS);
    let (written, before) = (world.written(), world.ledger.len());
    let profiles = world.database().container(PUBLIC_PROFILES).await.unwrap();
    let (key, id) = (PartitionKey::from("a"), DocumentId::new("a").unwrap());
    let body = Bytes::from(profile("Ada Lovelace").to_string());
    let renamed = profiles.write(&key, Operation::Replace { id: id.clone(), body, if_match: None }).await.unwrap();
    assert_eq!(world.deliver(&processors).await, [""; 0]);
    assert_eq!(world.ledger.len(), before, "nobody so much as reads it");
    assert_eq!(world.written(), written);
    let (_, shown) = profiles.read(&key, &id, &ReadLevel::Quorum).await.unwrap();
    let items = world.bare_creates(USER_FEED).await.units();
    let (renamed, shown) = (renamed.charge.units(), shown.units());
    println!("{renamed:.2} for the name, {shown:.2} where it is shown; a name in the items: {:.0}", 2.0 * items);
    assert!(renamed < 20.0 && shown <= 2.0 && 2.0 * items > 100.0 * renamed);
}

/// `--nocapture` shows what the replay read.
#[tokio::test]
async fn a_replay_of_everything_costs_less_than_two_fifths_and_writes_nothing() {
    for fan_out_inline_max in [10_000, 3] {
        let options = Options { users: 80, follows_mean: 25, posts: 300, likes: 300, ..small(7) };
        let network = Network::new(&options, END);
        let mut life = Life::new(7, fan_out_inline_max).await;
        life.write(network.writes()).await;
        life.catch_up().await;
        let (first, written) = (life.world.ledger.since(0), life.world.written());
        life.world.rewind();
        life.catch_up().await;
        let again = life.world.ledger.since(first.len());
        assert_eq!(life.world.written(), written);
        assert!(again.iter().all(|request| request.kind != RequestKind::Write));
        let mut by_container: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for request in &again {
            let kind = if request.kind == RequestKind::Page { "feed" } else { "reads" };
            *by_container.entry((&request.container, kind)).or_default() += request.charge.units();
        }
        let (first, again) = (units(&first), units(&again));
        let context = format!("{again:.0} after {first:.0}, {:.3}, {fan_out_inline_max} at once", again / first);
        println!("{context}: {by_container:.0?}");
        assert!(again < 0.4 * first, "{context}");
    }
}
