use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Clock;
use feedmill_store_api::{Error, ErrorKind};
use tokio_util::sync::CancellationToken;

use super::handlers::{Scripted, id};
use super::spy::{Fate, Kind};
use super::world::{NEXT, SOURCE, World, caught_up, processor, put};
use crate::{EngineError, Lifetime, Outcome, SettleError};

#[tokio::test]
async fn caught_up_means_the_whole_chain_of_processors() {
    let world = World::with_partitions(2).await;
    for number in 0..40 {
        world.put(&format!("k{}", number % 7), &format!("d{number}")).await;
    }
    let (database, clock) = (Arc::clone(&world.database), world.clock.clone());
    let (first, _) = Scripted::new(move |delivery| {
        let (database, sleep) = (Arc::clone(&database), clock.sleep(Duration::from_secs(3)));
        Box::pin(async move {
            sleep.await;
            for change in &delivery.changes {
                let id = id(change);
                put(&*database, NEXT, &id, &id, "").await;
            }
            Ok(Outcome::default())
        })
    });
    let (second, seen) = Scripted::accepting();
    let mut engine = world.engine();
    engine.add(processor("first", SOURCE, first));
    engine.add(processor("second", NEXT, second));
    let summary = caught_up(engine).await.unwrap();
    assert_eq!(seen.ids().len(), 40);
    assert_eq!(summary.delivered, 80);
}

#[tokio::test]
async fn it_does_not_end_before_the_sources_are_quiet() {
    let world = World::new().await;
    let (handler, seen) = Scripted::accepting();
    let quiet = CancellationToken::new();
    let lifetime = Lifetime::UntilCaughtUp { quiet: quiet.clone() };
    let running = tokio::spawn(world.engine_of(handler).run(lifetime, CancellationToken::new()));
    for number in 0..5 {
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
        assert!(!running.is_finished());
        world.put("a", &number.to_string()).await;
    }
    quiet.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(seen.ids().len(), 5);
}

#[tokio::test]
async fn a_deadline_ends_a_run() {
    let world = World::new().await;
    world.put("a", "1").await;
    let (handler, seen) = Scripted::accepting();
    let began = world.clock.monotonic();
    let lifetime = Lifetime::For(Duration::from_secs(300));
    world.engine_of(handler).run(lifetime, CancellationToken::new()).await.unwrap();
    assert!(world.clock.monotonic().since(began) >= Duration::from_secs(300));
    assert_eq!(seen.ids(), ["1"]);
}

#[tokio::test]
async fn running_deliveries_are_drained_and_queued_ones_are_not_begun() {
    let mut world = World::new().await;
    world.options.deliveries_in_flight_max = 1;
    for key in ["a", "b"] {
        world.put(key, key).await;
    }
    let clock = world.clock.clone();
    let (handler, seen) = Scripted::new(move |_| {
        let sleep = clock.sleep(Duration::from_secs(10));
        Box::pin(async move {
            sleep.await;
            Ok(Outcome::default())
        })
    });
    let running = world.start(world.engine_of(handler));
    world.wait_for("the first is handled", || seen.calls() == 1).await;
    running.stop().await;
    assert_eq!((seen.ids().len(), seen.calls()), (1, 1));
}

#[tokio::test]
async fn a_handler_that_never_returns_is_abandoned_within_the_grace_and_the_lease_is_free() {
    let world = World::new().await;
    world.put("a", "1").await;
    let (handler, seen) = Scripted::new(|_| Box::pin(std::future::pending()));
    let running = world.start(world.engine_of(handler));
    world.wait_for("it is handled", || seen.calls() == 1).await;
    let began = world.clock.monotonic();
    let summary = running.stop().await;
    assert!(world.clock.monotonic().since(began) <= world.options.shutdown_grace + Duration::from_secs(1));
    assert_eq!(summary.delivered, 0);
    let lease = world.leases().await.remove(0);
    assert!(lease["Owner"].is_null() && lease["ContinuationToken"].is_null());
}

#[tokio::test]
async fn a_store_that_is_away_cannot_hold_up_a_shutdown() {
    let world = World::new().await;
    world.put("a", "1").await;
    let (handler, seen) =
        Scripted::new(|_| Box::pin(async { Err(SettleError::Store(Error::new(ErrorKind::Unavailable, "away"))) }));
    let running = world.start(world.engine_of(handler));
    world.wait_for("it is handled", || seen.calls() > 1).await;
    world.spy.spoil(|_| Fate::Unavailable);
    let began = world.clock.monotonic();
    running.stop().await;
    assert!(world.clock.monotonic().since(began) <= world.options.shutdown_grace + Duration::from_secs(1));
}

#[tokio::test]
async fn a_stop_while_starting_is_obeyed() {
    let world = World::new().await;
    world.spy.spoil(|_| Fate::Unavailable);
    let (handler, _) = Scripted::accepting();
    let running = world.start(world.engine_of(handler));
    world.wait_for("it tries", || world.spy.count(|_| true) > 3).await;
    assert!(!running.is_finished());
    assert!(running.stop().await.ranges.is_empty());
}

#[tokio::test]
async fn a_quiet_range_is_polled_less_and_less() {
    let world = World::new().await;
    let (handler, _) = Scripted::accepting();
    let lifetime = Lifetime::For(Duration::from_secs(600));
    world.engine_of(handler).run(lifetime, CancellationToken::new()).await.unwrap();
    let polls = world.spy.count(|request| matches!(request.kind, Kind::Page));
    // Every 2.5 to 5 seconds once it has settled.
    assert!((120..=260).contains(&polls), "{polls} polls in ten minutes");
}

#[tokio::test]
async fn one_processor_cannot_read_one_source_twice() {
    let world = World::new().await;
    let mut engine = world.engine();
    for _ in 0..2 {
        engine.add(processor("p", SOURCE, Scripted::accepting().0));
    }
    assert!(matches!(caught_up(engine).await, Err(EngineError::Duplicate { .. })));
}
