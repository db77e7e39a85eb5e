//! Several clients at once, and requests that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::Harness;
use super::fixture::{Fixture, body, create, id};
use crate::{ErrorKind, Operation, PartitionKey};

const RACERS: usize = 8;

/// Sends one operation from each racer and counts those that succeeded. The others must have failed with `kind`.
async fn winners(
    harness: &dyn Harness,
    store: &Fixture,
    kind: ErrorKind,
    operation: impl Fn(usize) -> Operation,
) -> usize {
    let won = Arc::new(AtomicUsize::new(0));
    let racers = (0..RACERS).map(|racer| {
        let (container, won, operation) = (Arc::clone(&store.container), Arc::clone(&won), operation(racer));
        harness.spawn(Box::pin(async move {
            match container.write(&PartitionKey::from("k"), operation).await {
                Ok(_) => {
                    won.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => assert_eq!(error.kind(), kind, "{error}"),
            }
        }))
    });
    futures::future::join_all(racers.collect::<Vec<_>>()).await;
    won.load(Ordering::Relaxed)
}

pub async fn one_of_those_who_race_for_an_id_creates_it(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for round in 0..20 {
        let name = format!("d{round}");
        let operation = |racer: usize| create("k", &name, json!({ "racer": racer }));
        assert_eq!(winners(harness, &store, ErrorKind::Conflict, operation).await, 1);
    }
}

pub async fn one_of_those_who_race_for_a_version_replaces_it(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "a", json!({})).await;
    for _ in 0..20 {
        let etag = store.read("k", "a").await.expect("it is there").etag;
        let operation = |racer: usize| Operation::Replace {
            id: id("a"),
            body: body("k", "a", json!({ "racer": racer })),
            if_match: Some(etag.clone()),
        };
        assert_eq!(winners(harness, &store, ErrorKind::Precondition, operation).await, 1);
    }
}

pub async fn a_request_that_is_dropped_happened_wholly_or_not_at_all(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}")];
        let operations = names.iter().map(|name| create("k", name, json!({}))).collect();
        let key = PartitionKey::from("k");
        {
            let mut batch = store.container.batch(&key, operations);
            // Begun, and perhaps done; whoever asked has lost interest.
            let _begun = futures::poll!(&mut batch);
        }
        store.create("k", &format!("after{round}"), json!({})).await;
        // It may land between two reads, but then the next look finds both.
        let mut halves = 0;
        for _ in 0..3 {
            let first = store.read("k", &names[0]).await.is_some();
            halves += usize::from(first != store.read("k", &names[1]).await.is_some());
        }
        assert!(halves < 2, "half a batch happened");
        assert!(store.read("k", &format!("after{round}")).await.is_some());
    }
}
