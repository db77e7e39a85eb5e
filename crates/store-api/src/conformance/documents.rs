//! Conditions of writes, versions, and what reads see.

use serde_json::json;

use super::Harness;
use super::fixture::{Fixture, KEY, assert_charged, assert_refused, body, content, id, parse};
use crate::{BatchOutcome, ErrorKind, Operation, PageRequest, PartitionKey, Query, ReadLevel};

pub async fn create_refuses_a_taken_id_and_leaves_what_is_there(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let first = store.create("k", "a", json!({ "n": 1 })).await;
    let again = store.write("k", Operation::Create { id: id("a"), body: body("k", "a", json!({ "n": 2 })) }).await;
    assert_refused(again, ErrorKind::Conflict, "creating what is there");
    let stored = store.read("k", "a").await.expect("the first one stays");
    assert_eq!((content(&stored.body)["n"].clone(), Some(stored.etag)), (json!(1), first.etag));
}

pub async fn one_id_under_two_keys_is_two_documents(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k1", "a", json!({ "n": 1 })).await;
    store.create("k2", "a", json!({ "n": 2 })).await;
    store.delete("k1", "a", None).await.expect("it is there");
    assert!(store.read("k1", "a").await.is_none());
    assert_eq!(store.content("k2", "a").await.expect("the other stays")["n"], 2);
}

pub async fn upsert_creates_and_then_replaces(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.upsert("k", "a", json!({ "n": 1, "old": true })).await;
    let second = store.upsert("k", "a", json!({ "n": 2 })).await;
    let stored = store.read("k", "a").await.expect("it is there");
    assert_eq!(content(&stored.body), parse(&body("k", "a", json!({ "n": 2 }))));
    assert_eq!(Some(stored.etag), second.etag);
}

pub async fn what_is_not_there_can_be_neither_replaced_nor_deleted(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let etag = store.create("k", "other", json!({})).await.etag;
    for if_match in [None, etag] {
        let replaced = store.replace("k", "a", json!({}), if_match.clone()).await;
        assert_refused(replaced, ErrorKind::NotFound, "replacing nothing");
        assert_refused(store.delete("k", "a", if_match).await, ErrorKind::NotFound, "deleting nothing");
    }
    assert!(store.read("k", "a").await.is_none());
}

pub async fn a_condition_holds_for_the_version_it_names_only(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let first = store.create("k", "a", json!({ "n": 1 })).await.etag;
    let second = store.replace("k", "a", json!({ "n": 2 }), first.clone()).await.expect("its etag is the first").etag;
    let stale = store.replace("k", "a", json!({ "n": 3 }), first.clone()).await;
    assert_refused(stale, ErrorKind::Precondition, "replacing an older version");
    assert_refused(store.delete("k", "a", first).await, ErrorKind::Precondition, "deleting an older version");
    assert_eq!(store.content("k", "a").await.expect("nothing was refused by halves")["n"], 2);
    store.replace("k", "a", json!({ "n": 4 }), None).await.expect("without a condition any version will do");
    assert_refused(store.delete("k", "a", second).await, ErrorKind::Precondition, "deleting an older version");
    let newest = store.read("k", "a").await.expect("it is there").etag;
    let deleted = store.delete("k", "a", Some(newest)).await.expect("its etag is the newest");
    assert_eq!(deleted.etag, None);
    assert!(store.read("k", "a").await.is_none());
}

pub async fn no_two_versions_share_an_etag(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let mut seen = vec![store.create("k", "a", json!({})).await.etag];
    seen.push(store.upsert("k", "a", json!({})).await.etag);
    seen.push(store.replace("k", "a", json!({}), None).await.expect("it is there").etag);
    for _ in 0..3 {
        store.delete("k", "a", None).await.expect("it is there");
        seen.push(store.create("k", "a", json!({})).await.etag);
    }
    let mut distinct = seen.clone();
    distinct.sort_by_key(|etag| etag.as_ref().map(|etag| etag.as_str().to_owned()));
    distinct.dedup();
    assert!(seen.iter().all(Option::is_some), "{seen:?}");
    assert_eq!(distinct.len(), seen.len(), "equal content and a new life are new versions too: {seen:?}");
}

pub async fn a_version_made_before_a_delete_never_matches_again(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let before = store.create("k", "a", json!({})).await.etag;
    store.delete("k", "a", None).await.expect("it is there");
    store.create("k", "a", json!({})).await;
    let late = store.replace("k", "a", json!({ "late": true }), before).await;
    assert_refused(late, ErrorKind::Precondition, "replacing the document of an earlier life");
}

pub async fn the_store_adds_its_own_fields(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let written = store.create("k", "a", json!({ "_etag": "\"mine\"", "_ts": 1, "_rid": "mine" })).await;
    let stored = store.read("k", "a").await.expect("it is there");
    let fields = parse(&stored.body);
    assert_eq!(written.etag.as_ref(), Some(&stored.etag));
    assert_eq!(fields["_etag"], stored.etag.as_str());
    assert!(fields["_ts"].as_i64().is_some_and(|seconds| seconds != 1), "{fields}");
    assert!(fields["_rid"].as_str().is_some_and(|rid| !rid.is_empty() && rid != "mine"), "{fields}");
    assert!(fields["_self"].as_str().is_some_and(|link| !link.is_empty()), "{fields}");
    store.upsert("k", "b", json!({})).await;
    let other = parse(&store.read("k", "b").await.expect("it is there").body);
    assert_ne!(fields["_rid"], other["_rid"], "two documents have two resource ids");
}

pub async fn the_time_of_a_write_is_the_stores(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "a", json!({})).await;
    if !harness.advance(10).await {
        return super::skipped("the_time_of_a_write_is_the_stores");
    }
    store.create("k", "b", json!({})).await;
    let time = async |id| parse(&store.read("k", id).await.expect("it is there").body)["_ts"].as_i64();
    let (a, b) = (time("a").await, time("b").await);
    assert!(b >= a.map(|a| a + 10), "{a:?}, and ten seconds later {b:?}");
}

pub async fn many_are_read_in_the_order_asked_for_with_gaps(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let all: Vec<String> = (0..100).map(|n| format!("d{n:02}")).collect();
    for wanted in all.iter().step_by(2) {
        store.create("k", wanted, json!({})).await;
    }
    store.create("other", "d01", json!({})).await;
    let asked: Vec<_> = all.iter().rev().map(|wanted| id(wanted)).collect();
    let key = PartitionKey::from("k");
    let (found, charge) =
        store.container.read_many(&key, &asked, &ReadLevel::Quorum).await.expect("a hundred can be read");
    assert_charged(charge, "reading many");
    assert_eq!(found.len(), asked.len());
    for (asked, found) in asked.iter().zip(&found) {
        let there = all.iter().step_by(2).any(|wanted| wanted == asked.as_str());
        let found = found.as_ref().map(|document| content(&document.body)["id"].clone());
        assert_eq!(found, there.then(|| json!(asked.as_str())));
    }
    let (none, _) = store.container.read_many(&key, &[], &ReadLevel::Quorum).await.expect("none is fine");
    assert!(none.is_empty());
}

pub async fn more_than_a_hundred_are_not_read_at_once(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let ids: Vec<_> = (0..101).map(|n| id(&n.to_string())).collect();
    let found = store.container.read_many(&PartitionKey::from("k"), &ids, &ReadLevel::Quorum).await;
    assert_refused(found, ErrorKind::Invalid, "reading 101 documents at once");
}

pub async fn what_was_acknowledged_is_seen(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let query = Query::new("SELECT VALUE c.n FROM c");
    for n in 0..20 {
        let session = if n % 2 == 0 {
            store.upsert("k", "a", json!({ "n": n })).await.session
        } else {
            let upsert = Operation::Upsert { id: id("a"), body: body("k", "a", json!({ "n": n })) };
            match store.batch("k", vec![upsert]).await.expect("a small batch is answered") {
                BatchOutcome::Committed { session, .. } => session,
                BatchOutcome::Refused { error, .. } => panic!("an upsert was refused: {error}"),
            }
        };
        for level in [ReadLevel::Session(session), ReadLevel::Quorum] {
            let read = store.read_at("k", "a", &level).await.expect("it is there");
            assert_eq!(parse(&read.body)["n"], n, "{level:?}");
            let key = PartitionKey::from("k");
            let (many, _) = store.container.read_many(&key, &[id("a")], &level).await.expect("one can be read");
            let many = many.into_iter().flatten().map(|document| parse(&document.body)["n"].clone());
            assert_eq!(many.collect::<Vec<_>>(), [json!(n)], "{level:?}");
            let scope = super::fixture::key("k");
            let page = store.container.query(&scope, &query, &PageRequest::first(10), &level).await;
            let found: Vec<_> = page.expect("the query is good").items.iter().map(parse).collect();
            assert_eq!(found, [json!(n)], "{level:?}");
        }
    }
}

pub async fn a_quorum_read_costs_more_than_a_session_read(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let session = store.create("k", "a", json!({ KEY: "k" })).await.session;
    let key = PartitionKey::from("k");
    let charge =
        async |level: ReadLevel| store.container.read(&key, &id("a"), &level).await.expect("it can be read").1.units();
    let (session, quorum) = (charge(ReadLevel::Session(session)).await, charge(ReadLevel::Quorum).await);
    assert!((quorum - 2.0 * session).abs() < 0.01 * quorum, "a quorum read is twice {session} RU, not {quorum} RU");
}
