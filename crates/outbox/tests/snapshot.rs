use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_outbox::{Lifetime, Options};
use tokio_util::sync::CancellationToken;

use crate::support::World;

/// Canonical rows without events, as they were before the outbox.
const BEFORE: &str = "SET session_replication_role = replica;
    INSERT INTO users (user_id, email, provider)
        SELECT lpad(n::text, 32, '0')::uuid, n || '@x', 'google' FROM generate_series(1, 60) AS n;
    INSERT INTO profiles (user_id, display_name) SELECT user_id, email FROM users;
    INSERT INTO posts (author_id, body, version) SELECT user_id, 'old', n FROM users, generate_series(1, 10) AS n;
    INSERT INTO follows (followee_id, follower_id) SELECT a.user_id, b.user_id FROM users a, users b WHERE a < b;
    SET session_replication_role = origin;";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_has_no_gap_and_no_duplicate_beside_concurrent_writes() {
    let Some(world) = World::new("a_snapshot_has_no_gap_and_no_duplicate_beside_concurrent_writes").await else {
        return;
    };
    world.sql(BEFORE).await;
    let options = Options { page_rows: 50, ..world.options() };
    let outbox = world.outbox_with(options, Arc::new(SystemClock)).await;
    let relay = world.relay(&outbox);
    let stop = CancellationToken::new();
    let relaying = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(Lifetime::UntilStopped, stop).await }
    });
    let writing = tokio::spawn({
        let pool = world.pool.clone();
        async move {
            for round in 0..30 {
                let statement = format!(
                    "UPDATE posts SET body = 'new {round}' WHERE hashtext(post_id::text) % 10 = {round} % 10;
                     INSERT INTO posts (author_id, body) SELECT user_id, 'new' FROM users WHERE hashtext(email::text) % 30 = {round};
                     UPDATE follows SET deleted_at = now() WHERE hashtext(follower_id::text) % 30 = {round}"
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
            }
        }
    });
    let loaded = outbox.snapshot(false, &CancellationToken::new(), |_, _| {}).await.unwrap();
    writing.await.unwrap();
    stop.cancel();
    relaying.await.unwrap().unwrap();
    assert!(loaded.finished && loaded.events > 0);
    world.running_relay().await.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    world.assert_documents_are_right().await;
    let twice = "SELECT count(*) - count(DISTINCT (topic, payload ->> 'version', partition_key)) FROM outbox";
    assert_eq!(world.number(twice).await, 0);
    let again = outbox.snapshot(true, &CancellationToken::new(), |_, _| {}).await.unwrap();
    assert_eq!(again.events, 0, "everything has its event");
}

#[tokio::test]
async fn a_snapshot_that_was_stopped_goes_on_where_it_was() {
    let Some(world) = World::new("a_snapshot_that_was_stopped_goes_on_where_it_was").await else { return };
    world.sql(BEFORE).await;
    let outbox = world.outbox_with(Options { page_rows: 50, ..world.options() }, Arc::new(SystemClock)).await;
    let stop = CancellationToken::new();
    let first = outbox
        .snapshot(false, &stop, |_, loaded| {
            if loaded.rows >= 200 {
                stop.cancel();
            }
        })
        .await
        .unwrap();
    // Pages of 50: 60 profiles, then posts.
    assert_eq!((first.finished, first.rows), (false, 210));
    let second = outbox.snapshot(false, &CancellationToken::new(), |_, _| {}).await.unwrap();
    assert!(second.finished);
    assert_eq!(first.rows + second.rows, 60 + 600 + 60 * 59 / 2);
    assert_eq!(first.events + second.events, first.rows + second.rows);
    let third = outbox.snapshot(false, &CancellationToken::new(), |_, _| {}).await.unwrap();
    assert_eq!((third.finished, third.rows), (true, 0));
}
