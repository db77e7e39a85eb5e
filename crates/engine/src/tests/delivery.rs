use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Error, ErrorKind, Operation};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::handlers::{Scripted, Seen, id};
use super::spy::Kind;
use super::world::{SOURCE, World, caught_up, processor};
use crate::{Lifetime, Outcome, Processor, SettleError};

/// Takes its time, and fails in every way that passes.
fn moody(world: &World, seed: u64) -> (Arc<Scripted>, Arc<Seen>) {
    let (entropy, clock) = (Entropy::seeded(seed), world.clock.clone());
    Scripted::new(move |_| {
        let (mood, wait) = (entropy.below(0..20), Duration::from_micros(entropy.below(0..3_000)));
        let sleep = clock.sleep(wait);
        Box::pin(async move {
            sleep.await;
            match mood {
                0 => Err(SettleError::Store(Error::new(ErrorKind::Unavailable, "away"))),
                1 => Err(SettleError::Store(Error::new(
                    ErrorKind::Throttled { after: Duration::from_millis(3) },
                    "slower",
                ))),
                2 => Err(SettleError::Invalid("not this time".to_owned())),
                3 => panic!("a bad day"),
                _ => Ok(Outcome::default()),
            }
        })
    })
}

/// Writes `count` documents over `keys` keys; returns the ids of each key in order.
async fn fill(world: &World, keys: u64, count: u64, entropy: &Entropy) -> BTreeMap<String, Vec<String>> {
    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..count {
        let key = format!("k{}", entropy.below(0..keys));
        let id = format!("d{number}");
        world.put(&key, &id).await;
        written.entry(format!("[\"{key}\"]")).or_default().push(id);
    }
    written
}

#[tokio::test]
async fn no_change_is_lost_and_keys_stay_in_order_under_random_latency_and_failures() {
    for seed in 0..6 {
        let mut world = World::with_partitions(3).await;
        world.options.page_items_max = 7;
        world.options.changes_in_flight_max = 40;
        world.options.deliveries_in_flight_max = 4;
        let written = fill(&world, 12, 200, &Entropy::seeded(seed)).await;
        let (handler, seen) = moody(&world, seed);
        let summary = world.until_caught_up(handler).await;
        seen.check_order();
        assert_eq!(seen.by_key(), written, "seed {seed}");
        assert_eq!((summary.delivered, summary.dead_letters), (200, 0), "seed {seed}");
        assert_eq!(summary.halted, Vec::<String>::new());
        assert!(summary.ranges.iter().all(|range| range.lag_changes == Some(0) && range.lag_seconds == Some(0.0)));
    }
}

#[tokio::test]
async fn nothing_is_lost_when_hosts_are_killed_again_and_again() {
    let mut world = World::with_partitions(2).await;
    world.options.page_items_max = 3;
    world.options.checkpoint_pages = 2;
    let entropy = Entropy::seeded(3);
    let written = fill(&world, 8, 120, &entropy).await;
    let mut accepted: BTreeSet<String> = BTreeSet::new();
    for life in 0..12 {
        let (handler, seen) = moody(&world, life);
        let running = world.start(world.engine_of(handler));
        for _ in 0..entropy.below(200..3_000) {
            tokio::task::yield_now().await;
        }
        running.kill().await;
        seen.check_order();
        accepted.extend(seen.ids());
    }
    let (handler, seen) = moody(&world, 99);
    let summary = world.until_caught_up(handler).await;
    accepted.extend(seen.ids());
    assert_eq!(accepted, written.values().flatten().cloned().collect());
    assert!(summary.delivered < 120, "earlier lives must have left checkpoints");
}

#[tokio::test]
async fn a_checkpoint_goes_up_to_the_first_gap() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    for (key, id) in [("b", "1"), ("a", "2"), ("c", "3"), ("d", "4")] {
        world.put(key, id).await;
    }
    let (handler, seen) = Scripted::new(|delivery| {
        let stuck = delivery.key.as_str() == Some("a");
        Box::pin(async move { if stuck { std::future::pending().await } else { Ok(Outcome::default()) } })
    });
    let running = world.start(world.engine_of(handler));
    world.wait_for("all others are accepted", || seen.ids().len() == 3).await;
    let summary = running.stop().await;
    assert_eq!(summary.ranges[0].settled_pages, 1);
    let (handler, seen) = Scripted::accepting();
    world.until_caught_up(handler).await;
    let again: BTreeSet<_> = seen.ids().into_iter().collect();
    assert_eq!(again, ["2", "3", "4"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_checkpoint_is_one_request() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    world.options.checkpoint_pages = 1;
    let (handler, seen) = Scripted::accepting();
    let running = world.start(world.engine_of(handler));
    world.wait_for("it reads", || world.spy.count(|request| matches!(request.kind, Kind::Page)) > 0).await;
    let before = world.spy.count(|request| request.container == "leases");
    for number in 0..5 {
        world.put("k", &number.to_string()).await;
        world.wait_for("it is accepted", || seen.ids().len() == number + 1).await;
        world
            .wait_for("it is checkpointed", || {
                world.spy.count(|request| request.container == "leases") == before + number + 1
            })
            .await;
    }
    running.stop().await;
    let writes = world.spy.lease_writes();
    // Taking it, five checkpoints, giving it back: nothing else was asked of the lease container meanwhile.
    assert_eq!(world.spy.count(|request| request.container == "leases"), before + 6);
    let positions: BTreeSet<_> = writes[1..6].iter().map(|lease| lease["ContinuationToken"].to_string()).collect();
    assert_eq!(positions.len(), 5);
    assert_eq!(writes.len(), 7);
}

#[tokio::test]
async fn checkpoints_are_coalesced_by_count_and_written_by_age() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    world.options.checkpoint_pages = 1_000;
    world.options.checkpoint_age = Duration::from_secs(60);
    for number in 0..100 {
        world.put("k", &number.to_string()).await;
    }
    let (handler, seen) = Scripted::accepting();
    let running = world.start(world.engine_of(handler));
    world.wait_for("all is accepted", || seen.ids().len() == 100).await;
    assert_eq!(world.spy.lease_writes().len(), 1, "only the taking");
    world.wait_for("age writes it", || world.spy.lease_writes().len() == 2).await;
    running.stop().await;
    assert_eq!(world.spy.lease_writes().len(), 3, "and the release");
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded() {
    let mut world = World::new().await;
    world.options.page_items_max = 2;
    world.options.changes_in_flight_max = 10;
    for number in 0..100 {
        world.put(&number.to_string(), &number.to_string()).await;
    }
    let (handler, seen) = Scripted::new(|_| Box::pin(std::future::pending()));
    let running = world.start(world.engine_of(handler));
    world.wait_for("deliveries run", || seen.calls() == 10).await;
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.calls(), 10);
    assert_eq!(world.spy.count(|request| request.container == SOURCE && matches!(request.kind, Kind::Page)), 5);
    running.kill().await;
}

#[tokio::test]
async fn a_gathering_key_is_handled_no_sooner_than_twenty_times_its_last_handling() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    let began = Arc::new(Mutex::new(Vec::new()));
    let (clock, times) = (world.clock.clone(), Arc::clone(&began));
    let (handler, seen) = Scripted::new(move |_| {
        times.lock().push(clock.monotonic());
        let sleep = clock.sleep(Duration::from_millis(10));
        Box::pin(async move {
            sleep.await;
            Ok(Outcome::default())
        })
    });
    for number in 0..30 {
        world.put("hot", &number.to_string()).await;
    }
    let mut engine = world.engine();
    engine.add(Processor { gather: true, ..processor("p", SOURCE, handler) });
    let summary = caught_up(engine).await.unwrap();
    assert_eq!(summary.delivered, 30);
    seen.check_order();
    let began = began.lock();
    assert!(began.len() < 5, "{} handlings for 30 changes of one key", began.len());
    for pair in began.windows(2) {
        assert!(pair[1].since(pair[0]) >= Duration::from_millis(10 + 200));
    }
}

#[tokio::test]
async fn a_key_whose_handlings_take_long_takes_a_twentieth_of_the_time_all_the_same() {
    const TOOK: Duration = Duration::from_secs(20);
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    let began = Arc::new(Mutex::new(Vec::new()));
    let (clock, times) = (world.clock.clone(), Arc::clone(&began));
    let (handler, _) = Scripted::new(move |_| {
        times.lock().push(clock.monotonic());
        let sleep = clock.sleep(TOOK);
        Box::pin(async move {
            sleep.await;
            Ok(Outcome::default())
        })
    });
    let mut engine = world.engine();
    engine.add(Processor { gather: true, ..processor("p", SOURCE, handler) });
    let running = world.start(engine);
    for number in 0..60 {
        world.put("hot", &number.to_string()).await;
        world.clock.sleep(Duration::from_secs(30)).await;
    }
    running.kill().await;
    let began = began.lock();
    let pauses: Vec<_> = began.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    // The first may have been held up by something else.
    assert!(pauses.len() >= 4 && pauses[0] < 5 * TOOK, "{pauses:?}");
    assert!(pauses[1..].iter().all(|pause| *pause >= 20 * TOOK), "{pauses:?}");
}

#[tokio::test]
async fn changes_for_a_busy_key_are_delivered_together() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    let (clock, first) = (world.clock.clone(), Arc::new(Mutex::new(true)));
    let (handler, seen) = Scripted::new(move |_| {
        let wait = if std::mem::take(&mut *first.lock()) { Duration::from_secs(1) } else { Duration::ZERO };
        let sleep = clock.sleep(wait);
        Box::pin(async move {
            sleep.await;
            Ok(Outcome::default())
        })
    });
    for number in 0..6 {
        world.put("k", &number.to_string()).await;
    }
    world.until_caught_up(handler).await;
    let expected: [&[&str]; 2] = [&["0"], &["1", "2", "3", "4", "5"]];
    assert_eq!(seen.batches(), expected);
}

#[tokio::test]
async fn a_run_again_on_the_same_store_delivers_nothing() {
    let world = World::with_partitions(2).await;
    fill(&world, 5, 50, &Entropy::seeded(1)).await;
    let (handler, _) = Scripted::accepting();
    assert_eq!(world.until_caught_up(handler).await.delivered, 50);
    let (handler, seen) = Scripted::accepting();
    assert_eq!(world.until_caught_up(handler).await.delivered, 0);
    assert_eq!(seen.calls(), 0);
    // Two leases, what they were agreed to be, and that they are made.
    assert_eq!(world.spy.count(|request| matches!(request.kind, Kind::Write(Operation::Create { .. }))), 4);
}

#[tokio::test]
async fn an_outage_of_the_store_is_waited_for_and_makes_no_dead_letters() {
    let world = World::new().await;
    fill(&world, 5, 50, &Entropy::seeded(1)).await;
    let entropy = Entropy::seeded(2);
    world.spy.spoil(
        move |_| {
            if entropy.below(0..3) == 0 { super::spy::Fate::Pass } else { super::spy::Fate::Unavailable }
        },
    );
    let (handler, seen) = Scripted::accepting();
    let summary = world.until_caught_up(handler).await;
    assert_eq!(seen.ids().len(), 50);
    assert_eq!(summary.dead_letters, 0);
}

#[tokio::test]
async fn the_status_tells_lag_and_position_while_it_runs() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    for number in 0..10 {
        world.put(&number.to_string(), &number.to_string()).await;
    }
    let (handler, seen) = Scripted::new(|delivery| {
        let stuck = id(&delivery.changes[0]) == "3";
        Box::pin(async move { if stuck { std::future::pending().await } else { Ok(Outcome::default()) } })
    });
    let engine = world.engine_of(handler);
    let status = engine.status();
    assert!(status.ranges().is_empty());
    let stop = CancellationToken::new();
    let running = tokio::spawn(engine.run(Lifetime::UntilStopped, stop.clone()));
    world.wait_for("the others are accepted", || seen.ids().len() == 9).await;
    let range = status.ranges().remove(0);
    assert_eq!((range.processor.as_str(), range.source.as_str()), ("p", SOURCE));
    assert_eq!((range.settled_pages, range.lag_changes), (3, Some(7)));
    assert!(range.lag_seconds.is_some() && range.charge.units() > 0.0);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(status.ranges()[0].position.is_some());
}
