//! What a post costs, counted in the request units of the local store's model.

use feedmill_documents::containers::USER_FEED;
use feedmill_testing::World;
use feedmill_workload::generate::{Network, Options};
use serde_json::json;

use crate::projections::{END, Life, all, small};

/// Everything that was read and written, in all containers and feeds.
fn spent(world: &World) -> f64 {
    let total = world.tally().total();
    (total.reads + total.writes + world.feeds()).units()
}

fn written_to_feeds(world: &World) -> f64 {
    world.tally().containers.get(USER_FEED).map_or(0.0, |tally| tally.writes.units())
}

/// What one post of an author with so many followers costs: writes to feeds, bare creates of the same items, all the rest.
async fn post(followers: usize, fan_out_inline_max: usize) -> (f64, f64, f64) {
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
    let (before, feeds) = (spent(&world), written_to_feeds(&world));
    let bare = world.bare_creates(USER_FEED).await.units() / 2.0;
    world.put("posts_v2", post("2")).await;
    for _ in 0..2 {
        assert_eq!(world.deliver(&processors).await, [""; 0]);
    }
    assert_eq!(world.documents(USER_FEED).await.len(), 3 * followers);
    let writes = written_to_feeds(&world) - feeds;
    (writes, bare, spent(&world) - before - writes)
}

#[tokio::test]
async fn a_post_costs_what_its_items_cost_and_little_more() {
    for (followers, fan_out_inline_max, rest_max) in
        [(0, 10_000, 60.0), (10, 10_000, 70.0), (2_500, 10_000, 0.0), (5_000, 1_250, 0.0)]
    {
        let (writes, bare, rest) = post(followers, fan_out_inline_max).await;
        let context = format!("{followers} followers, {fan_out_inline_max} at once: {writes} for {bare}, and {rest}");
        assert!(writes <= 1.02 * bare, "{context}");
        let rest_max = if rest_max > 0.0 { rest_max } else { 0.05 * writes };
        assert!(rest <= rest_max, "{context}");
    }
}

#[tokio::test]
async fn a_replay_of_everything_costs_less_than_half_and_writes_nothing() {
    for fan_out_inline_max in [10_000, 3] {
        let options = Options { users: 80, follows_mean: 25, posts: 300, likes: 300, ..small(7) };
        let network = Network::new(&options, END);
        let mut life = Life::new(7, fan_out_inline_max).await;
        life.write(network.writes()).await;
        life.catch_up().await;
        let (first, written) = (spent(&life.world), life.world.written());
        life.world.rewind();
        life.catch_up().await;
        let again = spent(&life.world) - first;
        assert_eq!(life.world.written(), written);
        assert!(
            again < 0.5 * first,
            "{again} after {first}, {fan_out_inline_max} at once, {} of it feeds",
            life.world.feeds()
        );
    }
}
