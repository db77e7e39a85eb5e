//! Mode `shared`: hosts of ours and of the .NET processor on the same leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{DocumentId, FeedRange, Operation};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::dotnet::DotNet;
use super::handlers::{Scripted, Seen};
use super::spy::Spy;
use super::world::{Running, SOURCE, World, caught_up, processor};
use crate::{EngineError, LeaseMode, Operator, RewindTo};

async fn world(partitions: u32) -> World {
    let mut world = World::with_partitions(partitions).await;
    world.exclusive = false;
    world.options.lease_mode = LeaseMode::Shared;
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
        world.put(&format!("k{}", number % 97), &format!("d{number}")).await;
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

/// Lets time pass until the leases are shared so; how long that took.
async fn until_shared(world: &World, shares: &[(&str, usize)]) -> Duration {
    let began = world.clock.monotonic();
    let wanted: BTreeMap<_, _> = shares.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    while world.clock.monotonic().since(began) < Duration::from_secs(400) {
        if owners(world).await == wanted {
            return world.clock.monotonic().since(began);
        }
        world.clock.sleep(Duration::from_millis(200)).await;
    }
    panic!("wanted {wanted:?}, came to {:?}", owners(world).await);
}

/// What all hosts were given.
struct Delivered<'a>(&'a [&'a Arc<Seen>], &'a [&'a Arc<Mutex<Vec<String>>>]);

impl Delivered<'_> {
    fn ids(&self) -> Vec<String> {
        let ours = self.0.iter().flat_map(|seen| seen.ids());
        ours.chain(self.1.iter().flat_map(|delivered| delivered.lock().clone())).collect()
    }

    /// Waits until all of so many documents came; they do not come twice once the leases are at rest.
    async fn check(&self, world: &World, count: usize) {
        let distinct = || self.ids().into_iter().collect::<BTreeSet<_>>().len();
        for _ in 0..400 {
            if distinct() == count {
                return;
            }
            world.clock.sleep(Duration::from_secs(1)).await;
        }
        panic!("{} of {count} were delivered", distinct());
    }
}

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

#[tokio::test]
async fn leases_come_to_equal_shares_of_hosts_of_both_makes_and_nothing_is_lost() {
    let world = world(6).await;
    let net = DotNet::start(&world, "net").await;
    until_shared(&world, &[("net", 6)]).await;
    write(&world, 0..100).await;
    let (one, first) = host(&world, "one");
    until_shared(&world, &[("net", 3), ("one", 3)]).await;
    write(&world, 100..200).await;
    let (two, second) = host(&world, "two");
    until_shared(&world, &[("net", 2), ("one", 2), ("two", 2)]).await;
    // At rest each change comes to one of them, and each of them has some.
    world.clock.sleep(Duration::from_secs(30)).await;
    let before = [first.ids().len(), second.ids().len(), net.delivered.lock().len()];
    write(&world, 200..300).await;
    Delivered(&[&first, &second], &[&net.delivered]).check(&world, 300).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    let after = [first.ids().len(), second.ids().len(), net.delivered.lock().len()];
    let more: Vec<_> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    assert_eq!(more.iter().sum::<usize>(), 100, "{more:?}");
    assert!(more.iter().all(|more| *more > 10), "{more:?}");
    first.check_order();
    second.check_order();
    // And again when each in its turn stops in order.
    two.stop().await;
    until_shared(&world, &[("net", 3), ("one", 3)]).await;
    net.stop().await;
    until_shared(&world, &[("one", 6)]).await;
    one.stop().await;
    assert_eq!(owners(&world).await, [("nobody".to_owned(), 6)].into());
    check_cover(&world).await;
}

#[tokio::test]
async fn operators_see_every_host_of_either_make_with_the_time_of_its_last_renewal() {
    let world = world(3).await;
    let net = DotNet::start(&world, "net").await;
    let ((one, _), (two, _)) = (host(&world, "one"), host(&world, "two"));
    until_shared(&world, &[("net", 1), ("one", 1), ("two", 1)]).await;
    two.kill().await;
    let killed_at = world.clock.now();
    world.clock.sleep(Duration::from_secs(30)).await;
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let (clock, entropy) = (Arc::new(world.clock.clone()), Entropy::seeded(1));
    let operator = Operator::open(Arc::clone(&world.database), clock, entropy, &world.options, feeds).await.unwrap();
    let leases = operator.leases().await.unwrap();
    let hosts = operator.hosts(&leases).await.unwrap();
    let names: Vec<_> = hosts.iter().map(|host| (&*host.host, host.incarnation.is_some())).collect();
    assert_eq!(names, [("net", false), ("one", true), ("two", true)], "only ours have lives");
    let heard: Vec<_> = hosts.iter().map(|host| host.written_at.unwrap()).collect();
    assert!(heard[0] > killed_at && heard[1] > killed_at && heard[2] <= killed_at, "{heard:?} after {killed_at}");
    one.stop().await;
    net.stop().await;
    // Nobody owns anything, so nobody is left but in the leases that the dead one had.
    let hosts = operator.hosts(&operator.leases().await.unwrap()).await.unwrap();
    assert!(hosts.iter().all(|host| host.host == "two"), "{hosts:?}");
}

#[tokio::test]
async fn a_dotnet_host_that_vanishes_loses_its_leases_after_its_sixty_seconds() {
    let world = world(4).await;
    let net = DotNet::start(&world, "net").await;
    let (one, seen) = host(&world, "one");
    until_shared(&world, &[("net", 2), ("one", 2)]).await;
    write(&world, 0..100).await;
    world.clock.sleep(Duration::from_secs(20)).await;
    let delivered = Arc::clone(&net.delivered);
    net.kill();
    write(&world, 100..200).await;
    let took = until_shared(&world, &[("one", 4)]).await;
    assert!((Duration::from_secs(40)..Duration::from_secs(75)).contains(&took), "{took:?}");
    Delivered(&[&seen], &[&delivered]).check(&world, 200).await;
    // And ours are theirs when we vanish.
    one.kill().await;
    write(&world, 200..300).await;
    let heir = DotNet::start(&world, "heir").await;
    let took = until_shared(&world, &[("heir", 4)]).await;
    assert!((Duration::from_secs(40)..Duration::from_secs(75)).contains(&took), "{took:?}");
    Delivered(&[&seen], &[&delivered, &heir.delivered]).check(&world, 300).await;
}

#[tokio::test]
async fn a_lease_that_is_stolen_is_delivered_by_the_thief_alone_within_seconds() {
    let mut world = world(4).await;
    // Whatever we still read we deliver before the thief looks.
    world.options.poll_delay_max = Duration::from_millis(200);
    let (one, seen) = host(&world, "one");
    until_shared(&world, &[("one", 4)]).await;
    write(&world, 0..100).await;
    world.wait_for("all is delivered", || seen.ids().len() == 100).await;
    // What was settled is stored by then.
    world.clock.sleep(Duration::from_secs(10)).await;
    let net = DotNet::start(&world, "net").await;
    until_shared(&world, &[("net", 1), ("one", 3)]).await;
    world.clock.sleep(Duration::from_secs(4)).await;
    // Before anybody looks at all leases again.
    let before = seen.ids().len();
    write(&world, 100..200).await;
    Delivered(&[&seen], &[&net.delivered]).check(&world, 200).await;
    assert_eq!(seen.ids().len() - before + net.delivered.lock().len(), 100, "nothing came to both");
    assert!(net.delivered.lock().len() > 5);
    until_shared(&world, &[("net", 2), ("one", 2)]).await;
    one.stop().await;
}

#[tokio::test]
async fn idle_leases_are_renewed_in_time_with_all_that_others_keep_in_them() {
    let world = world(3).await;
    let (one, _) = host(&world, "one");
    until_shared(&world, &[("one", 3)]).await;
    one.stop().await;
    for mut lease in leases(&world).await {
        lease["somethingNew"] = json!({"kept": [1, 2]});
        lease["properties"]["theirs"] = json!("kept");
        world.overwrite("leases", &lease).await;
    }
    let (one, _) = host(&world, "one");
    until_shared(&world, &[("one", 3)]).await;
    let mut written = BTreeSet::new();
    for _ in 0..300 {
        world.clock.sleep(Duration::from_secs(1)).await;
        for lease in leases(&world).await {
            let timestamp = lease["timestamp"].as_str().unwrap();
            let age = world.clock.now().duration_since(timestamp.parse::<Timestamp>().unwrap());
            assert!(age < SignedDuration::from_secs(30), "{age:?}");
            written.insert((lease["id"].to_string(), timestamp.to_owned()));
            assert_eq!(lease["Owner"], "one");
            assert_eq!(
                (&lease["somethingNew"], &lease["properties"]["theirs"]),
                (&json!({"kept": [1, 2]}), &json!("kept"))
            );
        }
    }
    // One write each 17 s, and no read: theirs are two.
    assert!((3 * 17..=3 * 19).contains(&written.len()), "{} writes in five minutes", written.len());
    one.stop().await;
    let released = leases(&world).await;
    let now = world.clock.now();
    for lease in released {
        assert_eq!((&lease["Owner"], &lease["somethingNew"]["kept"]), (&Value::Null, &json!([1, 2])));
        let at: Timestamp = lease["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(now.duration_since(at) < SignedDuration::from_secs(2), "a release is a write with its time too");
    }
}

#[tokio::test]
async fn what_others_write_into_a_lease_that_stays_ours_is_kept_and_costs_nothing() {
    let mut world = world(1).await;
    world.options.checkpoint_age = Duration::from_secs(1);
    let (one, seen) = host(&world, "one");
    until_shared(&world, &[("one", 1)]).await;
    for number in 0..20 {
        let mut lease = leases(&world).await.remove(0);
        lease["note"] = number.into();
        world.overwrite("leases", &lease).await;
        write(&world, number..number + 1).await;
        world.clock.sleep(Duration::from_secs(4)).await;
    }
    let lease = leases(&world).await.remove(0);
    assert_eq!((&lease["note"], &lease["properties"]["epoch"]), (&json!(19), &json!("1")), "it was never lost");
    assert_eq!(seen.ids().len(), 20);
    one.stop().await;
}

#[tokio::test]
async fn a_worker_whose_lease_cannot_be_renewed_stops_before_others_may_have_it() {
    let mut world = world(1).await;
    world.options.poll_delay_max = Duration::from_millis(200);
    let (handler, seen) = Scripted::accepting();
    let spy = Arc::new(Spy::default());
    let mut engine = world.engine_on("one", &spy);
    engine.add(processor("p", SOURCE, handler));
    let one = world.start(engine);
    until_shared(&world, &[("one", 1)]).await;
    // Its reads are answered: nothing but its own writes tells it.
    spy.spoil(|request| match &request.kind {
        super::spy::Kind::Write(_) if request.container == "leases" => super::spy::Fate::Unavailable,
        _ => super::spy::Fate::Pass,
    });
    let renewed: Timestamp = leases(&world).await[0]["timestamp"].as_str().unwrap().parse().unwrap();
    let mut last = world.clock.now();
    for number in 0..400 {
        let before = seen.ids().len();
        write(&world, number..number + 1).await;
        world.clock.sleep(Duration::from_millis(250)).await;
        if seen.ids().len() > before {
            last = world.clock.now();
        }
    }
    let stopped = last.duration_since(renewed);
    assert!(stopped > SignedDuration::from_secs(40) && stopped <= SignedDuration::from_secs(60), "{stopped:?}");
    spy.spoil(|_| super::spy::Fate::Pass);
    Delivered(&[&seen], &[]).check(&world, 400).await;
    one.stop().await;
}

#[tokio::test]
async fn splits_and_merges_by_either_make_lose_nothing_while_leases_are_stolen() {
    for round in 0..6_u64 {
        let world = world(2).await;
        let (one, seen) = host(&world, "one");
        until_shared(&world, &[("one", 2)]).await;
        write(&world, 0..100).await;
        // It steals a lease a pass, and at some time in that everything is split, and merged again.
        let net = DotNet::start(&world, "net").await;
        world.clock.sleep(Duration::from_millis(round * 4_300)).await;
        for range in world.source().await.feed_ranges().await.unwrap() {
            world.store.split("db", SOURCE, &range).await.unwrap();
        }
        write(&world, 100..200).await;
        until_shared(&world, &[("net", 2), ("one", 2)]).await;
        check_cover(&world).await;
        write(&world, 200..300).await;
        let ranges = world.source().await.feed_ranges().await.unwrap();
        world.store.merge("db", SOURCE, &ranges[0], &ranges[1]).await.unwrap();
        let (two, second) = host(&world, "two");
        write(&world, 300..400).await;
        Delivered(&[&seen, &second], &[&net.delivered]).check(&world, 400).await;
        world.clock.sleep(Duration::from_secs(60)).await;
        check_cover(&world).await;
        seen.check_order();
        net.stop().await;
        until_shared(&world, &[("one", 2), ("two", 2)]).await;
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test]
async fn a_split_that_a_dotnet_host_only_began_is_completed_without_a_second_lease_for_any_keys() {
    for mode in [LeaseMode::Shared, LeaseMode::Own] {
        let mut world = world(1).await;
        write(&world, 0..20).await;
        let net = DotNet::start(&world, "net").await;
        until_shared(&world, &[("net", 1)]).await;
        world.clock.sleep(Duration::from_secs(30)).await;
        net.kill();
        // Its names are numbers, which are in no order of keys.
        let mut whole = leases(&world).await.remove(0);
        let prefix = whole["id"].as_str().unwrap().rsplit_once("..").unwrap().0.to_owned();
        world.clock.sleep(Duration::from_secs(60)).await;
        let halves = world.store.split("db", SOURCE, &FeedRange::full()).await.unwrap();
        whole["id"] = format!("{prefix}..12").into();
        whole["LeaseToken"] = "12".into();
        whole["FeedRange"] = json!({"Range": halves[1]});
        whole["Owner"] = Value::Null;
        world.overwrite("leases", &whole).await;
        write(&world, 20..60).await;
        world.options.lease_mode = mode;
        let (one, seen) = host(&world, "one");
        until_shared(&world, &[("one", 2)]).await;
        Delivered(&[&seen], &[]).check(&world, 40).await;
        world.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(seen.ids().len(), 40, "nothing comes twice");
        check_cover(&world).await;
        let tokens: BTreeSet<_> =
            leases(&world).await.iter().map(|lease| lease["LeaseToken"].as_str().unwrap().to_owned()).collect();
        assert_eq!(tokens, BTreeSet::from(["12".to_owned(), halves[0].token()]));
        one.stop().await;
    }
}

#[tokio::test]
async fn a_restart_under_the_same_name_has_its_leases_at_once() {
    let world = world(4).await;
    let (one, first) = host(&world, "one");
    until_shared(&world, &[("one", 4)]).await;
    one.kill().await;
    write(&world, 0..50).await;
    let (again, second) = host(&world, "one");
    let began = world.clock.monotonic();
    Delivered(&[&first, &second], &[]).check(&world, 50).await;
    assert!(world.clock.monotonic().since(began) < Duration::from_secs(5));
    again.stop().await;
}

#[tokio::test]
async fn operators_pause_and_rewind_what_is_shared() {
    let world = world(2).await;
    let (one, seen) = host(&world, "one");
    until_shared(&world, &[("one", 2)]).await;
    write(&world, 0..20).await;
    world.wait_for("all is delivered", || seen.ids().len() == 20).await;
    world.clock.sleep(Duration::from_secs(20)).await;
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let clock = Arc::new(world.clock.clone());
    let operator = Operator::open(Arc::clone(&world.database), clock, Entropy::seeded(1), &world.options, feeds);
    let operator = operator.await.unwrap();
    operator.pause("p", true).await.unwrap();
    until_shared(&world, &[("nobody", 2)]).await;
    write(&world, 20..30).await;
    world.clock.sleep(Duration::from_secs(120)).await;
    assert_eq!(seen.ids().len(), 20);
    operator.pause("p", false).await.unwrap();
    world.wait_for("it goes on", || seen.ids().len() == 30).await;
    for lease in operator.leases().await.unwrap() {
        operator.rewind(&lease, &RewindTo::Beginning).await.unwrap();
    }
    world.wait_for("all of it comes again", || seen.ids().len() == 60).await;
    one.stop().await;
}

#[tokio::test]
async fn the_first_leases_are_made_under_the_lock_of_dotnet() {
    let world = world(2).await;
    let source = world.source().await;
    let prefix = format!("p{}_{}_{}", world.database.host(), world.database.rid(), source.rid());
    let (lock, info) = (format!("{prefix}.lock"), format!("{prefix}.info"));
    world.overwrite("leases", &json!({"id": lock, "ttl": -1})).await;
    let began = world.clock.monotonic();
    let (one, _) = host(&world, "one");
    world.clock.sleep(Duration::from_secs(20)).await;
    assert!(leases(&world).await.is_empty(), "another is making them");
    // Its maker died, and the container lets nothing expire.
    until_shared(&world, &[("one", 2)]).await;
    assert!(world.clock.monotonic().since(began) >= Duration::from_secs(60));
    let ids = || async {
        let all = world.all("leases").await;
        all.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert!(ids().await.contains(&info) && !ids().await.contains(&lock));
    one.stop().await;

    // And where .NET was first, there is nothing to make.
    let world = self::world(2).await;
    let net = DotNet::start(&world, "net").await;
    let (one, _) = host(&world, "one");
    until_shared(&world, &[("net", 1), ("one", 1)]).await;
    assert!(leases(&world).await.iter().all(|lease| lease["version"] == 0));
    net.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn own_hosts_do_not_start_beside_dotnet_nor_shared_ones_and_shared_ones_not_beside_own() {
    let mut world = world(2).await;
    let net = DotNet::start(&world, "net").await;
    until_shared(&world, &[("net", 2)]).await;
    world.options.lease_mode = LeaseMode::Own;
    let refused = host(&world, "own").0.ended().await.unwrap_err();
    assert!(matches!(&refused, EngineError::Foreign { owner, .. } if owner == "net"));
    assert!(refused.to_string().contains("engine.lease_mode = \"shared\""), "{refused}");
    net.stop().await;

    world.options.lease_mode = LeaseMode::Shared;
    let (shared, _) = host(&world, "shared");
    until_shared(&world, &[("shared", 2)]).await;
    world.options.lease_mode = LeaseMode::Own;
    assert!(
        matches!(host(&world, "own").0.ended().await, Err(EngineError::Foreign { owner, .. }) if owner == "shared")
    );
    // Stopped in order they leave the leases to the other mode at once.
    shared.stop().await;
    let (own, _) = host(&world, "own");
    until_shared(&world, &[("own", 2)]).await;
    world.options.lease_mode = LeaseMode::Shared;
    let refused = host(&world, "shared").0.ended().await;
    assert!(matches!(refused, Err(EngineError::Own { host }) if host == "own"));
    // It stops as soon as somebody takes a lease by other rules.
    let net = DotNet::start(&world, "net").await;
    let ended = own.ended().await;
    assert!(matches!(ended, Err(EngineError::Foreign { .. })));
    net.stop().await;
}

#[tokio::test]
async fn a_lease_that_vanishes_is_lost_at_the_next_renewal_and_made_again() {
    let mut world = world(2).await;
    world.options.lease_list_interval = Duration::from_secs(60);
    let (one, seen) = host(&world, "one");
    until_shared(&world, &[("one", 2)]).await;
    let id = leases(&world).await.remove(0)["id"].as_str().unwrap().to_owned();
    let delete = Operation::Delete { id: DocumentId::new(&*id).unwrap(), if_match: None };
    world.database.container("leases").await.unwrap().write(&id.as_str().into(), delete).await.unwrap();
    write(&world, 0..40).await;
    world.clock.sleep(Duration::from_secs(120)).await;
    Delivered(&[&seen], &[]).check(&world, 40).await;
    assert_eq!(owners(&world).await, [("one".to_owned(), 2)].into());
    one.stop().await;
}

#[tokio::test]
async fn a_job_among_them_ends_when_nothing_waits_for_an_owner_and_its_own_is_done() {
    let world = world(4).await;
    write(&world, 0..100).await;
    let job = |name: &'static str| {
        let (handler, seen) = Scripted::accepting();
        let mut engine = world.engine_on(name, &Arc::new(Spy::default()));
        engine.add(processor("p", SOURCE, handler));
        (caught_up(engine), seen)
    };
    let (alone, seen) = job("alone");
    assert_eq!(alone.await.unwrap().delivered, 100);
    assert_eq!(seen.ids().len(), 100);
    let net = DotNet::start(&world, "net").await;
    until_shared(&world, &[("net", 4)]).await;
    let (beside, _) = job("beside");
    beside.await.unwrap();
    until_shared(&world, &[("net", 4)]).await;
    net.stop().await;
}
