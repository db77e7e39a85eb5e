//! Settling on the real local store, with faults that nothing real produces on demand put in front of it.

mod faults;
mod world;

use std::time::Duration;

use feedmill_clock::Entropy;
use feedmill_store_api::{Error, ErrorKind};
use tokio::task::JoinSet;

use self::faults::Fault;
use self::world::{Known, World};

#[tokio::test]
async fn expected_absence_is_created_straight_away_without_reading_targets() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    let reads = world.faults.reads();
    world.settle_knowing("s1", Known::Now).await;
    assert_eq!(world.target("s1").await, Some("one".into()));
    assert_eq!(world.faults.reads() - reads, 0);
}

#[tokio::test]
async fn settling_again_writes_nothing() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    world.settle("s1").await;
    let written = world.written();
    world.settle("s1").await;
    world.settle_knowing("s1", Known::Now).await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn an_edit_replaces_and_a_withdrawal_leaves_a_tombstone() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    world.settle("s1").await;
    world.put("s1", Some("two")).await;
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("two".into()));
    world.put("s1", None).await;
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, None);
    assert!(world.has_tombstone("s1").await);
    world.put("s1", Some("three")).await;
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("three".into()));
    assert!(!world.has_tombstone("s1").await);
}

#[tokio::test]
async fn a_late_create_from_old_sources_meets_the_tombstone_that_absence_left() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    let old = world.known("s1").await;
    world.put("s1", None).await;
    world.settle("s1").await;
    assert!(world.has_tombstone("s1").await);
    world.settle_knowing("s1", Known::Old(old)).await;
    assert_eq!(world.target("s1").await, None);
}

#[tokio::test]
async fn one_conflict_in_a_batch_holds_up_none_of_its_neighbours() {
    let world = World::new().await;
    let ids: Vec<String> = (0..250).map(|n| format!("s{n:03}")).collect();
    for id in &ids {
        world.put(id, Some(id)).await;
    }
    world.settle("s007").await;
    world.put("s007", Some("edited")).await;
    world.settle("s120").await;
    world.settle_all(&ids).await;
    for id in &ids {
        let expected = if id == "s007" { "edited" } else { id };
        assert_eq!(world.target(id).await.as_deref(), Some(expected), "{id}");
    }
}

#[tokio::test]
async fn a_target_written_between_read_and_write_is_settled_again_from_newer_sources() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    world.settle("s1").await;
    world.put("s1", Some("two")).await;
    let rival = world.clone();
    world.faults.before_write(Fault::run(async move {
        rival.put("s1", Some("three")).await;
        rival.settle("s1").await;
    }));
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("three".into()));
}

#[tokio::test]
async fn a_source_that_changes_after_it_was_read_does_not_end_in_its_old_state() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    world.settle("s1").await;
    world.put("s1", Some("two")).await;
    let rival = world.clone();
    world.faults.after_source_read(Fault::run(async move {
        rival.put("s1", Some("three")).await;
        rival.settle("s1").await;
    }));
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("three".into()));
}

#[tokio::test]
async fn a_replica_that_lags_behind_a_later_settlement_does_not_bring_its_old_state_back() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    let old = world.known("s1").await.1;
    world.put("s1", Some("two")).await;
    world.settle("s1").await;
    // Somebody wakes up who was given the older change.
    world.faults.lag_at(old);
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("two".into()));
}

#[tokio::test]
async fn nothing_is_sent_later_than_settle_max_after_its_target_was_read() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    let (rival, clock) = (world.clone(), world.clock.clone());
    // The source changes while the settlement stands still, with its target read and its write not yet sent.
    world.faults.after_read(Fault::run(async move {
        rival.put("s1", Some("two")).await;
        clock.advance(Duration::from_secs(61));
    }));
    let writes = world.faults.writes();
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("two".into()));
    assert_eq!(world.faults.writes() - writes, 1, "the late write was not sent");
    assert!(world.faults.reads() >= 2, "the target was read again");
}

#[tokio::test]
async fn a_lost_reply_is_recognised_as_our_own_write() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    world.faults.before_write(Fault::LoseReply);
    world.settle("s1").await;
    assert_eq!(world.target("s1").await, Some("one".into()));
    let written = world.written();
    world.settle("s1").await;
    assert_eq!(world.written(), written);
}

#[tokio::test]
async fn a_throttled_write_waits_as_long_as_the_store_says() {
    let world = World::new().await;
    world.put("s1", Some("one")).await;
    let after = Duration::from_secs(3);
    world
        .faults
        .before_write(Fault::Fail(|| Error::new(ErrorKind::Throttled { after: Duration::from_secs(3) }, "429")));
    let start = world.elapsed();
    world.settle("s1").await;
    assert!(world.elapsed() - start >= after);
    assert_eq!(world.target("s1").await, Some("one".into()));
}

#[tokio::test]
async fn a_document_the_store_refuses_is_the_changes_own_fault() {
    let world = World::new().await;
    world.put("s1", Some(&"x".repeat(1_500_000))).await;
    world.faults.before_write(Fault::Fail(|| Error::new(ErrorKind::Invalid, "too large")));
    let error = world.try_settle("s1").await.unwrap_err();
    assert!(matches!(&error, crate::SettleError::Invalid(text) if text.contains("k:s1") && text.contains("too large")));
}

/// Every change is settled after it was made, as deliveries do, while stale and cut-off settlements of the same targets
/// go on, each with reads and writes that take a while. Once all have ended, each target is the function of its source.
#[tokio::test]
async fn whatever_the_schedule_the_target_ends_as_the_function_of_its_source() {
    for seed in 0..400 {
        let world = World::seeded(seed).await;
        let chance = Entropy::seeded(seed);
        let ids = ["a", "b"];
        let mut known = Vec::new();
        let mut tasks = JoinSet::new();
        for step in 0..6 {
            let id = ids[chance.below(0..2) as usize];
            let value = (chance.below(0..3) > 0).then(|| format!("v{step}"));
            world.put(id, value.as_deref()).await;
            known.push((id, world.known(id).await));
            tasks.spawn({
                let world = world.clone();
                async move { world.settle(id).await }
            });
            for _ in 0..chance.below(0..3) {
                let world = world.clone();
                let (id, known) = known[chance.below(0..known.len() as u64) as usize].clone();
                let polls = chance.below(1..40);
                let cut_off = chance.below(0..3) == 0;
                tasks.spawn(async move {
                    let late = world.settle_knowing(id, Known::Old(known));
                    if cut_off { world::poll_at_most(polls, late).await } else { late.await }
                });
            }
            for _ in 0..chance.below(0..10) {
                tokio::task::yield_now().await;
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        for id in ids {
            assert_eq!(world.target(id).await, world.source(id).await, "seed {seed}, source {id}");
        }
    }
}
