use std::sync::Arc;

use feedmill_store_api::{ContainerSpec, DefaultTtl, FeedStart, Operation};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::handlers::Scripted;
use super::spy::{Fate, Kind, Request, Spy};
use super::world::{SOURCE, World, caught_up, processor};
use crate::{EngineError, Outcome, Processor, RangeState, StartFrom};

fn is_lease_replace(request: &Request) -> bool {
    request.container == "leases" && matches!(request.kind, Kind::Write(Operation::Replace { .. }))
}

#[tokio::test]
async fn the_start_is_stored_before_the_first_delivery() {
    let time = "2020-01-01T00:00:00Z".parse().unwrap();
    for start in [StartFrom::Beginning, StartFrom::Now, StartFrom::Time(time)] {
        let world = Arc::new(World::new().await);
        world.put("a", "before").await;
        let found: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (there, leases) = (Arc::downgrade(&world), Arc::clone(&found));
        let (handler, seen) = Scripted::new(move |_| {
            let (world, leases) = (there.upgrade().unwrap(), Arc::clone(&leases));
            Box::pin(async move {
                let now = world.leases().await;
                leases.lock().extend(now);
                Ok(Outcome::default())
            })
        });
        let mut engine = world.engine();
        engine.add(Processor { start, ..processor("p", SOURCE, handler) });
        let running = world.start(engine);
        world
            .wait_for("it reads", || {
                world.spy.count(|request| request.container == "leases" && matches!(request.kind, Kind::Write(_))) >= 3
            })
            .await;
        world.put("a", "after").await;
        world.wait_for("it is accepted", || seen.ids().contains(&"after".to_owned())).await;
        running.stop().await;
        let lease = found.lock().remove(0);
        let kept = (lease["ContinuationToken"].is_string(), lease["properties"]["startFrom"].as_str());
        match start {
            StartFrom::Beginning => assert_eq!(kept, (false, Some("beginning"))),
            StartFrom::Time(_) => assert_eq!(kept, (false, Some("2020-01-01T00:00:00Z"))),
            StartFrom::Now => assert_eq!(kept, (true, None)),
        }
        assert_eq!(seen.ids().contains(&"before".to_owned()), start != StartFrom::Now);
    }
}

#[tokio::test]
async fn now_means_the_first_start_whatever_fails_before_the_first_checkpoint() {
    let world = World::new().await;
    world.put("a", "before").await;
    let (handler, seen) = Scripted::new(|_| Box::pin(std::future::pending()));
    let mut engine = world.engine();
    engine.add(Processor { start: StartFrom::Now, ..processor("p", SOURCE, handler) });
    let running = world.start(engine);
    world.wait_for("it has its lease", || world.spy.count(is_lease_replace) == 1).await;
    world.put("a", "after").await;
    world.wait_for("it is handled", || seen.calls() == 1).await;
    running.kill().await;
    let (handler, seen) = Scripted::accepting();
    let mut engine = world.engine();
    engine.add(Processor { start: StartFrom::Now, ..processor("p", SOURCE, handler) });
    caught_up(engine).await.unwrap();
    assert_eq!(seen.ids(), ["after"]);
}

#[tokio::test]
async fn leases_are_the_dotnet_processors_and_free_after_a_shutdown() {
    let world = World::with_partitions(2).await;
    world.put("a", "1").await;
    let (handler, _) = Scripted::accepting();
    let summary = world.until_caught_up(handler).await;
    assert!(summary.ranges.iter().all(|range| range.state == RangeState::Released));
    let source = world.source().await;
    let prefix = format!("p{}_{}_{}", world.database.host(), world.database.rid(), source.rid());
    let leases = world.leases().await;
    assert_eq!(leases.len(), 2);
    for (lease, range) in leases.iter().zip(&source.feed_ranges().await.unwrap()) {
        assert_eq!(lease["id"], format!("{prefix}..{}-{}", range.min(), range.max()));
        assert_eq!(lease["LeaseToken"], format!("{}-{}", range.min(), range.max()));
        assert_eq!(lease["FeedRange"], json!({"Range": {"min": range.min(), "max": range.max()}}));
        assert_eq!((&lease["version"], &lease["Mode"]), (&json!(1), &json!("Incremental Feed")));
        assert_eq!((&lease["Owner"], &lease["properties"]["epoch"]), (&Value::Null, &json!("1")));
        assert!(lease["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    assert!(leases.iter().any(|lease| lease["ContinuationToken"].as_str().is_some_and(|at| at.starts_with('"'))));
    assert!(world.all("leases").await.iter().any(|document| document["id"] == format!("{prefix}.info")));
}

#[tokio::test]
async fn a_dotnet_lease_is_taken_over_where_it_was() {
    let world = World::new().await;
    world.put("a", "1").await;
    let (source, range) = (world.source().await, feedmill_store_api::FeedRange::full());
    let position = source.read_page(&range, &FeedStart::Beginning, 10).await.unwrap().position;
    world.put("a", "2").await;
    let prefix = format!("p{}_{}_{}", world.database.host(), world.database.rid(), source.rid());
    world
        .overwrite(
            "leases",
            &json!({
                "id": format!("{prefix}..0"), "version": 0, "LeaseToken": "0",
                "FeedRange": {"Range": {"min": "", "max": "FF"}}, "Owner": "net-1",
                "ContinuationToken": position.as_str(), "properties": {"kept": "yes"}, "timestamp": null,
                "Mode": "Incremental Feed", "unknown": {"too": 1},
            }),
        )
        .await;
    let (handler, seen) = Scripted::accepting();
    world.until_caught_up(handler).await;
    assert_eq!(seen.ids(), ["2"]);
    let leases = world.leases().await;
    assert_eq!(leases.len(), 1, "its range is covered");
    assert_eq!(leases[0]["version"], 0);
    assert_eq!((&leases[0]["properties"]["kept"], &leases[0]["unknown"]["too"]), (&json!("yes"), &json!(1)));
}

#[tokio::test]
async fn the_only_opener_of_a_store_takes_a_lease_whoever_it_says_has_it() {
    let world = World::with_partitions(2).await;
    let (handler, _) = Scripted::accepting();
    world.until_caught_up(handler).await;
    for number in 0..20 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    let mut theirs = world.leases().await.remove(0);
    theirs["Owner"] = json!("host-2");
    world.overwrite("leases", &theirs).await;
    let (handler, seen) = Scripted::accepting();
    let summary = world.until_caught_up(handler).await;
    assert_eq!((seen.ids().len(), summary.halted), (20, Vec::new()));
}

#[tokio::test]
async fn a_lost_lease_stops_its_worker_at_the_next_checkpoint() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    world.options.checkpoint_pages = 1;
    world.put("a", "1").await;
    let (handler, seen) = Scripted::accepting();
    let running = world.start(world.engine_of(handler));
    world.wait_for("it is checkpointed", || world.spy.count(is_lease_replace) == 2).await;
    let before = world.leases().await.remove(0);
    let mut lease = before.clone();
    lease["Owner"] = json!("operator");
    lease["properties"]["epoch"] = json!("7");
    world.overwrite("leases", &lease).await;
    world.put("a", "2").await;
    let taken = |spy: &Spy| spy.lease_writes().iter().any(|lease| lease["properties"]["epoch"] == "8");
    world.wait_for("it is taken again", || taken(&world.spy)).await;
    let kept = world.spy.lease_writes().into_iter().find(|lease| lease["properties"]["epoch"] == "8").unwrap();
    assert_eq!(kept["ContinuationToken"], before["ContinuationToken"], "no checkpoint came after the loss");
    world.wait_for("what was not checkpointed comes again", || seen.ids() == ["1", "2", "2"]).await;
    assert_eq!(running.stop().await.halted, Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_after_a_lost_reply_is_recognised_as_our_own_write() {
    let mut world = World::new().await;
    world.options.page_items_max = 1;
    world.options.checkpoint_pages = 1;
    for number in 0..10 {
        world.put("a", &number.to_string()).await;
    }
    // Every second replace of a lease takes effect without an answer: taking, checkpoints, release.
    let mut count = 0;
    world.spy.spoil(move |request| {
        count += usize::from(is_lease_replace(request));
        if is_lease_replace(request) && count % 2 == 1 { Fate::LoseReply } else { Fate::Pass }
    });
    let (handler, seen) = Scripted::accepting();
    let summary = world.until_caught_up(handler).await;
    assert_eq!(summary.halted, Vec::<String>::new());
    assert_eq!(seen.ids().len(), 10);
    let lease = world.leases().await.remove(0);
    assert_eq!((&lease["Owner"], &lease["properties"]["epoch"]), (&Value::Null, &json!("1")));
    let (handler, seen) = Scripted::accepting();
    world.until_caught_up(handler).await;
    assert_eq!(seen.calls(), 0, "its last position was stored");
}

#[tokio::test]
async fn a_lease_that_went_missing_is_made_again_and_its_range_is_read_whole() {
    let world = World::with_partitions(2).await;
    let start = |handler| Processor { start: StartFrom::Now, ..processor("p", SOURCE, handler) };
    let mut engine = world.engine();
    engine.add(start(Scripted::accepting().0));
    caught_up(engine).await.unwrap();
    for number in 0..20 {
        world.put(&format!("k{number}"), &format!("d{number}")).await;
    }
    let lease = world.leases().await.remove(0);
    let id = lease["id"].as_str().unwrap();
    let delete = Operation::Delete { id: feedmill_store_api::DocumentId::new(id).unwrap(), if_match: None };
    world.database.container("leases").await.unwrap().write(&id.into(), delete).await.unwrap();
    let (handler, seen) = Scripted::accepting();
    let mut engine = world.engine();
    engine.add(start(handler));
    caught_up(engine).await.unwrap();
    assert_eq!(seen.ids().len(), 20, "nothing that nobody delivered is skipped");
    assert_eq!(world.leases().await.len(), 2);
}

#[tokio::test]
async fn what_would_lose_positions_is_refused_at_start() {
    let short_lived = ContainerSpec::new("leases", "/id").ttl(DefaultTtl::Seconds(60));
    let world = World::with(1, Some(short_lived)).await;
    let refused = caught_up(world.engine_of(Scripted::accepting().0)).await;
    assert!(matches!(refused, Err(EngineError::Expires { name, seconds: 60 }) if name == "leases"));

    let other_key = ContainerSpec::new("leases", "/owner").ttl(DefaultTtl::Forever);
    let world = World::with(1, Some(other_key)).await;
    let refused = caught_up(world.engine_of(Scripted::accepting().0)).await;
    assert!(matches!(refused, Err(EngineError::PartitionKey { found, .. }) if found == "/owner"));

    let world = World::with(1, None).await;
    let refused = caught_up(world.engine_of(Scripted::accepting().0)).await;
    assert!(matches!(refused, Err(EngineError::MissingContainer { name }) if name == "leases"));
}

#[tokio::test]
async fn leases_may_live_in_a_container_by_partition_key() {
    let by_partition_key = ContainerSpec::new("leases", "/partitionKey").ttl(DefaultTtl::Forever);
    let world = World::with(1, Some(by_partition_key)).await;
    world.put("a", "1").await;
    for expected in [1, 0] {
        let (handler, seen) = Scripted::accepting();
        world.until_caught_up(handler).await;
        assert_eq!(seen.ids().len(), expected);
    }
    let lease = world.leases().await.remove(0);
    assert_eq!(lease["partitionKey"], lease["id"]);
}
