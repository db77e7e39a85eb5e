use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Entropy, SystemClock, timeout};
use feedmill_outbox::{Lifetime, Options, Relays};
use feedmill_store_api::Database;
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

/// Events of one key that are documents of their own: then an overtaken one is seen in the order of writes, where versions
/// would hide it.
fn chain(key: &str, rows: u32) -> String {
    format!(
        "INSERT INTO outbox (event_key, topic, partition_key, sequence, payload)
         SELECT '{key}:' || n, 'reaction', '{key}', n,
                jsonb_build_object('postId', '{key}' || n % 7, 'userId', '{key}-' || n, 'version', 1)
         FROM generate_series(1, {rows}) AS n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_rows_of_each_key_keep_their_order_under_eight_relays() {
    const ROWS: u32 = 1_000;
    let Some(world) = World::new("a_thousand_rows_of_each_key_keep_their_order_under_eight_relays").await else {
        return;
    };
    for key in ["a", "b", "c", "d", "e"] {
        world.sql(&chain(key, ROWS)).await;
    }
    // Small batches, so that keys change hands hundreds of times.
    let options = Options { batch_rows_max: 20, ..world.options() };
    let outbox = world.outbox_with(options, Arc::new(SystemClock)).await;
    let relays = (0..8).map(|_| {
        let relay = world.relay(&outbox);
        tokio::spawn(async move { relay.run(Lifetime::UntilDrained, CancellationToken::new()).await })
    });
    let mut at_work = 0;
    for relay in futures::future::join_all(relays).await {
        at_work += u32::from(relay.unwrap().unwrap().total.written > 0);
    }
    assert!(at_work > 1, "one relay did everything, so nothing was tested");
    let mut last: BTreeMap<String, u32> = BTreeMap::new();
    for id in world.store.sent() {
        let (key, number) = id.split_once(':').and_then(|(_, user)| user.split_once('-')).unwrap();
        let number: u32 = number.parse().unwrap();
        let before = last.insert(key.to_owned(), number).unwrap_or(0);
        assert_eq!(number, before + 1, "key {key}");
    }
    assert_eq!(last.into_values().collect::<Vec<_>>(), [ROWS; 5]);
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 0);
}

#[tokio::test]
async fn a_key_in_flight_is_left_alone_by_other_relays() {
    let Some(world) = World::new("a_key_in_flight_is_left_alone_by_other_relays").await else { return };
    world.sql(&chain("a", 10)).await;
    let outbox = world.outbox().await;
    let (stuck, other) = (world.relay(&outbox), world.relay(&outbox));
    world.store.silent(true);
    let mut step = Box::pin(stuck.step());
    in_flight(&world, &mut step, 1).await;
    world.store.silent(false);
    world.sql(&chain("b", 10)).await;
    world.settle(&other).await;
    let done =
        |key: &str| format!("SELECT count(*) FROM outbox WHERE partition_key = '{key}' AND processed_at IS NOT NULL");
    assert_eq!((world.number(&done("a")).await, world.number(&done("b")).await), (0, 10));
    drop(step);
    // Only once the server has seen the lost claim can the key be taken.
    while world.number(&done("a")).await < 10 {
        world.settle(&other).await;
    }
}

#[tokio::test]
async fn what_may_not_be_taken_is_left_to_who_has_what_is_before_it() {
    const ROWS: u32 = 4;
    let Some(world) = World::new("what_may_not_be_taken_is_left_to_who_has_what_is_before_it").await else { return };
    world.sql(&chain("a", 3 * ROWS)).await;
    let options = Options { batch_rows_max: ROWS, ..world.options() };
    let outbox = world.outbox_with(options, Arc::new(world.manual.clone())).await;
    let (first, other) = (world.relay(&outbox), world.relay(&outbox));
    world.store.silent(true);
    let mut of_first = Box::pin(first.step());
    in_flight(&world, &mut of_first, 1).await;
    world.sql(&chain("b", ROWS)).await;
    // Among the oldest it finds only what waits behind the first relay's events, so it goes on to the other key.
    let mut of_other = Box::pin(other.step());
    in_flight(&world, &mut of_other, 2).await;
    world.store.silent(false);
    drop(of_first);
    let done = "SELECT count(*) FROM outbox WHERE partition_key = 'a' AND processed_at IS NOT NULL";
    while world.number(done).await < i64::from(ROWS) {
        world.settle(&first).await;
    }
    assert_eq!(world.number(done).await, i64::from(3 * ROWS), "the rest of its key is not locked by the other");
}

/// Drives a step until so many documents have been sent since the beginning.
async fn in_flight(world: &World, step: &mut (impl Future + Unpin), sent: usize) {
    while world.store.sent().len() < sent {
        let _pending = futures::poll!(&mut *step);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn few_keys_are_dealt_out_among_the_relays_of_a_process() {
    const RELAYS: u32 = 2;
    let Some(world) = World::new("few_keys_are_dealt_out_among_the_relays_of_a_process").await else { return };
    for key in 0..20 {
        world.sql(&chain(&format!("k{key}"), 30)).await;
    }
    let options = Options { relays: RELAYS, batch_rows_max: 100, ..world.options() };
    let outbox = world.outbox_with(options, Arc::new(SystemClock)).await;
    let store: Arc<dyn Database> = Arc::new(world.store.clone());
    // All that any relay claims stays in its hands.
    world.store.silent(true);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Relays::new(&outbox, &store, &Entropy::seeded(1)).run(Lifetime::UntilDrained, stop));
    // A row's xmax is the transaction that has locked it.
    let claims = "SELECT count(DISTINCT xmax::text) FROM outbox WHERE xmax::text <> '0'";
    let mixed = "SELECT count(*) FROM (SELECT xmax::text FROM outbox WHERE xmax::text <> '0' GROUP BY 1
                 HAVING count(DISTINCT (hashtextextended(partition_key, 0) & 2147483647) % 2) > 1) AS claim";
    let all_at_work = async { while world.number(claims).await < i64::from(RELAYS) {} };
    timeout(&SystemClock, Duration::from_secs(60), all_at_work).await.expect("every relay has keys");
    assert_eq!(world.number(mixed).await, 0);
    running.abort();
}

#[tokio::test]
async fn a_transaction_that_commits_late_loses_nothing() {
    let Some(world) = World::new("a_transaction_that_commits_late_loses_nothing").await else { return };
    world.users(1).await;
    let relay = world.relay(&world.outbox().await);
    let mut late = world.pool.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(post(1))).execute(&mut *late).await.unwrap();
    world.sql("BEGIN; INSERT INTO users (email, provider) VALUES ('x@y', 'google'); ROLLBACK").await;
    world.sql(&post(2)).await;
    world.settle(&relay).await;
    assert!(world.document("posts_v2", &uuid(2), &uuid(2)).await.is_some());
    assert!(world.document("posts_v2", &uuid(1), &uuid(1)).await.is_none());
    late.commit().await.unwrap();
    world.settle(&relay).await;
    world.assert_documents_are_right().await;
}

#[tokio::test]
async fn an_older_version_that_commits_late_does_not_win() {
    let Some(world) = World::new("an_older_version_that_commits_late_does_not_win").await else { return };
    let event = |version: u32| {
        format!(
            "INSERT INTO outbox (event_key, topic, partition_key, sequence, payload) VALUES
             ('p:{version}', 'post', 'p', {version},
              '{{\"postId\": \"p\", \"authorId\": \"{}\", \"status\": \"published\", \"version\": {version}}}')",
            uuid(1)
        )
    };
    // An outbox that an application fills by itself may have this; ours orders a row's events by the row's lock.
    let relay = world.relay(&world.outbox_with(without_mirror(&world), Arc::new(world.manual.clone())).await);
    for version in [2, 1] {
        world.sql(&event(version)).await;
        world.settle(&relay).await;
        assert_eq!(world.document("posts_v2", "p", "p").await.unwrap()["version"], 2);
    }
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 0);
}

/// A key whose first event can never be written, with so many behind it that nothing else is among the oldest.
async fn stuck(world: &World, rows: u32) {
    world.sql(&chain("a", rows)).await;
    world.sql("UPDATE outbox SET payload = '{}', max_retries = 0 WHERE sequence = 1").await;
}

#[tokio::test]
async fn a_long_line_behind_a_stuck_event_hides_no_other_key() {
    const ROWS: u32 = 8;
    // The second line fits among the oldest that a claim looks at, and more of it than a claim locks.
    for line in [500, ROWS + 2] {
        let Some(world) = World::new("a_long_line_behind_a_stuck_event_hides_no_other_key").await else { return };
        stuck(&world, line).await;
        let options = Options { batch_rows_max: ROWS, ..world.options() };
        let relay = world.relay(&world.outbox_with(options, Arc::new(world.manual.clone())).await);
        world.settle(&relay).await;
        world.sql(&chain("b", 1)).await;
        world.settle(&relay).await;
        assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, i64::from(line));
        for key in ["c", "d"] {
            world.sql(&chain(key, 30)).await;
        }
        world.settle(&relay).await;
        assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, i64::from(line));
    }
}

#[tokio::test]
async fn however_many_wait_for_a_retry_newer_events_are_found() {
    const ROWS: u32 = 8;
    let Some(world) = World::new("however_many_wait_for_a_retry_newer_events_are_found").await else { return };
    for key in 0..10 * ROWS {
        world.sql(&chain(&format!("a{key}"), 1)).await;
    }
    world.sql("UPDATE outbox SET payload = '{}'").await;
    let options = Options { batch_rows_max: ROWS, ..world.options() };
    let relay = world.relay(&world.outbox_with(options, Arc::new(world.manual.clone())).await);
    world.settle(&relay).await;
    world.sql(&chain("b", 3)).await;
    world.settle(&relay).await;
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NOT NULL").await, 3);
}

#[tokio::test]
async fn keys_behind_a_stuck_one_take_turns() {
    const KEYS: u32 = 50;
    let Some(world) = World::new("keys_behind_a_stuck_one_take_turns").await else { return };
    stuck(&world, 100).await;
    for key in 1..=KEYS {
        world.sql(&chain(&format!("k{key}"), 100)).await;
    }
    let options = Options { batch_rows_max: 4, ..world.options() };
    let relay = world.relay(&world.outbox_with(options, Arc::new(world.manual.clone())).await);
    for _ in 0..=KEYS.div_ceil(4) {
        relay.step().await.unwrap();
    }
    let served = "SELECT count(DISTINCT partition_key) FROM outbox WHERE processed_at IS NOT NULL";
    assert_eq!(world.number(served).await, i64::from(KEYS));
}

#[tokio::test]
async fn an_event_that_somebody_has_locked_is_not_overtaken() {
    let Some(world) = World::new("an_event_that_somebody_has_locked_is_not_overtaken").await else { return };
    world.sql(&chain("a", 5)).await;
    let relay = world.relay(&world.outbox().await);
    let mut operator = world.pool.begin().await.unwrap();
    sqlx::raw_sql("UPDATE outbox SET last_error = 'looked at' WHERE sequence = 3")
        .execute(&mut *operator)
        .await
        .unwrap();
    world.settle(&relay).await;
    assert_eq!(world.store.sent().len(), 2, "what is before it need not wait");
    operator.commit().await.unwrap();
    world.settle(&relay).await;
    let order: Vec<String> = world.store.sent();
    assert_eq!(order.len(), 5);
    assert!(order.iter().zip(1..).all(|(id, n)| id.ends_with(&format!("a-{n}"))), "{order:?}");
}

fn without_mirror(world: &World) -> Options {
    let mut options = world.options();
    for route in options.routes.values_mut() {
        route.mirror = false;
    }
    options
}
