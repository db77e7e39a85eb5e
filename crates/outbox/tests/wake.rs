use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock, timeout};
use feedmill_outbox::{Lifetime, Options};
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

async fn landed(world: &World, n: u32) {
    while world.document("posts_v2", &uuid(n), &uuid(n)).await.is_none() {
        SystemClock.sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_commit_wakes_a_relay_whose_clock_stands_still() {
    let Some(world) = World::new("a_commit_wakes_a_relay_whose_clock_stands_still").await else { return };
    world.users(1).await;
    let relay = world.relay(&world.outbox().await);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(Lifetime::UntilStopped, stop).await }
    });
    for n in 1..=3 {
        world.sql(&post(n)).await;
        timeout(&SystemClock, Duration::from_secs(60), landed(&world, n)).await.expect("no wait of it ends by itself");
        // The document is there before the event is marked, and then the relay looks once more before it rests.
        while world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await > 0 {}
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().total.relayed, 3);
}

#[tokio::test]
async fn polling_alone_finds_events_too() {
    let Some(world) = World::new("polling_alone_finds_events_too").await else { return };
    world.users(1).await;
    let options = Options { listen: String::new(), ..world.options() };
    let relay = world.relay(&world.outbox_with(options, Arc::new(SystemClock)).await);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(Lifetime::UntilStopped, stop).await }
    });
    world.sql(&post(1)).await;
    landed(&world, 1).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_ends_at_its_deadline_and_when_drained() {
    let Some(world) = World::new("a_relay_ends_at_its_deadline_and_when_drained").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    let relay = world.running_relay().await;
    let drained = relay.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    assert_eq!(drained.total.relayed, 1);
    let ended = relay.run(Lifetime::For(Duration::from_millis(50)), CancellationToken::new()).await.unwrap();
    assert_eq!(ended.total.relayed, 0);
}
