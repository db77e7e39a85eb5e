use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use feedmill_store_api::{Error, ErrorKind};
use serde_json::Value;

use super::handlers::{Scripted, Seen, field};
use super::world::{SOURCE, World};
use crate::{Delivery, OnError, Outcome, RangeState, SettleError};

/// How a handler shows that a document is bad.
#[derive(Clone, Copy, Debug)]
enum How {
    Reject,
    Invalid,
    Panic,
}

/// Fails at documents whose value is `bad`, unless `mended`.
fn picky(how: How, mended: &Arc<AtomicBool>) -> (Arc<Scripted>, Arc<Seen>) {
    let mended = Arc::clone(mended);
    Scripted::new(move |delivery: Delivery| {
        let bad: Vec<usize> = if mended.load(Ordering::SeqCst) {
            Vec::new()
        } else {
            (0..delivery.changes.len()).filter(|&n| field(&delivery.changes[n], "value") == "bad").collect()
        };
        Box::pin(async move {
            let mut outcome = Outcome::default();
            match how {
                How::Reject => bad.into_iter().for_each(|index| outcome.reject(index, "value must not be bad")),
                How::Invalid if !bad.is_empty() => {
                    return Err(SettleError::Invalid("value must not be bad".to_owned()));
                }
                How::Panic => assert!(bad.is_empty(), "value must not be bad"),
                How::Invalid => {}
            }
            Ok(outcome)
        })
    })
}

async fn fill_with_one_bad(world: &World) {
    for number in 0..20 {
        let value = if number == 7 { "bad" } else { "good" };
        world.put_in(SOURCE, ["a", "b"][number % 2], &format!("d{number}"), value).await;
    }
}

fn state(letter: &Value) -> &str {
    letter["state"].as_str().unwrap()
}

#[tokio::test]
async fn a_bad_document_becomes_one_dead_letter_and_everything_else_goes_on() {
    for how in [How::Reject, How::Invalid, How::Panic] {
        let world = World::new().await;
        fill_with_one_bad(&world).await;
        let (handler, seen) = picky(how, &Arc::default());
        let summary = world.until_caught_up(handler).await;
        assert_eq!((summary.delivered, summary.dead_letters), (20, 1), "{how:?}");
        assert_eq!(summary.halted, Vec::<String>::new());
        let accepted: BTreeSet<_> = seen.ids().into_iter().collect();
        let others = (0..20).map(|n| format!("d{n}")).filter(|id| id != "d7");
        assert!(others.into_iter().all(|id| accepted.contains(&id)), "{how:?}");
        let letters = world.letters().await;
        assert_eq!(letters.len(), 1);
        let letter = &letters[0];
        assert_eq!(letter["id"], "p:source:b:d7");
        assert_eq!((letter["processor"].as_str(), letter["container"].as_str()), (Some("p"), Some(SOURCE)));
        assert_eq!((letter["partitionKey"].as_str(), letter["sourceId"].as_str()), (Some("b"), Some("d7")));
        assert!(letter["error"].as_str().unwrap().contains("value must not be bad"));
        assert_eq!(letter["document"]["value"], "bad");
        assert_eq!(state(letter), "retrying");
        let attempts = letter["attempts"].as_u64().unwrap();
        // No number of attempts changes a rejection.
        assert!(matches!(how, How::Reject) == (attempts == 1), "{how:?}: {attempts}");
    }
}

#[tokio::test]
async fn a_poison_document_delays_its_own_key_alone() {
    let mut world = World::new().await;
    world.options.deliveries_in_flight_max = 1;
    world.put_in(SOURCE, "a", "a1", "bad").await;
    world.put_in(SOURCE, "a", "a2", "good").await;
    for number in 0..10 {
        world.put_in(SOURCE, &format!("k{number}"), &format!("d{number}"), "good").await;
    }
    let (handler, seen) = picky(How::Invalid, &Arc::default());
    let running = world.start(world.engine_of(handler));
    world.wait_for("the others are accepted", || seen.ids().len() == 10).await;
    assert!(!seen.ids().contains(&"a2".to_owned()), "its own key waits");
    assert!(world.letters().await.is_empty(), "and nobody gave it up yet");
    world.wait_for("its key goes on", || seen.ids().contains(&"a2".to_owned())).await;
    assert_eq!(running.stop().await.dead_letters, 1);
}

#[tokio::test]
async fn a_dead_letter_is_tried_again_from_the_source_and_closed() {
    let world = World::new().await;
    world.put_in(SOURCE, "a", "a1", "bad").await;
    let mended = Arc::new(AtomicBool::new(false));
    let (handler, seen) = picky(How::Reject, &mended);
    let running = world.start(world.engine_of(handler));
    world.wait_for("it is tried three times", || seen.calls() >= 3).await;
    mended.store(true, Ordering::SeqCst);
    let calls = seen.calls();
    world.wait_for("it is tried again", || seen.calls() > calls).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let summary = running.stop().await;
    assert_eq!(summary.dead_letters, 1);
    let letter = world.letters().await.remove(0);
    assert_eq!((state(&letter), letter["ttl"].as_u64()), ("closed", Some(30 * 24 * 60 * 60)));
    assert!(letter["attempts"].as_u64().unwrap() >= 3);
}

#[tokio::test]
async fn a_retry_waits_twice_as_long_each_time_and_ends_as_dead() {
    let mut world = World::new().await;
    world.options.dead_letter_retry_max = Duration::from_secs(4 * 60);
    world.put_in(SOURCE, "a", "a1", "bad").await;
    let (handler, seen) = picky(How::Reject, &Arc::default());
    let running = world.start(world.engine_of(handler));
    // Delivered once, then after 1, 2 and 4 minutes.
    world.wait_for("it is tried to the end", || seen.calls() == 4).await;
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.calls(), 4);
    running.stop().await;
    let letter = world.letters().await.remove(0);
    assert_eq!((state(&letter), letter["nextRetryAt"].is_null()), ("dead", true));
    assert_eq!(letter["attempts"], 4);
}

#[tokio::test]
async fn a_newer_change_that_succeeds_closes_the_dead_letter() {
    let world = World::new().await;
    world.put_in(SOURCE, "a", "a1", "bad").await;
    let (handler, _) = picky(How::Reject, &Arc::default());
    world.until_caught_up(handler).await;
    assert_eq!(state(&world.letters().await[0]), "retrying");
    world.put_in(SOURCE, "a", "a1", "good").await;
    // Another life: which letters are open is read at its start.
    let (handler, _) = picky(How::Reject, &Arc::default());
    world.until_caught_up(handler).await;
    assert_eq!(state(&world.letters().await[0]), "closed");
}

#[tokio::test]
async fn with_more_open_letters_than_fit_into_memory_they_are_still_closed() {
    let mut world = World::new().await;
    world.options.dead_letters_open_max = 2;
    for value in ["bad", "good"] {
        for number in 0..6 {
            world.put_in(SOURCE, "a", &format!("a{number}"), value).await;
        }
        let (handler, _) = picky(How::Reject, &Arc::default());
        world.until_caught_up(handler).await;
        let expected = if value == "bad" { "retrying" } else { "closed" };
        assert_eq!(world.letters().await.iter().map(state).collect::<Vec<_>>(), [expected; 6]);
    }
}

#[tokio::test]
async fn a_document_that_fails_again_after_its_letter_was_closed_opens_it_again() {
    let world = World::new().await;
    for (value, expected) in [("bad", "retrying"), ("good", "closed"), ("bad", "retrying")] {
        world.put_in(SOURCE, "a", "a1", value).await;
        let (handler, _) = picky(How::Reject, &Arc::default());
        world.until_caught_up(handler).await;
        let letters = world.letters().await;
        assert_eq!(letters.len(), 1);
        assert_eq!(state(&letters[0]), expected);
        assert_eq!(letters[0].get("ttl").is_some(), expected == "closed");
    }
}

#[tokio::test]
async fn an_outage_of_the_handlers_store_is_waited_for_without_end() {
    let world = World::new().await;
    world.put("a", "a1").await;
    let calls = Arc::new(AtomicBool::new(false));
    let recovered = Arc::clone(&calls);
    let (handler, seen) = Scripted::new(move |_| {
        let recovered = recovered.load(Ordering::SeqCst);
        Box::pin(async move {
            if recovered {
                Ok(Outcome::default())
            } else {
                Err(SettleError::Store(Error::new(ErrorKind::Forbidden, "no permission yet")))
            }
        })
    });
    let engine = world.engine_of(handler);
    let status = engine.status();
    let running = world.start(engine);
    // With waits of up to half a minute, this is far longer than `retry_inline`.
    world.wait_for("it was tried often", || seen.calls() > 20).await;
    assert!(matches!(status.ranges()[0].state, RangeState::Waiting { .. }));
    calls.store(true, Ordering::SeqCst);
    world.wait_for("it is accepted", || seen.ids().len() == 1).await;
    assert_eq!(running.stop().await.dead_letters, 0);
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn on_error_halt_stops_the_range_before_the_bad_document_and_says_so() {
    let mut world = World::new().await;
    world.options.on_error = OnError::Halt;
    world.options.page_items_max = 1;
    world.put_in(SOURCE, "a", "a1", "good").await;
    world.put_in(SOURCE, "a", "a2", "bad").await;
    let (handler, _) = picky(How::Reject, &Arc::default());
    let summary = world.until_caught_up(handler).await;
    assert_eq!((summary.delivered, summary.dead_letters), (1, 0));
    assert!(matches!(&summary.halted[..], [halted] if halted.contains("a2") && halted.contains("must not be bad")));
    assert!(world.letters().await.is_empty());
    // Its progress is kept and its lease is free.
    assert!(world.leases().await[0]["Owner"].is_null());
    let (handler, seen) = Scripted::accepting();
    world.until_caught_up(handler).await;
    assert_eq!(seen.ids(), ["a2"]);
}

#[tokio::test]
async fn too_many_dead_letters_in_a_minute_halt_the_range() {
    let mut world = World::new().await;
    world.options.dead_letters_per_minute_max = 3;
    for number in 0..10 {
        world.put_in(SOURCE, "a", &format!("d{number}"), "bad").await;
    }
    let (handler, _) = picky(How::Reject, &Arc::default());
    let summary = world.until_caught_up(handler).await;
    assert_eq!(summary.dead_letters, 3);
    assert!(summary.halted[0].contains("more than 3 dead letters in a minute"), "{:?}", summary.halted);
    assert_eq!(world.letters().await.len(), 3);
}

#[tokio::test]
async fn a_source_that_is_gone_closes_its_dead_letter() {
    let world = World::new().await;
    world.put_in(SOURCE, "a", "a1", "bad").await;
    let (handler, seen) = picky(How::Reject, &Arc::default());
    let running = world.start(world.engine_of(handler));
    world.wait_for("it is tried twice", || seen.calls() >= 2).await;
    let id = feedmill_store_api::DocumentId::new("a1").unwrap();
    let delete = feedmill_store_api::Operation::Delete { id, if_match: None };
    world.source().await.write(&"a".into(), delete).await.unwrap();
    let mut closed = false;
    for _ in 0..50_000 {
        closed = state(&world.letters().await[0]) == "closed";
        if closed {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(closed);
    running.stop().await;
}

#[tokio::test]
async fn rejections_name_their_own_change() {
    let world = World::new().await;
    fill_with_one_bad(&world).await;
    world.put_in(SOURCE, "b", "d99", "bad").await;
    let (handler, _) = picky(How::Reject, &Arc::default());
    world.until_caught_up(handler).await;
    let ids: BTreeSet<_> = world.letters().await.iter().map(|letter| letter["sourceId"].to_string()).collect();
    assert_eq!(ids, ["\"d7\"", "\"d99\""].map(str::to_owned).into());
}
