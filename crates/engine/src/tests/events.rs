//! What a listener is told.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use tokio::sync::broadcast::Receiver;

use super::handlers::{Scripted, Seen};
use super::spy::{Fate, Kind, Spy};
use super::world::{Running, SOURCE, World, processor};
use crate::{Event, LeaseMode, OnError, Operator, Outcome, Rejection};

struct Host {
    running: Running,
    seen: Arc<Seen>,
    spy: Arc<Spy>,
    events: Receiver<Event>,
}

impl Host {
    /// One that cannot apply the document `bad`.
    fn start(world: &World, name: &str) -> Self {
        let (handler, seen) = Scripted::new(|delivery| {
            let bad = delivery.changes.iter().position(|change| super::handlers::id(change) == "bad");
            let rejected = bad.map(|index| Rejection { index, reason: "it is bad".to_owned() }).into_iter().collect();
            Box::pin(async move { Ok(Outcome { rejected }) })
        });
        let spy = Arc::new(Spy::default());
        let mut engine = world.engine_on(name, &spy);
        engine.add(processor("p", SOURCE, handler));
        let events = engine.events();
        Self { running: world.start(engine), seen, spy, events }
    }

    /// Names of all that was told since, and the whole of the last one of `kind`.
    fn told(&mut self, kind: &str) -> serde_json::Value {
        let mut found = None;
        let mut names = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            let event = serde_json::to_value(&event).unwrap();
            names.push(event["event"].to_string());
            if event["event"] == kind {
                found = Some(event);
            }
        }
        found.unwrap_or_else(|| panic!("no {kind} among {names:?}"))
    }
}

async fn fleet(partitions: u32) -> World {
    let mut world = World::with_partitions(partitions).await;
    world.exclusive = false;
    world.options.retry_inline = Duration::from_secs(1);
    world
}

async fn pass(world: &World, seconds: u64) {
    world.clock.sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test]
async fn a_lease_is_followed_from_its_taking_to_its_end() {
    let world = fleet(2).await;
    let mut one = Host::start(&world, "one");
    pass(&world, 10).await;
    let held = one.told("lease-held");
    assert_eq!((&held["processor"], &held["source"], &held["epoch"]), (&"p".into(), &SOURCE.into(), &1.into()));
    let mut two = Host::start(&world, "two");
    pass(&world, 20).await;
    let given = one.told("lease-given");
    assert_eq!(given["to"], "two");
    assert_eq!(two.told("lease-held")["range"], given["range"]);
    let operator = Operator::open(
        Arc::clone(&world.database),
        Arc::new(world.clock.clone()),
        Entropy::seeded(1),
        &world.options,
        [("p".to_owned(), SOURCE.to_owned())],
    );
    let operator = operator.await.unwrap();
    let lease =
        operator.leases().await.unwrap().into_iter().find(|lease| lease.owner.as_deref() == Some("two")).unwrap();
    operator.release(&lease).await.unwrap();
    pass(&world, 20).await;
    assert_eq!(two.told("lease-lost")["to"], serde_json::Value::Null);
    let range = world.source().await.feed_ranges().await.unwrap().remove(0);
    world.store.split("db", SOURCE, &range).await.unwrap();
    pass(&world, 20).await;
    let told: Vec<_> = [&mut one, &mut two]
        .into_iter()
        .filter_map(|host| {
            let all: Vec<_> = std::iter::from_fn(|| host.events.try_recv().ok()).collect();
            all.into_iter().find(|event| matches!(event, Event::RangeDivided { .. }))
        })
        .collect();
    let [Event::RangeDivided { range: divided, parts, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((divided, parts.len()), (&range, 2));
    two.running.kill().await;
    pass(&world, 30).await;
    assert_eq!(one.told("host-died")["host"], "two");
    one.running.stop().await;
    assert_eq!(one.events.try_recv().ok().map(|event| matches!(event, Event::LeaseGiven { to: None, .. })), Some(true));
}

#[tokio::test]
async fn a_worker_that_breaks_is_told_and_begins_at_its_checkpoint_until_it_broke_too_often() {
    let mut world = fleet(1).await;
    world.options.checkpoint_age = Duration::from_millis(100);
    let mut one = Host::start(&world, "one");
    world.put("a", "1").await;
    pass(&world, 20).await;
    one.told("lease-held");
    let mut breaks = 1;
    one.spy.spoil(move |request| match request.kind {
        Kind::Page if request.container == SOURCE && breaks > 0 => {
            breaks -= 1;
            Fate::Panic
        }
        _ => Fate::Pass,
    });
    pass(&world, 30).await;
    let broke = one.told("worker-broke");
    assert_eq!((&broke["processor"], &broke["range"]["max"]), (&"p".into(), &"FF".into()));
    assert!(broke["error"].as_str().unwrap().contains("broke its sender"), "{broke}");
    world.put("a", "2").await;
    pass(&world, 30).await;
    assert_eq!(one.seen.ids(), ["1", "2"], "nothing comes twice");
    one.spy.spoil(|request| match request.kind {
        Kind::Page if request.container == SOURCE => Fate::Panic,
        _ => Fate::Pass,
    });
    pass(&world, 300).await;
    let mut told: Vec<Event> = std::iter::from_fn(|| one.events.try_recv().ok()).collect();
    let last = told.pop();
    assert!(
        matches!(&last, Some(Event::RangeHalted { reason, .. }) if reason.contains("5 times in a row")),
        "{last:?} after {told:?}"
    );
    assert_eq!(told.iter().filter(|event| matches!(event, Event::WorkerBroke { .. })).count(), 5);
    one.running.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_reason() {
    let mut world = fleet(1).await;
    let mut one = Host::start(&world, "one");
    pass(&world, 10).await;
    world.put("a", "bad").await;
    pass(&world, 30).await;
    let letter = one.told("dead-letter");
    assert_eq!(letter["document"], "bad");
    assert!(letter["error"].as_str().unwrap().contains("it is bad"), "{letter}");
    one.spy.spoil(|request| match request.kind {
        Kind::Page if request.container == SOURCE => Fate::Unavailable,
        _ => Fate::Pass,
    });
    pass(&world, 30).await;
    assert!(one.told("store-fails")["error"].as_str().unwrap().contains("spoilt"));
    // Told once, however often it is tried.
    pass(&world, 60).await;
    assert_eq!(one.events.try_recv().ok(), None);
    one.spy.spoil(|_| Fate::Unavailable);
    pass(&world, 30).await;
    assert_eq!(one.told("fenced")["host"], "one");
    pass(&world, 30).await;
    assert_eq!(one.events.try_recv().ok(), None, "once");
    one.running.kill().await;

    world.options.on_error = OnError::Halt;
    let mut two = Host::start(&world, "two");
    pass(&world, 60).await;
    world.put("b", "bad").await;
    pass(&world, 30).await;
    assert!(two.told("range-halted")["reason"].as_str().unwrap().contains("it is bad"));
    two.running.stop().await;

    world.options.lease_mode = LeaseMode::Shared;
    world.options.on_error = OnError::DeadLetter;
    let mut three = Host::start(&world, "three");
    pass(&world, 30).await;
    assert_eq!(three.told("lease-held")["range"]["max"], "FF");
    three.spy.spoil(|_| Fate::Unavailable);
    pass(&world, 120).await;
    assert_eq!(three.told("fenced")["host"], "three");
    three.running.kill().await;
}
