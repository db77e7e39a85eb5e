//! Several hosts on one store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic};
use feedmill_store_api::{FeedRange, Operation};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::handlers::{Scripted, Seen};
use super::spy::{Fate, Kind, Request, Spy};
use super::world::{Running, SOURCE, World, caught_up, processor};
use crate::{EngineError, Outcome, Processor};

const HEARTBEAT: Duration = Duration::from_secs(3);

/// A host of its own name, and what it asked for and was given.
pub(super) struct Host {
    name: &'static str,
    pub(super) spy: Arc<Spy>,
    seen: Arc<Seen>,
    pub(super) running: Running,
}

impl Host {
    pub(super) fn start(world: &World, name: &'static str) -> Self {
        let (handler, seen) = Scripted::accepting();
        Self::with(world, name, |engine| engine.add(processor("p", SOURCE, handler.clone())), seen)
    }

    fn with(world: &World, name: &'static str, add: impl FnOnce(&mut crate::Engine), seen: Arc<Seen>) -> Self {
        let spy = Arc::new(Spy::default());
        let mut engine = world.engine_on(name, &spy);
        add(&mut engine);
        Self { name, spy, seen, running: world.start(engine) }
    }
}

pub(super) async fn fleet(partitions: u32, ranges_per_partition: usize) -> World {
    let mut world = World::with_partitions(partitions).await;
    world.exclusive = false;
    world.options.ranges_per_partition = ranges_per_partition;
    // Polls are not what these tests count, and there are many.
    world.options.poll_delay_max = Duration::from_secs(60);
    world
}

fn owners(leases: &[Value]) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for lease in leases {
        *owners.entry(lease["Owner"].as_str().unwrap_or("nobody").to_owned()).or_default() += 1;
    }
    owners
}

fn expected(shares: &[(&str, usize)]) -> BTreeMap<String, usize> {
    shares.iter().map(|(owner, count)| ((*owner).to_owned(), *count)).collect()
}

/// Lets time pass until the leases are shared so; how long that took.
async fn until_shared(world: &World, shares: &[(&str, usize)]) -> Duration {
    until(world, shares, Duration::from_millis(50)).await
}

pub(super) async fn until(world: &World, shares: &[(&str, usize)], step: Duration) -> Duration {
    let began = world.clock.monotonic();
    let mut last = BTreeMap::new();
    while world.clock.monotonic().since(began) < Duration::from_secs(300) {
        last = owners(&world.leases().await);
        if last == expected(shares) {
            return world.clock.monotonic().since(began);
        }
        world.clock.sleep(step).await;
    }
    panic!("wanted {shares:?}, came to {last:?}");
}

pub(super) fn is_heartbeat(request: &Request) -> bool {
    match &request.kind {
        Kind::Write(operation) => operation.id().as_str().starts_with("feedmill.host."),
        _ => false,
    }
}

pub(super) fn is_of_leases(request: &Request) -> bool {
    request.container == "leases"
}

#[tokio::test]
async fn hosts_share_the_leases_and_each_change_is_delivered_by_one_of_them() {
    let world = fleet(4, 1).await;
    let (one, two) = (Host::start(&world, "one"), Host::start(&world, "two"));
    until_shared(&world, &[("one", 2), ("two", 2)]).await;
    for number in 0..60 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    world.wait_for("all are delivered", || one.seen.ids().len() + two.seen.ids().len() == 60).await;
    assert!(one.seen.ids().len() > 5 && two.seen.ids().len() > 5);
    one.running.stop().await;
    until_shared(&world, &[("two", 4)]).await;
    two.running.stop().await;
    assert_eq!(owners(&world.leases().await), expected(&[("nobody", 4)]));
}

#[tokio::test]
async fn a_crashed_hosts_leases_are_taken_over_within_fifteen_seconds() {
    // Whatever the time between the last heartbeat and the crash.
    for millis in [10, 1_000, 2_000, 2_990] {
        let world = fleet(4, 1).await;
        let (one, two) = (Host::start(&world, "one"), Host::start(&world, "two"));
        until_shared(&world, &[("one", 2), ("two", 2)]).await;
        let beats = one.spy.count(is_heartbeat);
        world.wait_for("it beats", || one.spy.count(is_heartbeat) > beats).await;
        world.clock.sleep(Duration::from_millis(millis)).await;
        one.running.kill().await;
        let took = until_shared(&world, &[("two", 4)]).await;
        assert!(took < Duration::from_secs(15), "{took:?} after a crash {millis} ms after a heartbeat");
        assert!(took > Duration::from_secs(6), "{took:?}: it might have lived");
        two.running.stop().await;
    }
}

#[tokio::test]
async fn a_hundred_leases_are_shared_with_a_second_host_within_two_heartbeats() {
    let world = fleet(4, 25).await;
    let one = Host::start(&world, "one");
    until_shared(&world, &[("one", 100)]).await;
    let two = Host::start(&world, "two");
    let took = until_shared(&world, &[("one", 50), ("two", 50)]).await;
    assert!(took <= 2 * HEARTBEAT, "{took:?}");
    // A planned move is one write by its giver and none by its taker.
    assert_eq!(two.spy.lease_writes().iter().filter(|body| body.get("LeaseToken").is_some()).count(), 0);
    one.running.stop().await;
    two.running.stop().await;
}

#[tokio::test]
async fn an_eleventh_host_has_its_share_of_1920_leases_within_thirty_seconds() {
    const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let mut world = fleet(8, 240).await;
    world.options.poll_delay_min = Duration::from_secs(60);
    let mut hosts: Vec<_> = NAMES[..10].iter().map(|name| Host::start(&world, name)).collect();
    let step = Duration::from_secs(1);
    until(&world, &NAMES[..10].iter().map(|name| (*name, 192)).collect::<Vec<_>>(), step).await;
    let writes = |hosts: &[Host]| hosts.iter().map(|host| host.spy.lease_writes().len()).sum::<usize>();
    let before = writes(&hosts);
    hosts.push(Host::start(&world, NAMES[10]));
    // 1920 = 11 x 174 + 6.
    let mut shares: Vec<_> = NAMES.iter().map(|name| (*name, 174)).collect();
    shares[..6].iter_mut().for_each(|share| share.1 = 175);
    let took = until(&world, &shares, step).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    let moves = writes(&hosts) - before;
    assert!((174..174 + 11 * 12).contains(&moves), "{moves} writes, heartbeats among them, for 174 moves");
    for host in hosts {
        host.running.kill().await;
    }
}

#[tokio::test]
async fn at_rest_a_host_sends_one_write_and_one_read_a_heartbeat_whatever_the_number_of_leases() {
    for (partitions, ranges) in [(1, 1), (4, 25)] {
        let world = fleet(partitions, ranges).await;
        let hosts: Vec<_> = ["a", "b"].into_iter().map(|name| Host::start(&world, name)).collect();
        let leases = partitions as usize * ranges;
        until_shared(&world, &if leases == 1 { vec![("a", 1)] } else { vec![("a", 50), ("b", 50)] }).await;
        world.clock.sleep(Duration::from_secs(60)).await;
        let count = |host: &Host| (host.spy.count(is_heartbeat), host.spy.count(is_of_leases));
        let before: Vec<_> = hosts.iter().map(count).collect();
        world.clock.sleep(Duration::from_secs(300)).await;
        for (host, before) in hosts.iter().zip(before) {
            let (beats, all) = (count(host).0 - before.0, count(host).1 - before.1);
            assert!((99..=101).contains(&beats), "{}: {beats} heartbeats in five minutes", host.name);
            assert!(all <= 2 * beats + 2, "{}: {all} requests for {beats} heartbeats and {leases} leases", host.name);
        }
        for host in hosts {
            host.running.stop().await;
        }
    }
}

/// When each document was written.
type Written = Arc<Mutex<BTreeMap<String, Monotonic>>>;

/// Writes ten changes a second over all keys until it is dropped.
fn writing(world: &Arc<World>) -> (tokio_util::task::AbortOnDropHandle<()>, Written) {
    let (world, written) = (Arc::clone(world), Written::default());
    let times = Arc::clone(&written);
    let writing = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        for number in 0_u64.. {
            times.lock().insert(format!("d{number}"), world.clock.monotonic());
            world.put(&format!("k{}", number % 97), &format!("d{number}")).await;
            world.clock.sleep(Duration::from_millis(100)).await;
        }
    }));
    (writing, written)
}

#[tokio::test]
async fn a_planned_move_delivers_nothing_twice_and_stands_still_for_less_than_a_second() {
    let mut world = fleet(4, 4).await;
    world.options.poll_delay_max = Duration::from_millis(100);
    world.options.checkpoint_age = Duration::from_secs(60);
    let world = Arc::new(world);
    let delivered: Arc<Mutex<Vec<(String, Monotonic)>>> = Arc::default();
    let host = |name| {
        let (clock, delivered) = (world.clock.clone(), Arc::clone(&delivered));
        let (handler, seen) = Scripted::new(move |delivery| {
            let (clock, delivered) = (clock.clone(), Arc::clone(&delivered));
            Box::pin(async move {
                clock.sleep(Duration::from_millis(30)).await;
                let ids = delivery.changes.iter().map(super::handlers::id);
                delivered.lock().extend(ids.map(|id| (id, clock.monotonic())));
                Ok(Outcome::default())
            })
        });
        Host::with(&world, name, |engine| engine.add(processor("p", SOURCE, handler)), seen)
    };
    let one = host("one");
    let (writing, written) = writing(&world);
    until_shared(&world, &[("one", 16)]).await;
    let settled_from = world.clock.monotonic();
    let two = host("two");
    until_shared(&world, &[("one", 8), ("two", 8)]).await;
    let three = host("three");
    until_shared(&world, &[("one", 6), ("two", 5), ("three", 5)]).await;
    world.clock.sleep(Duration::from_secs(5)).await;
    two.running.stop().await;
    until_shared(&world, &[("one", 8), ("three", 8)]).await;
    world.clock.sleep(Duration::from_secs(5)).await;
    drop(writing);
    world.clock.sleep(Duration::from_secs(2)).await;
    let written = written.lock().clone();
    let waited = |(id, at): &(String, Monotonic)| at.since(written[id].max(settled_from));
    let longest = delivered.lock().iter().map(waited).max().unwrap();
    assert!(longest < Duration::from_secs(1), "a change waited for {longest:?}");
    let mut ids: Vec<_> = delivered.lock().iter().map(|(id, _)| id.clone()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(all - ids.len(), 0, "of {all} deliveries so many were duplicates");
    assert_eq!(ids.len(), world.all(SOURCE).await.len(), "nothing is lost");
    one.running.stop().await;
    three.running.stop().await;
}

#[tokio::test]
async fn a_host_whose_heartbeats_fail_stops_before_another_has_its_leases() {
    let mut world = fleet(2, 1).await;
    world.options.poll_delay_max = Duration::from_millis(100);
    let world = Arc::new(world);
    let (one, two) = (Host::start(&world, "one"), Host::start(&world, "two"));
    until_shared(&world, &[("one", 1), ("two", 1)]).await;
    let (writing, _) = writing(&world);
    world.clock.sleep(Duration::from_secs(10)).await;
    // Nothing but its heartbeat fails: it could go on for ever.
    one.spy.spoil(|request| if is_heartbeat(request) { Fate::Unavailable } else { Fate::Pass });
    let calls = |host: &Host| host.seen.calls();
    let (mut last, mut stopped_at) = (calls(&one), None);
    let mut taken_at = None;
    for _ in 0..400 {
        world.clock.sleep(Duration::from_millis(50)).await;
        let now = world.clock.monotonic();
        if calls(&one) > last {
            last = calls(&one);
            stopped_at = Some(now);
        }
        if taken_at.is_none() && owners(&world.leases().await) == expected(&[("two", 2)]) {
            taken_at = Some(now);
        }
    }
    let (stopped_at, taken_at) = (stopped_at.unwrap(), taken_at.expect("the other takes over"));
    assert!(taken_at.since(stopped_at) >= Duration::from_secs(1), "{stopped_at:?} {taken_at:?}");
    // Once it is heard of again it gets its share.
    one.spy.spoil(|_| Fate::Pass);
    until_shared(&world, &[("one", 1), ("two", 1)]).await;
    let before = calls(&one);
    world.clock.sleep(Duration::from_secs(10)).await;
    assert!(calls(&one) > before, "it works again");
    drop(writing);
    one.running.stop().await;
    two.running.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_store_moves_no_lease() {
    let world = fleet(4, 1).await;
    let hosts = ["one", "two"].map(|name| Host::start(&world, name));
    until_shared(&world, &[("one", 2), ("two", 2)]).await;
    let epochs = |leases: Vec<Value>| {
        leases.iter().map(|lease| (lease["Owner"].clone(), lease["id"].clone())).collect::<Vec<_>>()
    };
    let before = epochs(world.leases().await);
    for host in &hosts {
        host.spy.spoil(|_| Fate::Unavailable);
    }
    world.clock.sleep(Duration::from_secs(120)).await;
    for host in &hosts {
        host.spy.spoil(|_| Fate::Pass);
    }
    world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(epochs(world.leases().await), before);
    for host in hosts {
        host.running.stop().await;
    }
}

#[tokio::test]
async fn a_second_life_of_a_host_takes_its_leases_back_and_ends_the_first() {
    let world = fleet(4, 1).await;
    let first = Host::start(&world, "one");
    until_shared(&world, &[("one", 4)]).await;
    let second = Host::start(&world, "one");
    let first = first.running.ended().await;
    assert!(matches!(first, Err(EngineError::Replaced { host }) if host == "one"));
    world.put("a", "1").await;
    world.wait_for("the second life reads", || second.seen.ids() == ["1"]).await;
    second.running.stop().await;
}

/// One host has read what there is, and is idle; then its lease goes to nobody, at the beginning.
async fn rewound_while_idle(between: impl AsyncFnOnce(&World)) {
    let world = fleet(1, 1).await;
    world.put("a", "1").await;
    let one = Host::start(&world, "one");
    world.wait_for("it is read", || one.seen.ids() == ["1"]).await;
    world.clock.sleep(Duration::from_secs(30)).await;
    let mut lease = world.leases().await.remove(0);
    let epoch: u64 = lease["properties"]["epoch"].as_str().unwrap().parse().unwrap();
    lease["Owner"] = Value::Null;
    lease["ContinuationToken"] = Value::Null;
    lease["properties"]["epoch"] = json!((epoch + 1).to_string());
    between(&world).await;
    world.overwrite("leases", &lease).await;
    let began = world.clock.monotonic();
    world.wait_for("it is read again", || one.seen.ids() == ["1", "1"]).await;
    assert!(world.clock.monotonic().since(began) < 3 * HEARTBEAT);
    one.running.stop().await;
}

#[tokio::test]
async fn a_rewind_reaches_an_idle_range_and_a_removed_lease_is_made_again() {
    rewound_while_idle(async |_| ()).await;
}

/// The feed of leases is begun anew behind the rewind, which is in the listing alone.
#[tokio::test]
async fn a_rewind_reaches_an_idle_range_while_the_lease_container_is_split() {
    let split = async |world: &World| {
        world.store.split("db", "leases", &FeedRange::full()).await.unwrap();
    };
    rewound_while_idle(split).await;
}

/// The one whose reply is lost is a sign of life to others; this host counts its time from the next.
#[tokio::test]
async fn a_first_heartbeat_that_is_sent_again_is_another_sign_of_life() {
    let world = fleet(1, 1).await;
    let one = Host::start(&world, "one");
    let mut lost = 0;
    one.spy.spoil(move |request| {
        lost += u32::from(is_heartbeat(request));
        if lost == 1 && is_heartbeat(request) { Fate::LoseReply } else { Fate::Pass }
    });
    until_shared(&world, &[("one", 1)]).await;
    let requests = one.spy.requests.lock().clone();
    let bodies = requests.into_iter().filter(is_heartbeat).filter_map(|request| match request.kind {
        Kind::Write(Operation::Create { body, .. } | Operation::Replace { body, .. }) => Some(body),
        _ => None,
    });
    let beats: Vec<Value> =
        bodies.map(|body| serde_json::from_slice::<Value>(&body).unwrap()["beat"].clone()).collect();
    assert!(beats.len() >= 2 && beats.windows(2).all(|pair| pair[0] != pair[1]), "{beats:?}");
    one.running.stop().await;
}

/// Of a removal that was refused the record may be late: the host that was to remove it had lost the lease.
#[tokio::test]
async fn the_record_of_a_removal_ends_work_on_the_lease_unless_it_was_taken_since() {
    let world = fleet(1, 1).await;
    let one = Host::start(&world, "one");
    until_shared(&world, &[("one", 1)]).await;
    let lease = world.leases().await.remove(0);
    let epoch_of = |lease: &Value| lease["properties"]["epoch"].as_str().unwrap().parse::<u64>().unwrap();
    let (id, taken_in) = (lease["id"].as_str().unwrap(), epoch_of(&lease));
    let removed_in = async |epoch: u64| {
        let mut record = lease.clone();
        record["id"] = id.replace("..", ".was.").into();
        record["was"] = id.into();
        record["properties"]["epoch"] = json!(epoch.to_string());
        world.overwrite("leases", &record).await;
        world.clock.sleep(3 * HEARTBEAT).await;
        let leases = world.leases().await;
        leases.iter().find(|lease| lease["id"] == id).map(epoch_of).unwrap()
    };
    assert_eq!(removed_in(taken_in - 1).await, taken_in, "it has it still");
    assert_eq!(removed_in(taken_in).await, taken_in + 1, "it looked, and took it anew");
    one.running.stop().await;
}

#[tokio::test]
async fn jobs_that_share_the_work_end_when_all_of_it_is_done() {
    let world = fleet(4, 1).await;
    for number in 0..200 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    let job = |name: &'static str| {
        let clock = world.clock.clone();
        let (handler, seen) = Scripted::new(move |_| {
            let sleep = clock.sleep(Duration::from_secs(2));
            Box::pin(async move {
                sleep.await;
                Ok(Outcome::default())
            })
        });
        let spy = Arc::new(Spy::default());
        let mut engine = world.engine_on(name, &spy);
        engine.add(processor("p", SOURCE, handler));
        (tokio::spawn(caught_up(engine)), seen)
    };
    let ((one, first), (two, second)) = (job("one"), job("two"));
    for job in [one, two] {
        assert_eq!(job.await.unwrap().unwrap().halted, Vec::<String>::new());
        assert_eq!(first.ids().len() + second.ids().len(), 200);
    }
    assert_eq!(owners(&world.leases().await), expected(&[("nobody", 4)]));
}

#[tokio::test]
async fn a_job_waits_for_what_a_host_that_stays_has_not_done() {
    let world = fleet(2, 1).await;
    let clock = world.clock.clone();
    let (slow, slowly) = Scripted::new(move |_| {
        let sleep = clock.sleep(Duration::from_secs(40));
        Box::pin(async move {
            sleep.await;
            Ok(Outcome::default())
        })
    });
    let stays = Host::with(&world, "stays", |engine| engine.add(processor("p", SOURCE, slow)), slowly);
    until_shared(&world, &[("stays", 2)]).await;
    let (handler, seen) = Scripted::accepting();
    let mut job = world.engine_on("job", &Arc::new(Spy::default()));
    job.add(processor("p", SOURCE, handler));
    let job = tokio::spawn(caught_up(job));
    until_shared(&world, &[("stays", 1), ("job", 1)]).await;
    for number in 0..20 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    job.await.unwrap().unwrap();
    assert_eq!(stays.seen.ids().len() + seen.ids().len(), 20);
    stays.running.stop().await;
}

#[tokio::test]
async fn a_fleet_of_ours_does_not_work_among_strangers() {
    let world = fleet(1, 1).await;
    let one = Host::start(&world, "one");
    until_shared(&world, &[("one", 1)]).await;
    let mut lease = world.leases().await.remove(0);
    lease["Owner"] = json!("net-1");
    lease["timestamp"] = json!(world.clock.now().to_string());
    world.overwrite("leases", &lease).await;
    let ended = one.running.ended().await;
    assert!(matches!(ended, Err(EngineError::Foreign { owner, .. }) if owner == "net-1"));
    let two = Host::start(&world, "two");
    assert!(matches!(two.running.ended().await, Err(EngineError::Foreign { .. })));
    // What nobody renews is nobody's.
    world.clock.sleep(Duration::from_secs(61)).await;
    let three = Host::start(&world, "three");
    until_shared(&world, &[("three", 1)]).await;
    three.running.stop().await;
}

#[tokio::test]
async fn a_host_has_only_what_it_can_work_on() {
    let world = fleet(2, 1).await;
    let (p, q) = (Scripted::accepting(), Scripted::accepting());
    let both = |engine: &mut crate::Engine| {
        engine.add(processor("p", SOURCE, p.0.clone()));
        engine.add(Processor { name: "q".to_owned(), ..processor("q", SOURCE, q.0.clone()) });
    };
    let one = Host::with(&world, "one", both, Arc::clone(&p.1));
    until_shared(&world, &[("one", 4)]).await;
    let two = Host::start(&world, "two");
    until_shared(&world, &[("one", 2), ("two", 2)]).await;
    let theirs = world.leases().await.into_iter().filter(|lease| lease["Owner"] == "two");
    assert!(theirs.into_iter().all(|lease| lease["id"].as_str().unwrap().starts_with('p')));
    one.running.stop().await;
    world.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(owners(&world.leases().await), expected(&[("nobody", 2), ("two", 2)]));
    two.running.stop().await;
}
