use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_outbox::{Lifetime, Outbox, connect};
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

#[tokio::test]
async fn a_crash_between_write_and_mark_repeats_an_idempotent_write() {
    let Some(world) = World::new("a_crash_between_write_and_mark_repeats_an_idempotent_write").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE posts SET body = 'second'").await;
    let relay = world.relay(&world.outbox().await);
    world.store.silent(true);
    {
        let mut dying = Box::pin(relay.step());
        while world.document("posts_v2", &uuid(1), &uuid(1)).await.is_none() {
            let _pending = futures::poll!(&mut dying);
            tokio::task::yield_now().await;
        }
    }
    world.store.silent(false);
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NOT NULL").await, 0);
    let before = world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap();
    let mut total = relay.step().await.unwrap();
    while total.relayed < 2 {
        // The server may not have seen yet that the claim is gone.
        total += relay.step().await.unwrap();
    }
    assert_eq!((total.relayed, total.written), (2, 0));
    assert_eq!(world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap(), before);
}

#[tokio::test]
async fn a_step_abandoned_at_any_point_is_done_by_the_next() {
    let Some(world) = World::new("a_step_abandoned_at_any_point_is_done_by_the_next").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    for waits in 1.. {
        world.sql("UPDATE posts SET body = body || 'x'").await;
        if ends_before(waits, relay.step()).await {
            // An answer that is there at once is not waited for, so nobody knows how often it waits.
            assert!(waits > 1, "it was never abandoned");
            break;
        }
        // The server may not have seen yet that the claim is gone.
        while world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await > 0 {
            world.settle(&relay).await;
        }
    }
    world.assert_documents_are_right().await;
}

#[tokio::test]
async fn a_page_abandoned_at_any_point_leaves_no_transaction_to_who_comes_next() {
    let Some(world) = World::new("a_page_abandoned_at_any_point_leaves_no_transaction_to_who_comes_next").await else {
        return;
    };
    // All of it goes through one connection.
    let pool = connect(&world.url, 1).await.unwrap();
    let outbox = Outbox::open(pool.clone(), world.options(), Arc::new(SystemClock)).await.unwrap();
    for waits in 1.. {
        let ended = ends_before(waits, outbox.snapshot(true, &CancellationToken::new(), |_, _| {})).await;
        sqlx::raw_sql("INSERT INTO users (email, provider) VALUES (gen_random_uuid() || '@x', 'google')")
            .execute(&pool)
            .await
            .unwrap();
        let seen = world.number("SELECT count(*) FROM users").await;
        assert_eq!(seen, i64::from(waits), "it is not committed, abandoned at the wait number {waits}");
        if ended {
            assert!(waits > 1, "it was never abandoned");
            break;
        }
    }
}

/// Polls a future whenever it is woken, and drops it when it has to wait for the `waits`-th time.
async fn ends_before(waits: u32, future: impl Future) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = waits;
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        left -= u32::from(polled.is_pending());
        match polled {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relays_killed_at_random_still_end_with_every_document_right() {
    let Some(world) = World::new("relays_killed_at_random_still_end_with_every_document_right").await else { return };
    let seed = Entropy::from_os().unwrap().next_u64();
    let chance = Entropy::seeded(seed);
    let mut relays = Vec::new();
    for _ in 0..4 {
        relays.push(spawn(&world).await);
    }
    world.users(40).await;
    for round in 0..40_u32 {
        world
            .sql(&format!(
                "INSERT INTO posts (author_id, body) SELECT user_id, 'first' FROM users;
                 UPDATE posts SET body = 'round {round}' WHERE hashtext(post_id::text) % 5 = {round} % 5;
                 UPDATE posts SET deleted_at = now() WHERE hashtext(post_id::text) % 17 = {round} % 17 AND deleted_at IS NULL;
                 INSERT INTO follows (followee_id, follower_id) SELECT a.user_id, b.user_id FROM users a, users b
                 WHERE a <> b AND hashtext(a.user_id::text || b.user_id::text) % 60 = {round}"
            ))
            .await;
        let victim = usize::try_from(chance.below(0..4)).unwrap();
        relays[victim].abort();
        relays[victim] = spawn(&world).await;
        SystemClock.sleep(Duration::from_millis(chance.below(0..25))).await;
    }
    for relay in relays {
        relay.abort();
    }
    let relay = world.running_relay().await;
    relay.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    println!("seed {seed}");
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 0);
    world.assert_documents_are_right().await;
}

async fn spawn(world: &World) -> tokio::task::JoinHandle<()> {
    let relay = world.running_relay().await;
    tokio::spawn(async move {
        relay
            .run(Lifetime::UntilStopped, CancellationToken::new())
            .await
            .expect("only outages, and those are waited out");
    })
}
