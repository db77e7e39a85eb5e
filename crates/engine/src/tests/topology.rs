//! Ranges that are split, leases that vanish.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{DocumentId, FeedRange, FeedStart, Operation};
use serde_json::Value;

use super::handlers::Scripted;
use super::spy::{Fate, Kind, Spy};
use super::world::{SOURCE, World, processor};
use crate::{Adopted, Operator};

/// A fleet whose only lease is over a range that is four by now.
async fn after_a_split() -> World {
    let mut world = World::with_partitions(4).await;
    world.exclusive = false;
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let (clock, entropy) = (Arc::new(world.clock.clone()), Entropy::seeded(1));
    let operator = Operator::open(Arc::clone(&world.database), clock, entropy, &world.options, feeds).await.unwrap();
    let whole = Adopted { range: FeedRange::full(), start: FeedStart::Beginning };
    operator.import("p", SOURCE, &whole, false).await.unwrap();
    for number in 0..40 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world
}

fn ranges(leases: &[Value]) -> Vec<FeedRange> {
    let range = |lease: &Value| serde_json::from_value(lease["FeedRange"]["Range"].clone()).unwrap();
    let mut ranges: Vec<_> = leases.iter().map(range).collect();
    ranges.sort();
    ranges
}

#[tokio::test]
async fn the_parts_of_a_split_range_get_leases_with_its_position_and_are_spread() {
    let world = after_a_split().await;
    let ((first, seen), (second, also)) = (Scripted::accepting(), Scripted::accepting());
    let start = |name, handler| {
        let mut engine = world.engine_on(name, &Arc::new(Spy::default()));
        engine.add(processor("p", SOURCE, handler));
        world.start(engine)
    };
    let (one, two) = (start("one", first), start("two", second));
    let delivered = || seen.ids().len() + also.ids().len();
    world.wait_for("all is delivered", || delivered() >= 40).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(delivered(), 40, "nothing comes twice");
    let leases = world.leases().await.into_iter().filter(|lease| lease.get("was").is_none()).collect::<Vec<_>>();
    let expected = world.source().await.feed_ranges().await.unwrap();
    assert_eq!(ranges(&leases), expected);
    let of = |name: &str| leases.iter().filter(|lease| lease["Owner"] == name).count();
    assert_eq!((of("one"), of("two")), (2, 2));
    let record = world.leases().await.into_iter().find(|lease| lease.get("was").is_some()).unwrap();
    assert!(record["was"].as_str().unwrap().ends_with("..-FF"));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_split_loses_nothing() {
    // Creations of four parts, the record, the removal: nothing gets through from the nth on, and the host dies.
    for step in 0..6 {
        let world = after_a_split().await;
        let spy = Arc::new(Spy::default());
        let mut writes = 0;
        spy.spoil(move |request| match &request.kind {
            Kind::Write(operation) if operation.id().as_str().starts_with('p') => {
                // The first one takes the lease.
                writes += 1;
                if writes > 1 + step { Fate::Unavailable } else { Fate::Pass }
            }
            _ => Fate::Pass,
        });
        let mut engine = world.engine_on("one", &spy);
        engine.add(processor("p", SOURCE, Scripted::accepting().0));
        let one = world.start(engine);
        world.clock.sleep(Duration::from_secs(5)).await;
        one.kill().await;
        let (handler, seen) = Scripted::accepting();
        let mut engine = world.engine_on("two", &Arc::new(Spy::default()));
        engine.add(processor("p", SOURCE, handler));
        let two = world.start(engine);
        world.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(seen.ids().len(), 40, "after a crash at step {step}");
        let leases = world.leases().await.into_iter().filter(|lease| lease.get("was").is_none());
        assert_eq!(leases.count(), 4, "after a crash at step {step}");
        two.stop().await;
    }
}

#[tokio::test]
async fn a_lease_that_vanishes_is_made_again_by_the_next_audit() {
    let mut world = World::with_partitions(2).await;
    world.exclusive = false;
    let (handler, seen) = Scripted::accepting();
    let running = world.start(world.engine_of(handler));
    world.clock.sleep(Duration::from_secs(10)).await;
    let id = world.leases().await.remove(0)["id"].as_str().unwrap().to_owned();
    let delete = Operation::Delete { id: DocumentId::new(&*id).unwrap(), if_match: None };
    world.database.container("leases").await.unwrap().write(&id.as_str().into(), delete).await.unwrap();
    world.clock.sleep(world.options.lease_list_interval + Duration::from_secs(30)).await;
    assert_eq!(world.leases().await.len(), 2);
    for number in 0..20 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world
        .wait_for("all is delivered", || {
            let mut ids = seen.ids();
            ids.sort();
            ids.dedup();
            ids.len() == 20
        })
        .await;
    running.stop().await;
}
