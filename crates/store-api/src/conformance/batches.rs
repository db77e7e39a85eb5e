//! Transactional batches: all or nothing, in order, under one LSN.

use serde_json::{Value, json};

use super::Harness;
use super::fixture::{Fixture, assert_refused, body, body_of_size, create, id};
use crate::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use crate::{BatchOutcome, ErrorKind, FeedStart, Operation};

pub async fn a_batch_takes_effect_as_a_whole(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let old = store.create("k", "replaced", json!({ "n": 0 })).await.etag;
    store.create("k", "deleted", json!({})).await;
    let etags = store
        .commit(
            "k",
            vec![
                create("k", "created", json!({ "n": 1 })),
                Operation::Upsert { id: id("upserted"), body: body("k", "upserted", json!({ "n": 2 })) },
                Operation::Replace {
                    id: id("replaced"),
                    body: body("k", "replaced", json!({ "n": 3 })),
                    if_match: old.clone(),
                },
                Operation::Delete { id: id("deleted"), if_match: None },
            ],
        )
        .await;
    assert_eq!(etags.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
    for ((name, n), etag) in [("created", 1), ("upserted", 2), ("replaced", 3)].into_iter().zip(etags) {
        let stored = store.read("k", name).await.unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!((Some(stored.etag), super::fixture::parse(&stored.body)["n"].clone()), (etag, json!(n)), "{name}");
    }
    assert!(store.read("k", "deleted").await.is_none());
}

pub async fn a_refused_operation_undoes_the_whole_batch(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let stale = store.create("k", "there", json!({ "n": 0 })).await.etag;
    store.upsert("k", "there", json!({ "n": 1 })).await;
    let range = &store.ranges().await[0];
    let end = store.pages(range, FeedStart::Beginning, 100).await.1;
    let failures = [
        (create("k", "there", json!({})), ErrorKind::Conflict),
        (Operation::Delete { id: id("missing"), if_match: None }, ErrorKind::NotFound),
        (
            Operation::Replace { id: id("missing"), body: body("k", "missing", json!({})), if_match: None },
            ErrorKind::NotFound,
        ),
        (Operation::Delete { id: id("there"), if_match: stale.clone() }, ErrorKind::Precondition),
        (
            Operation::Replace { id: id("there"), body: body("k", "there", json!({})), if_match: stale },
            ErrorKind::Precondition,
        ),
    ];
    for (failure, kind) in failures {
        for place in 0..4 {
            let mut operations: Vec<_> = (0..3).map(|n| create("k", &format!("new{n}"), json!({}))).collect();
            operations.insert(place, failure.clone());
            match store.batch("k", operations).await.expect("a refusal is an answer") {
                BatchOutcome::Refused { index, error, .. } => {
                    assert_eq!((index, error.kind()), (place, kind), "{failure:?}: {error}");
                }
                BatchOutcome::Committed { .. } => panic!("{failure:?} at {place} must undo the batch"),
            }
            for n in 0..3 {
                assert!(store.read("k", &format!("new{n}")).await.is_none(), "{failure:?} at {place} left new{n}");
            }
        }
    }
    assert_eq!(store.content("k", "there").await, Some(json!({ "id": "there", "pk": "k", "n": 1 })));
    assert!(store.changes(range, FeedStart::Position(end)).await.is_empty(), "a refused batch is not in the feed");
}

pub async fn an_invalid_operation_undoes_the_whole_batch(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let wrong = [body("k", "another", json!({})), body("other key", "wrong", json!({})), "[]".into()];
    for body in wrong {
        let wrong = Operation::Create { id: id("wrong"), body };
        let outcome = store.batch("k", vec![create("k", "good", json!({})), wrong]).await;
        match outcome {
            Ok(BatchOutcome::Refused { index, error, .. }) => {
                assert_eq!((index, error.kind()), (1, ErrorKind::Invalid), "{error}");
            }
            Ok(BatchOutcome::Committed { .. }) => panic!("a batch with an invalid body was committed"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
        }
        assert!(store.read("k", "good").await.is_none());
    }
}

pub async fn operations_of_a_batch_see_those_before_them(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let etags = store
        .commit(
            "k",
            vec![
                create("k", "a", json!({ "n": 1 })),
                Operation::Replace { id: id("a"), body: body("k", "a", json!({ "n": 2 })), if_match: None },
                Operation::Delete { id: id("a"), if_match: None },
                create("k", "a", json!({ "n": 3 })),
                create("k", "b", json!({})),
                Operation::Delete { id: id("b"), if_match: None },
            ],
        )
        .await;
    assert_eq!(store.read("k", "a").await.map(|stored| stored.etag), etags[3]);
    assert_eq!(store.content("k", "a").await.map(|stored| stored["n"].clone()), Some(json!(3)));
    assert_eq!(store.feed_ids(10).await, ["a"]);
    let again = vec![create("k", "c", json!({})), create("k", "c", json!({}))];
    match store.batch("k", again).await.expect("a refusal is an answer") {
        BatchOutcome::Refused { index, error, .. } => assert_eq!((index, error.kind()), (1, ErrorKind::Conflict)),
        BatchOutcome::Committed { .. } => panic!("one id was created twice"),
    }
    assert!(store.read("k", "c").await.is_none());
}

pub async fn a_batch_has_limits(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let operations = |count: usize| (0..count).map(|n| create("k", &format!("n{n}"), json!({}))).collect::<Vec<_>>();
    assert_refused(store.batch("k", operations(BATCH_OPERATIONS_MAX + 1)).await, ErrorKind::Invalid, "101 operations");
    assert!(store.read("k", "n0").await.is_none());
    assert_eq!(store.commit("k", operations(BATCH_OPERATIONS_MAX)).await.len(), BATCH_OPERATIONS_MAX);

    let of_sizes = |sizes: [usize; 2]| {
        let create = |(n, size)| {
            let name = format!("large{n}");
            Operation::Create { id: id(&name), body: body_of_size("k", &name, size) }
        };
        sizes.into_iter().enumerate().map(create).collect::<Vec<_>>()
    };
    let half = BATCH_BYTES_MAX / 2;
    assert_refused(store.batch("k", of_sizes([half, half + 1])).await, ErrorKind::Invalid, "bodies of 2 MB and a byte");
    assert!(store.read("k", "large0").await.is_none());
    store.commit("k", of_sizes([half, half])).await;
}

pub async fn a_batch_is_one_lsn_and_keeps_its_order(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "before", json!({})).await;
    // Neither the order of ids nor its reverse.
    let names = ["m", "z", "a", "y", "b"];
    store.commit("k", names.iter().map(|name| create("k", name, json!({}))).collect()).await;
    store.create("k", "after", json!({})).await;
    let changes = store.changes(&store.ranges().await[0], FeedStart::Beginning).await;
    let ids: Vec<_> = changes.iter().map(|change| super::fixture::id_of(&change.body)).collect();
    assert_eq!(ids, ["before", "m", "z", "a", "y", "b", "after"]);
    let lsns: Vec<_> = changes.iter().map(|change| change.lsn).collect();
    assert!(lsns[1..6].iter().all(|lsn| *lsn == lsns[1]), "{lsns:?}");
    assert!(lsns[0] < lsns[1] && lsns[5] < lsns[6], "{lsns:?}");
}

pub async fn a_batch_stays_within_its_key(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("other", "a", json!({ "n": 1 })).await;
    store
        .commit("k", vec![create("k", "a", json!({ "n": 2 })), Operation::Delete { id: id("a"), if_match: None }])
        .await;
    let stored = store.content("other", "a").await;
    assert_eq!(stored.map(|stored| stored["n"].clone()), Some(Value::from(1)));
}
