use std::sync::Arc;
use std::time::Duration;

use feedmill_outbox::{OnDead, Options};

use crate::support::{World, post, uuid};

/// Makes the first event of post 1 one that can never be written.
const POISON: &str =
    "UPDATE outbox SET payload = payload - 'version' WHERE sequence = 1 AND payload ->> 'postId' LIKE '%1'";

async fn poisoned(test: &str) -> Option<World> {
    let world = World::new(test).await?;
    world.users(1).await;
    for n in 1..=3 {
        world.sql(&post(n)).await;
    }
    world.sql("UPDATE posts SET body = 'second'").await;
    world.sql(POISON).await;
    Some(world)
}

async fn version(world: &World, n: u32) -> Option<i64> {
    world.document("posts_v2", &uuid(n), &uuid(n)).await.and_then(|document| document["version"].as_i64())
}

#[tokio::test]
async fn a_poisoned_row_holds_up_only_its_own_key() {
    let Some(world) = poisoned("a_poisoned_row_holds_up_only_its_own_key").await else { return };
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    assert_eq!(
        [version(&world, 1).await, version(&world, 2).await, version(&world, 3).await],
        [None, Some(2), Some(2)]
    );
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE last_error LIKE '%`version`%'").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL AND retry_count = 0").await, 1);
}

#[tokio::test]
async fn a_failed_event_is_tried_again_after_growing_waits_until_it_is_dead() {
    let Some(world) = poisoned("a_failed_event_is_tried_again_after_growing_waits_until_it_is_dead").await else {
        return;
    };
    world.sql("UPDATE outbox SET max_retries = 3").await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    for retry in 1..=3_u64 {
        let whole = Duration::from_secs(60) * 2_u32.pow(u32::try_from(retry).unwrap() - 1);
        world.manual.advance(whole / 2 - Duration::from_secs(1));
        assert_eq!(relay.step().await.unwrap().claimed, 0, "retry {retry} came too early");
        world.manual.advance(whole / 2 + Duration::from_secs(1));
        let step = relay.step().await.unwrap();
        assert_eq!((step.failed, step.dead), (1, u64::from(retry == 3)));
    }
    world.manual.advance(Duration::from_secs(365 * 24 * 3_600));
    assert_eq!(relay.step().await.unwrap().claimed, 0, "a dead letter is not tried again by itself");
    assert_eq!(version(&world, 1).await, None, "and its key waits");
}

#[tokio::test]
async fn a_dead_letter_may_be_passed_by_policy() {
    let Some(world) = poisoned("a_dead_letter_may_be_passed_by_policy").await else { return };
    world.sql("UPDATE outbox SET max_retries = 0").await;
    let options = Options { on_dead: OnDead::Pass, ..world.options() };
    let relay = world.relay(&world.outbox_with(options, Arc::new(world.manual.clone())).await);
    world.settle(&relay).await;
    assert_eq!(version(&world, 1).await, Some(2));
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 1);
}

#[tokio::test]
async fn an_outage_of_the_store_uses_up_no_retries() {
    let Some(world) = World::new("an_outage_of_the_store_uses_up_no_retries").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE outbox SET max_retries = 0").await;
    let relay = world.relay(&world.outbox().await);
    world.store.away(true);
    for _ in 0..5 {
        assert_eq!(relay.step().await.unwrap().deferred, 1);
        world.manual.advance(Duration::from_secs(1));
    }
    world.store.away(false);
    world.settle(&relay).await;
    assert_eq!(version(&world, 1).await, Some(1));
    assert_eq!(world.number("SELECT max(retry_count)::int8 FROM outbox").await, 0);
}

#[tokio::test]
async fn a_missing_container_holds_up_nothing_else() {
    let Some(world) = World::new("a_missing_container_holds_up_nothing_else").await else { return };
    world.users(1).await;
    world.sql(&format!("INSERT INTO profiles (user_id, display_name) VALUES ('{}', 'Ada')", uuid(1))).await;
    world.sql(&post(1)).await;
    let mut options = world.options();
    options.routes.get_mut("profile").unwrap().container = "nowhere".to_owned();
    let relay = world.relay(&world.outbox_with(options, Arc::new(world.manual.clone())).await);
    let step = relay.step().await.unwrap();
    assert_eq!((step.relayed, step.deferred), (1, 1));
}

#[tokio::test]
async fn a_document_the_store_refuses_fails_alone_in_its_batch() {
    let Some(world) = World::new("a_document_the_store_refuses_fails_alone_in_its_batch").await else { return };
    // Reactions to one post travel together; one of them is larger than an item may be.
    world
        .sql(
            "INSERT INTO outbox (event_key, topic, partition_key, sequence, payload)
             SELECT n, 'reaction', n, 1, jsonb_build_object('postId', 'p', 'userId', n::text, 'version', 1,
                 'note', CASE WHEN n = 17 THEN repeat('x', 2200000) ELSE '' END)
             FROM generate_series(1, 50) AS n",
        )
        .await;
    let relay = world.relay(&world.outbox().await);
    let step = relay.step().await.unwrap();
    assert_eq!((step.claimed, step.relayed, step.failed, step.deferred), (50, 49, 1, 0));
    assert!(world.document("reactions", "p", "p:17").await.is_none());
}
