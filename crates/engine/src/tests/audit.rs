//! Leases that somebody spoiled, found and mended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{ContainerSpec, DocumentId, FeedRange, FeedStart, Operation, Position};
use serde_json::{Value, json};

use super::handlers::{Scripted, Seen};
use super::spy::Spy;
use super::world::{Running, SOURCE, World, processor};
use crate::{Audit, Fault, LeaseMode, Operator, Repair};

async fn operator(world: &World) -> Operator {
    let feeds = [("p".to_owned(), SOURCE.to_owned())];
    let (clock, entropy) = (Arc::new(world.clock.clone()), Entropy::seeded(1));
    Operator::open(Arc::clone(&world.database), clock, entropy, &world.options, feeds).await.unwrap()
}

fn host(world: &World, name: &str) -> (Running, Arc<Seen>) {
    let (handler, seen) = Scripted::accepting();
    let mut engine = world.engine_on(name, &Arc::new(Spy::default()));
    engine.add(processor("p", SOURCE, handler));
    (world.start(engine), seen)
}

/// Forty documents, the first twenty of which were delivered, by leases of two ranges; nobody runs.
async fn half_delivered(mode: LeaseMode) -> World {
    let mut world = World::with_partitions(2).await;
    world.exclusive = false;
    world.options.lease_mode = mode;
    let (one, seen) = host(&world, "one");
    world.wait_for("it has leases", || seen.calls() == 0).await;
    write(&world, 0..20).await;
    world.wait_for("half is delivered", || seen.ids().len() == 20).await;
    one.stop().await;
    write(&world, 20..40).await;
    world
}

async fn write(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
}

async fn leases(world: &World) -> Vec<Value> {
    world.leases().await.into_iter().filter(|lease| lease.get("was").is_none()).collect()
}

async fn remove(world: &World, id: &str) {
    let delete = Operation::Delete { id: DocumentId::new(id).unwrap(), if_match: None };
    world.database.container("leases").await.unwrap().write(&id.into(), delete).await.unwrap();
}

/// The lease, over another range and under the token of that.
async fn copy(world: &World, lease: &Value, token: &str, range: &FeedRange, position: Option<&str>) {
    let mut other = lease.clone();
    let id = lease["id"].as_str().unwrap();
    other["id"] = format!("{}..{token}", id.rsplit_once("..").unwrap().0).into();
    other["LeaseToken"] = token.into();
    other["FeedRange"] = json!({"Range": range});
    other["ContinuationToken"] = position.into();
    other["properties"]["startFrom"] = "beginning".into();
    world.overwrite("leases", &other).await;
}

fn range(lease: &Value) -> FeedRange {
    serde_json::from_value(lease["FeedRange"]["Range"].clone()).unwrap()
}

async fn audit(operator: &Operator) -> Audit {
    operator.audit("p").await.unwrap().remove(0)
}

/// Mends it, and lets a host deliver what is left; what came.
async fn mended(world: &World, found: &Audit) -> BTreeSet<String> {
    let operator = operator(world).await;
    operator.repair(found).await.unwrap();
    assert_eq!(audit(&operator).await.faults, []);
    let (one, seen) = host(world, "mended");
    world.clock.sleep(Duration::from_secs(120)).await;
    one.stop().await;
    seen.ids().into_iter().collect()
}

fn documents(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| format!("d{number}")).collect()
}

#[tokio::test]
async fn what_is_right_is_left_alone() {
    for mode in [LeaseMode::Own, LeaseMode::Shared] {
        let world = half_delivered(mode).await;
        let found = audit(&operator(&world).await).await;
        assert_eq!((found.leases, found.faults, found.repairs), (2, vec![], vec![]));
    }
}

#[tokio::test]
async fn a_gap_is_made_whole_from_the_beginning() {
    for mode in [LeaseMode::Own, LeaseMode::Shared] {
        let world = half_delivered(mode).await;
        let lost = leases(&world).await.remove(1);
        remove(&world, lost["id"].as_str().unwrap()).await;
        let found = audit(&operator(&world).await).await;
        let gap = range(&lost);
        assert_eq!(found.faults, [Fault::Gap { range: gap.clone() }]);
        assert!(found.faults[0].to_string().contains(&format!("no lease covers {gap}")));
        let [Repair::Make { range, from, delivered_again }] = found.repairs.as_slice() else { panic!("{found:?}") };
        assert_eq!((range, from.as_str()), (&gap, "the beginning"));
        let of_gap = world.source().await.read_page(&gap, &FeedStart::Beginning, 100).await.unwrap().changes.len();
        assert_eq!(*delivered_again, of_gap as u64);
        let came = mended(&world, &found).await;
        assert!(came.is_superset(&documents(20..40)) && came.len() > 20 && came.len() < 40);
    }
}

#[tokio::test]
async fn a_whole_that_came_back_gives_way_to_its_parts_which_are_no_further_than_it() {
    for (whole_at, again) in [(None, 40), (Some("theirs"), 20)] {
        let world = half_delivered(LeaseMode::Own).await;
        let parts = leases(&world).await;
        let position = whole_at.map(|_| parts[0]["ContinuationToken"].as_str().unwrap().to_owned());
        copy(&world, &parts[0], "-FF", &FeedRange::full(), position.as_deref()).await;
        let found = audit(&operator(&world).await).await;
        assert_eq!(found.faults.len(), 2, "{found:?}");
        assert!(
            found.faults.iter().all(
                |fault| matches!(fault, Fault::Overlap { leases, .. } if leases.iter().any(|token| token == "-FF"))
            )
        );
        assert!(matches!(found.repairs.last(), Some(Repair::Remove { id }) if id.ends_with("..-FF")));
        let rewinds = found.repairs.iter().filter(|repair| matches!(repair, Repair::Rewind { .. })).count();
        assert!(if again == 40 { rewinds == 2 } else { rewinds <= 1 }, "{found:?}");
        let came = mended(&world, &found).await;
        assert!(came.is_superset(&documents(20..40)) && came.len() >= again, "{} came", came.len());
        let records = world.leases().await.into_iter().filter(|lease| lease.get("was").is_some()).count();
        assert_eq!(records, 1, "what was removed is kept");
    }
}

#[tokio::test]
async fn a_division_that_somebody_only_began_is_completed() {
    let world = half_delivered(LeaseMode::Own).await;
    let parts = leases(&world).await;
    let whole = &range(&parts[0]);
    let half = &FeedRange::new(whole.min(), "0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").unwrap();
    let at = parts[0]["ContinuationToken"].as_str();
    copy(&world, &parts[0], &half.token(), half, at).await;
    let found = audit(&operator(&world).await).await;
    let tokens = [whole.token(), half.token()];
    let [Fault::Overlap { leases: overlapping, range }] = found.faults.as_slice() else { panic!("{found:?}") };
    assert_eq!((overlapping.iter().collect::<BTreeSet<_>>(), range), (tokens.iter().collect(), half));
    let rest = FeedRange::new(half.max(), whole.max()).unwrap();
    assert!(found.repairs.iter().any(|repair| matches!(
        repair,
        Repair::Make { range, delivered_again: 0, .. } if *range == rest
    )));
    assert_eq!(mended(&world, &found).await, documents(20..40), "all of it goes on where it was");
    assert_eq!(leases(&world).await.len(), 3);
}

#[tokio::test]
async fn two_leases_that_cross_or_are_the_same_end_as_one_that_is_behind_both() {
    let world = half_delivered(LeaseMode::Own).await;
    let parts = leases(&world).await;
    // Under a token of .NET, and with everything still to come.
    copy(&world, &parts[0], "0", &range(&parts[0]), None).await;
    let crossing = FeedRange::new("2FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "FF").unwrap();
    let second = range(&parts[1]);
    remove(&world, parts[1]["id"].as_str().unwrap()).await;
    let lower = FeedRange::new(FeedRange::min(&second), "37FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").unwrap();
    for range in [&lower, &crossing] {
        copy(&world, &parts[1], &range.token(), range, parts[1]["ContinuationToken"].as_str()).await;
    }
    let operator = operator(&world).await;
    let found = audit(&operator).await;
    assert_eq!(found.faults.len(), 2, "{found:?}");
    let came = mended(&world, &found).await;
    let source = world.source().await;
    let of_first = source.read_page(&range(&parts[0]), &FeedStart::Beginning, 100).await.unwrap().changes;
    let twice: BTreeSet<_> = of_first.iter().map(super::handlers::id).collect();
    assert_eq!(came, documents(20..40).union(&twice).cloned().collect(), "the one that was behind counts");
}

#[tokio::test]
async fn a_lease_of_a_container_that_is_gone_is_an_orphan_and_one_that_makes_no_sense_is_said_and_left() {
    let world = half_delivered(LeaseMode::Own).await;
    let lease = leases(&world).await.remove(0);
    let (rest, token) = lease["id"].as_str().unwrap().rsplit_once("..").unwrap();
    let (account, _) = rest.rsplit_once('_').unwrap();
    let mut orphan = lease.clone();
    orphan["id"] = format!("{account}_gone..{token}").into();
    world.overwrite("leases", &orphan).await;
    // Another container that is there, though this processor does not read it now.
    let spec = ContainerSpec::new("another", "/k");
    world.database.provision(&spec).await.unwrap();
    let another = world.database.container("another").await.unwrap();
    let mut other = lease.clone();
    other["id"] = format!("{account}_{}..{token}", another.rid()).into();
    world.overwrite("leases", &other).await;
    let operator = operator(&world).await;
    let found = audit(&operator).await;
    let id = orphan["id"].as_str().unwrap().to_owned();
    assert_eq!(found.faults, [Fault::Orphan { id: id.clone() }]);
    assert_eq!(found.repairs, [Repair::Remove { id: id.clone() }]);
    operator.repair(&found).await.unwrap();
    assert_eq!(audit(&operator).await.faults, []);
    let ids: BTreeSet<_> = leases(&world).await.iter().map(|lease| lease["id"].as_str().unwrap().to_owned()).collect();
    assert!(!ids.contains(&id) && ids.contains(other["id"].as_str().unwrap()));

    let mut senseless = lease.clone();
    senseless["FeedRange"] = Value::Null;
    world.overwrite("leases", &senseless).await;
    let found = audit(&operator).await;
    assert!(matches!(&found.faults[0], Fault::Unreadable { reason } if reason.contains("FeedRange")), "{found:?}");
    assert_eq!(found.repairs, [], "nobody writes over it, nor around it");
}

#[tokio::test]
async fn a_repair_beside_a_fleet_that_runs_reaches_it_and_loses_nothing() {
    for mode in [LeaseMode::Own, LeaseMode::Shared] {
        let world = half_delivered(mode).await;
        let (one, seen) = host(&world, "one");
        world.wait_for("the rest is delivered", || seen.ids().len() == 20).await;
        world.clock.sleep(Duration::from_secs(30)).await;
        let part = leases(&world).await.remove(0);
        copy(&world, &part, "0", &range(&part), None).await;
        world.clock.sleep(Duration::from_secs(30)).await;
        let operator = operator(&world).await;
        let found = audit(&operator).await;
        assert_eq!(found.faults.len(), 1, "{found:?}");
        operator.repair(&found).await.unwrap();
        world.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(audit(&operator).await.faults, []);
        let before = seen.ids().len();
        write(&world, 40..80).await;
        world.clock.sleep(Duration::from_secs(30)).await;
        let ids = seen.ids();
        assert!(documents(40..80).is_subset(&ids.iter().cloned().collect()));
        assert_eq!(ids.len() - before, 40, "nothing comes twice any more");
        one.stop().await;
    }
}

/// A position is opaque; only what comes behind it tells which of two is further.
#[tokio::test]
async fn of_two_positions_the_one_with_more_behind_it_counts() {
    let world = half_delivered(LeaseMode::Own).await;
    let part = leases(&world).await.remove(0);
    let range = range(&part);
    let source = world.source().await;
    let early = source.read_page(&range, &FeedStart::Beginning, 1).await.unwrap().position;
    let late = source.read_page(&range, &FeedStart::Beginning, 100).await.unwrap().position;
    for (mine, theirs) in [(&early, &late), (&late, &early)] {
        let mut lease = part.clone();
        lease["ContinuationToken"] = mine.as_str().into();
        world.overwrite("leases", &lease).await;
        copy(&world, &part, "0", &range, Some(theirs.as_str())).await;
        let operator = operator(&world).await;
        operator.repair(&audit(&operator).await).await.unwrap();
        let left = leases(&world).await.into_iter().find(|lease| self::range(lease) == range).unwrap();
        assert_eq!(left["ContinuationToken"].as_str().map(Position::new), Some(early.clone()));
    }
}
