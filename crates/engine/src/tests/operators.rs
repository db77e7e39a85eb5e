//! What operators do to a fleet that runs.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{FeedRange, FeedStart};

use super::handlers::{Scripted, Seen};
use super::spy::Spy;
use super::world::{Running, SOURCE, World, processor};
use crate::{Adopted, Lag, Operator, RewindTo, Waiting};

async fn operator(world: &World) -> Operator {
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let (clock, entropy) = (Arc::new(world.clock.clone()), Entropy::seeded(1));
    Operator::open(Arc::clone(&world.database), clock, entropy, &world.options, feeds).await.unwrap()
}

async fn fleet(partitions: u32) -> World {
    let mut world = World::with_partitions(partitions).await;
    world.exclusive = false;
    world
}

fn host(world: &World, name: &str) -> (Running, Arc<Seen>) {
    let (handler, seen) = Scripted::accepting();
    let mut engine = world.engine_on(name, &Arc::new(Spy::default()));
    engine.add(processor("p", SOURCE, handler));
    (world.start(engine), seen)
}

#[tokio::test]
async fn a_paused_processor_rests_on_all_hosts_until_it_is_resumed() {
    let world = fleet(4).await;
    let ((one, first), (two, second)) = (host(&world, "one"), host(&world, "two"));
    let delivered = || first.ids().len() + second.ids().len();
    world.put("a", "1").await;
    world.wait_for("it is delivered", || delivered() == 1).await;
    let operator = operator(&world).await;
    operator.pause("p", true).await.unwrap();
    world.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(operator.paused().await.unwrap(), ["p"]);
    assert!(operator.leases().await.unwrap().iter().all(|lease| lease.owner.is_none()));
    world.put("a", "2").await;
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(delivered(), 1);
    let lag: u64 = lags(&operator).await.iter().map(|lag| lag.changes).sum();
    assert_eq!(lag, 1);
    operator.pause("p", false).await.unwrap();
    world.wait_for("it goes on", || delivered() == 2).await;
    assert!(operator.paused().await.unwrap().is_empty());
    one.stop().await;
    two.stop().await;
}

async fn lags(operator: &Operator) -> Vec<Lag> {
    let mut lags = Vec::new();
    for lease in operator.leases().await.unwrap() {
        lags.push(operator.lag(&lease).await.unwrap());
    }
    lags
}

#[tokio::test]
async fn a_lease_is_rewound_and_released_while_a_fleet_works_on_it() {
    let world = fleet(1).await;
    let (one, seen) = host(&world, "one");
    for id in ["1", "2"] {
        world.put("a", id).await;
        world.wait_for("it is delivered", || seen.ids().last().is_some_and(|last| last == id)).await;
    }
    world.clock.sleep(Duration::from_secs(30)).await;
    let operator = operator(&world).await;
    let lease = operator.leases().await.unwrap().remove(0);
    assert_eq!(lease.owner.as_deref(), Some("one"));
    let rewound = operator.rewind(&lease, &RewindTo::Beginning).await.unwrap().unwrap();
    assert_eq!((rewound.position, rewound.owner, rewound.epoch), (None, None, lease.epoch + 1));
    world.wait_for("all of it comes again", || seen.ids() == ["1", "2", "1", "2"]).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    // From an old record of the lease: what stands there now counts.
    operator.release(&lease).await.unwrap().unwrap();
    world.clock.sleep(Duration::from_secs(30)).await;
    let after = operator.leases().await.unwrap().remove(0);
    assert_eq!((after.owner.as_deref(), seen.ids().len()), (Some("one"), 4), "it was taken again where it was");
    assert!(after.epoch >= lease.epoch + 4);
    one.stop().await;
    // To now: what waits is skipped.
    world.put("a", "3").await;
    operator.rewind(&after, &RewindTo::Now).await.unwrap().unwrap();
    assert_eq!(lags(&operator).await, [Lag::default()]);
    let (two, seen) = host(&world, "two");
    world.put("a", "4").await;
    world.wait_for("it goes on from there", || seen.ids() == ["4"]).await;
    two.stop().await;
}

#[tokio::test]
async fn lag_is_right_for_a_range_never_read_and_nothing_at_rest() {
    let world = fleet(1).await;
    let (one, seen) = host(&world, "one");
    world.clock.sleep(Duration::from_secs(5)).await;
    one.stop().await;
    let operator = operator(&world).await;
    assert_eq!(lags(&operator).await, [Lag::default()], "nothing was ever written");
    for number in 0..5 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world.clock.sleep(Duration::from_secs(70)).await;
    assert_eq!(lags(&operator).await, [Lag { changes: 5, seconds: 70 }], "nothing was ever read");
    let (two, _) = host(&world, "two");
    world.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(lags(&operator).await, [Lag::default()], "at rest");
    two.stop().await;
    drop(seen);
}

#[tokio::test]
async fn lag_is_right_for_a_range_that_was_just_split_before_and_after_its_parts_have_leases() {
    let world = fleet(1).await;
    let (one, seen) = host(&world, "one");
    for number in 0..10 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world.wait_for("it is delivered", || seen.ids().len() == 10).await;
    one.stop().await;
    for number in 10..40 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    let operator = operator(&world).await;
    assert_eq!(lags(&operator).await.iter().map(|lag| lag.changes).sum::<u64>(), 30);
    world.store.split("db", SOURCE, &FeedRange::full()).await.unwrap();
    // Positions are good for both halves, whose commits go on in numbers of their own.
    let whole = lags(&operator).await;
    assert_eq!((whole.len(), whole[0].changes), (1, 30), "the sum of its parts");
    operator.pause("p", false).await.unwrap();
    let (two, _) = host(&world, "two");
    world.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(lags(&operator).await, [Lag::default(), Lag::default()]);
    two.stop().await;
    for number in 40..50 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    assert_eq!(lags(&operator).await.iter().map(|lag| lag.changes).sum::<u64>(), 10);
}

#[tokio::test]
async fn the_parts_of_a_range_that_was_split_share_what_was_there_before() {
    let mut world = fleet(1).await;
    world.options.retry_inline = Duration::from_secs(3_600);
    let (one, _) = host(&world, "one");
    world.clock.sleep(Duration::from_secs(10)).await;
    one.stop().await;
    let write = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            world.put(&format!("k{number}"), &format!("d{number}")).await;
        }
    };
    write(0..40).await;
    world.store.split("db", SOURCE, &FeedRange::full()).await.unwrap();
    // It divides the range, and settles nothing.
    let (stuck, _) = Scripted::new(|_| Box::pin(std::future::pending()));
    let mut engine = world.engine_on("two", &Arc::new(Spy::default()));
    engine.add(processor("p", SOURCE, stuck));
    let status = engine.status();
    let two = world.start(engine);
    world.clock.sleep(Duration::from_secs(30)).await;
    let operator = operator(&world).await;
    let leases = operator.leases().await.unwrap();
    assert_eq!(leases.len(), 2, "it was divided");
    assert!(leases.iter().all(|lease| lease.position == leases[0].position), "nothing was settled");
    let behind = async || lags(&operator).await.iter().map(|lag| lag.changes).sum::<u64>();
    assert!((40..=41).contains(&behind().await), "{} of 40", behind().await);
    write(40..60).await;
    assert!((60..=61).contains(&behind().await), "{} of 60", behind().await);
    assert_eq!(status.ranges().len(), 2);
    two.kill().await;
    // Behind it, all that comes is of one part.
    let (three, seen) = host(&world, "three");
    world.wait_for("it is delivered", || seen.ids().len() == 60).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    three.stop().await;
    write(60..80).await;
    assert_eq!(behind().await, 20);
}

#[tokio::test]
async fn a_whole_whose_removal_was_interrupted_counts_nothing_beside_its_parts() {
    let world = fleet(1).await;
    let (one, _) = host(&world, "one");
    world.clock.sleep(Duration::from_secs(10)).await;
    one.stop().await;
    let whole = world.leases().await.remove(0);
    world.store.split("db", SOURCE, &FeedRange::full()).await.unwrap();
    let (two, _) = host(&world, "two");
    world.clock.sleep(Duration::from_secs(60)).await;
    two.stop().await;
    for number in 0..10 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world.overwrite("leases", &whole).await;
    let operator = operator(&world).await;
    let lags = lags(&operator).await;
    assert_eq!((lags.len(), lags.iter().map(|lag| lag.changes).sum::<u64>()), (3, 10));
    let waiting = Waiting::of(&*world.database, "leases", ("p", SOURCE), 100, |_| true).await.unwrap();
    assert_eq!(waiting, Waiting { changes: 10, unknown: false });
    // A part without a lease is the whole's.
    let leases = world.leases().await;
    let part = leases.iter().find(|lease| lease["id"] != whole["id"]).unwrap();
    world.remove("leases", part["id"].as_str().unwrap()).await;
    assert_eq!(Waiting::of(&*world.database, "leases", ("p", SOURCE), 100, |_| true).await.unwrap(), waiting);
}

#[tokio::test]
async fn an_imported_place_is_where_delivery_begins() {
    let world = fleet(1).await;
    for id in ["1", "2"] {
        world.put("a", id).await;
    }
    let range = FeedRange::full();
    let position = world.source().await.read_page(&range, &FeedStart::Beginning, 1).await.unwrap().position;
    let operator = operator(&world).await;
    let adopted = Adopted { range, start: FeedStart::Position(position) };
    assert!(operator.import("p", SOURCE, &adopted, false).await.unwrap());
    assert!(!operator.import("p", SOURCE, &adopted, false).await.unwrap(), "what is there stays");
    let (one, seen) = host(&world, "one");
    world.wait_for("the rest is delivered", || !seen.ids().is_empty()).await;
    world.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(seen.ids(), ["2"]);
    one.stop().await;
    assert_eq!(operator.export().await.unwrap().len(), 1);
}
