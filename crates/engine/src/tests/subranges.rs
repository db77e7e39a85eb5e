//! More leases than physical partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::FeedRange;
use serde_json::Value;

use super::handlers::{Scripted, Seen};
use super::spy::Spy;
use super::world::{Running, SOURCE, World, processor};
use crate::Operator;

async fn fleet(ranges_per_partition: usize) -> World {
    let mut world = World::new().await;
    world.exclusive = false;
    world.options.ranges_per_partition = ranges_per_partition;
    world
}

fn host(world: &World, name: &str) -> (Running, Arc<Seen>) {
    let (handler, seen) = Scripted::accepting();
    let mut engine = world.engine_on(name, &Arc::new(Spy::default()));
    engine.add(processor("p", SOURCE, handler));
    (world.start(engine), seen)
}

async fn write(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world.put(&format!("k{}", number % 60), &format!("d{number}")).await;
    }
}

/// Leases that are there, without the records of those that were.
async fn leases(world: &World) -> Vec<Value> {
    world.leases().await.into_iter().filter(|lease| lease.get("was").is_none()).collect()
}

async fn owners(world: &World) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for lease in leases(world).await {
        *owners.entry(lease["Owner"].as_str().unwrap_or("nobody").to_owned()).or_default() += 1;
    }
    owners
}

async fn until_shared(world: &World, shares: &[(&str, usize)]) {
    let wanted: BTreeMap<_, _> = shares.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    for _ in 0..1_200 {
        if owners(world).await == wanted {
            return;
        }
        world.clock.sleep(Duration::from_millis(50)).await;
    }
    panic!("wanted {wanted:?}, came to {:?}", owners(world).await);
}

/// Fails unless the leases cover every key once.
async fn check_cover(world: &World) {
    let mut ranges: Vec<FeedRange> = leases(world)
        .await
        .iter()
        .map(|lease| serde_json::from_value(lease["FeedRange"]["Range"].clone()).unwrap())
        .collect();
    ranges.sort();
    let ends = (FeedRange::min(&ranges[0]), FeedRange::max(&ranges[ranges.len() - 1]));
    assert_eq!(ends, ("", "FF"));
    assert!(ranges.windows(2).all(|pair| FeedRange::max(&pair[0]) == FeedRange::min(&pair[1])), "{ranges:?}");
}

/// Fails unless each of so many documents was delivered once.
async fn check_delivered(world: &World, seen: &[&Arc<Seen>], count: usize) {
    let all = || seen.iter().flat_map(|seen| seen.ids()).collect::<Vec<_>>();
    world.wait_for("all is delivered", || all().len() >= count).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(all().len(), count, "nothing comes twice");
    assert_eq!(all().into_iter().collect::<BTreeSet<_>>().len(), count, "nothing is lost");
    seen.iter().for_each(|seen| seen.check_order());
}

#[tokio::test]
async fn four_hosts_share_one_partition_and_each_delivers_its_part() {
    let world = fleet(4).await;
    let hosts = ["a", "b", "c", "d"].map(|name| host(&world, name));
    until_shared(&world, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]).await;
    write(&world, 0..200).await;
    check_delivered(&world, &hosts.each_ref().map(|(_, seen)| seen), 200).await;
    assert!(hosts.iter().all(|(_, seen)| seen.ids().len() > 10), "each has work");
    check_cover(&world).await;
    for (running, _) in hosts {
        running.stop().await;
    }
}

#[tokio::test]
async fn a_raised_number_cuts_the_leases_that_are_there_where_they_stand() {
    let mut world = fleet(1).await;
    let (one, first) = host(&world, "one");
    write(&world, 0..100).await;
    world.wait_for("it is delivered", || first.ids().len() == 100).await;
    one.stop().await;
    assert_eq!(leases(&world).await.len(), 1);

    // Host by host, as a fleet is rolled: whoever has the lease decides.
    let (old, old_seen) = host(&world, "old");
    until_shared(&world, &[("old", 1)]).await;
    world.options.ranges_per_partition = 4;
    let (new, new_seen) = host(&world, "new");
    write(&world, 100..150).await;
    world.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(leases(&world).await.len(), 1, "the host that has it has the old number");
    old.stop().await;
    until_shared(&world, &[("new", 4)]).await;
    let (other, other_seen) = host(&world, "other");
    until_shared(&world, &[("new", 2), ("other", 2)]).await;
    write(&world, 150..300).await;
    check_delivered(&world, &[&first, &old_seen, &new_seen, &other_seen], 300).await;
    check_cover(&world).await;

    // Lowered, they stay.
    new.stop().await;
    other.stop().await;
    world.options.ranges_per_partition = 2;
    let (last, _) = host(&world, "last");
    until_shared(&world, &[("last", 4)]).await;
    check_cover(&world).await;
    last.stop().await;
}

#[tokio::test]
async fn a_range_that_is_read_is_drained_before_it_is_cut() {
    let mut world = fleet(1).await;
    world.options.lease_list_interval = Duration::from_secs(20);
    let (clock, slow) = (world.clock.clone(), Duration::from_millis(300));
    let (handler, seen) = Scripted::new(move |_| {
        let sleep = clock.sleep(slow);
        Box::pin(async move {
            sleep.await;
            Ok(crate::Outcome::default())
        })
    });
    let (old, old_seen) = host(&world, "one");
    write(&world, 0..50).await;
    world.wait_for("it is delivered", || old_seen.ids().len() == 50).await;
    old.kill().await;
    world.options.ranges_per_partition = 8;
    world.options.deliveries_in_flight_max = 2;
    let mut engine = world.engine_on("two", &Arc::new(Spy::default()));
    engine.add(processor("p", SOURCE, handler));
    let two = world.start(engine);
    write(&world, 50..250).await;
    until_shared(&world, &[("two", 8)]).await;
    world.wait_for("all is delivered", || seen.ids().len() >= 200).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    let ids: BTreeSet<_> = old_seen.ids().into_iter().chain(seen.ids()).collect();
    assert_eq!(ids.len(), 250, "nothing is lost");
    seen.check_order();
    check_cover(&world).await;
    two.stop().await;
}

#[tokio::test]
async fn a_split_leaves_parts_alone_that_lie_within_a_half_and_cuts_them_as_fine_as_before() {
    for ranges_per_partition in [2, 3, 4] {
        let mut world = fleet(ranges_per_partition).await;
        world.options.lease_list_interval = Duration::from_secs(20);
        let hosts = ["a", "b"].map(|name| host(&world, name));
        write(&world, 0..100).await;
        world
            .wait_for("it is delivered", || hosts.iter().map(|(_, seen)| seen.ids().len()).sum::<usize>() == 100)
            .await;
        world.store.split("db", SOURCE, &FeedRange::full()).await.unwrap();
        write(&world, 100..200).await;
        world.clock.sleep(Duration::from_secs(60)).await;
        write(&world, 200..300).await;
        check_delivered(&world, &hosts.each_ref().map(|(_, seen)| seen), 300).await;
        check_cover(&world).await;
        // What straddled the cut is two; where numbers are powers of two nothing does.
        let least = 2 * ranges_per_partition;
        let leases = leases(&world).await.len();
        assert!((least - 2..=least).contains(&leases), "{leases} leases of {least} wanted");
        for (running, _) in hosts {
            running.stop().await;
        }
    }
}

#[tokio::test]
async fn a_merge_leaves_what_is_finer_than_wanted_as_it_is() {
    let mut world = World::with_partitions(2).await;
    world.exclusive = false;
    world.options.ranges_per_partition = 2;
    world.options.lease_list_interval = Duration::from_secs(20);
    let (one, seen) = host(&world, "one");
    write(&world, 0..100).await;
    world.wait_for("it is delivered", || seen.ids().len() == 100).await;
    let halves = world.source().await.feed_ranges().await.unwrap();
    world.store.merge("db", SOURCE, &halves[0], &halves[1]).await.unwrap();
    write(&world, 100..200).await;
    world.clock.sleep(Duration::from_secs(60)).await;
    check_delivered(&world, &[&seen], 200).await;
    assert_eq!(leases(&world).await.len(), 4);
    check_cover(&world).await;
    one.stop().await;
}

#[tokio::test]
async fn the_lag_of_all_parts_is_that_of_their_partition() {
    let world = fleet(8).await;
    let (one, _) = host(&world, "one");
    until_shared(&world, &[("one", 8)]).await;
    one.stop().await;
    write(&world, 0..240).await;
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let clock = Arc::new(world.clock.clone());
    let operator = Operator::open(Arc::clone(&world.database), clock, Entropy::seeded(1), &world.options, feeds);
    let operator = operator.await.unwrap();
    let mut behind = 0;
    for lease in operator.leases().await.unwrap() {
        let lag = operator.lag(&lease).await.unwrap();
        assert!(lag.changes > 0);
        behind += lag.changes;
    }
    assert!((200..=260).contains(&behind), "{behind} of 240");
}
