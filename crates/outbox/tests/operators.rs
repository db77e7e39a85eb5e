use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::SystemClock;
use feedmill_outbox::{Error, Lifetime, Options, Selection};
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

#[tokio::test]
async fn status_tells_what_waits_and_why() {
    let Some(world) = World::new("status_tells_what_waits_and_why").await else { return };
    world.users(1).await;
    for n in 1..=5 {
        world.sql(&post(n)).await;
    }
    world.sql("UPDATE posts SET body = 'second'").await;
    world.sql("UPDATE outbox SET payload = '{}' WHERE sequence = 1 AND payload ->> 'postId' LIKE '%1'").await;
    world
        .sql("UPDATE outbox SET payload = '{}', max_retries = 0 WHERE sequence = 1 AND payload ->> 'postId' LIKE '%2'")
        .await;
    let outbox = world.outbox().await;
    world.settle(&world.relay(&outbox)).await;
    world.sql(&post(6)).await;
    world.manual.advance(Duration::from_secs(10));
    let status = outbox.status().await.unwrap();
    assert_eq!((status.pending, status.retrying, status.dead, status.held), (5, 1, 1, 2));
    assert!(status.oldest_age_seconds.unwrap() > 5.0 && status.replication_lag_seconds.unwrap() > 5.0);
    assert!((status.rate_per_second - 6.0 / 300.0).abs() < 1e-9);
    assert!(status.relay_seconds_p95.unwrap() >= status.relay_seconds_p50.unwrap());
}

#[tokio::test]
async fn an_empty_outbox_has_a_status() {
    let Some(world) = World::new("an_empty_outbox_has_a_status").await else { return };
    let status = world.outbox().await.status().await.unwrap();
    assert_eq!((status.pending, status.oldest_age_seconds, status.relay_seconds_p50), (0, None, None));
}

#[tokio::test]
async fn a_dead_letter_is_shown_retried_and_skipped() {
    let Some(world) = World::new("a_dead_letter_is_shown_retried_and_skipped").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE posts SET body = 'second'").await;
    world.sql("UPDATE outbox SET payload = '{\"broken\": true}', max_retries = 0 WHERE sequence = 1").await;
    let outbox = world.outbox().await;
    let relay = world.relay(&outbox);
    world.settle(&relay).await;
    let shown = outbox.show(&Selection::Dead, 10).await.unwrap();
    assert_eq!(shown.len(), 1);
    let dead = &shown[0];
    assert_eq!((dead.state.as_str(), dead.retry_count, dead.waiting_before), ("dead", 1, 0));
    assert!(dead.last_error.as_ref().unwrap().contains("`postId`") && dead.payload.contains("broken"));
    let event = Selection::Event(dead.event_key.clone());
    assert_eq!(outbox.retry(&event).await.unwrap(), 1);
    assert_eq!(relay.step().await.unwrap().dead, 1, "retried, and dead again");
    assert_eq!(outbox.skip(&event, "made by mistake").await.unwrap(), 1);
    world.settle(&relay).await;
    assert_eq!(world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap()["version"], 2);
    let skipped = &outbox.show(&event, 1).await.unwrap()[0];
    assert_eq!((skipped.state.as_str(), skipped.last_error.as_deref()), ("done", Some("skipped: made by mistake")));
}

#[tokio::test]
async fn what_is_done_is_neither_retried_nor_skipped() {
    let Some(world) = World::new("what_is_done_is_neither_retried_nor_skipped").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    let outbox = world.outbox().await;
    world.settle(&world.relay(&outbox)).await;
    let done = Selection::Event(format!("post:{}:1", uuid(1)));
    assert!(matches!(outbox.retry(&done).await, Err(Error::NoSuchEvent(_))));
    assert!(matches!(outbox.skip(&done, "x").await, Err(Error::NoSuchEvent(_))));
    assert_eq!(outbox.retry(&Selection::Failed).await.unwrap(), 0);
}

#[tokio::test]
async fn retention_removes_what_was_relayed_long_ago_and_nothing_else() {
    let Some(world) = World::new("retention_removes_what_was_relayed_long_ago_and_nothing_else").await else { return };
    world.users(1).await;
    for n in 1..=5 {
        world.sql(&post(n)).await;
    }
    let options = Options { retention_rows_max: 2, ..world.options() };
    let outbox = world.outbox_with(options, Arc::new(world.manual.clone())).await;
    world.settle(&world.relay(&outbox)).await;
    assert_eq!(outbox.sweep().await.unwrap(), 0);
    world.manual.advance(Duration::from_secs(8 * 24 * 3_600));
    world.sql(&post(6)).await;
    for removed in [2, 2, 1, 0] {
        assert_eq!(outbox.sweep().await.unwrap(), removed);
    }
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 1);
}

#[tokio::test]
async fn a_running_relay_removes_what_is_past_its_retention() {
    let Some(world) = World::new("a_running_relay_removes_what_is_past_its_retention").await else { return };
    world.users(1).await;
    for n in 1..=5 {
        world.sql(&post(n)).await;
    }
    let every = Duration::from_nanos(1);
    let options = Options { retention_rows_max: 2, retention_every: every, ..world.options() };
    let relay = world.relay(&world.outbox_with(options, Arc::new(SystemClock)).await);
    relay.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM outbox").await, 5);
    world.sql("UPDATE outbox SET processed_at = now() - interval '8 days' WHERE sequence = 1").await;
    for removed in [2, 2, 1, 0] {
        let summary = relay.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
        assert_eq!(summary.removed, removed);
    }
}
