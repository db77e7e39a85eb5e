//! Time to live. All cases need a clock that can be moved.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Harness;
use super::fixture::{Fixture, assert_refused, body, create, id, key};
use crate::{ContainerSpec, DefaultTtl, ErrorKind, Operation, PartitionKey, Query, ReadLevel};

fn default_of(seconds: u32) -> impl FnOnce(ContainerSpec) -> ContainerSpec {
    move |spec| spec.ttl(DefaultTtl::Seconds(seconds))
}

fn forever(spec: ContainerSpec) -> ContainerSpec {
    spec.ttl(DefaultTtl::Forever)
}

/// Which of these a reader finds, whichever way it looks.
async fn present(store: &Fixture, names: &[&str]) -> Vec<String> {
    let mut read = Vec::new();
    for name in names {
        if store.read("k", name).await.is_some() {
            read.push((*name).to_owned());
        }
    }
    let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
    let (many, _) =
        store.container.read_many(&PartitionKey::from("k"), &ids, &ReadLevel::Quorum).await.expect("few can be read");
    let many: Vec<_> = many.into_iter().flatten().map(|document| super::fixture::id_of(&document.body)).collect();
    assert_eq!(many, read, "reading many agrees with reading one by one");
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let query = Query::new("SELECT VALUE c.id FROM c");
    let queried = store.query(&key("k"), &query, 100).await;
    let queried = queried.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(sorted(queried), sorted(read.clone()), "a query agrees with reads");
    let count = store.query(&key("k"), &Query::new("SELECT VALUE COUNT(1) FROM c"), 100).await;
    assert_eq!(count, [json!(read.len())], "a count agrees with reads");
    assert_eq!(sorted(store.feed_ids(2).await), sorted(read.clone()), "the feed agrees with reads");
    read
}

pub async fn a_document_expires_by_its_own_time_or_the_containers(harness: &dyn Harness) {
    let store = Fixture::with(harness, default_of(20)).await;
    store.create("k", "own", json!({ "ttl": 10 })).await;
    store.create("k", "default", json!({})).await;
    store.create("k", "longer", json!({ "ttl": 30 })).await;
    store.create("k", "never", json!({ "ttl": -1 })).await;
    let names = ["own", "default", "longer", "never"];
    assert_eq!(present(&store, &names).await, names);
    if !harness.advance(8).await {
        return super::skipped("a_document_expires_by_its_own_time_or_the_containers");
    }
    assert_eq!(present(&store, &names).await, names);
    harness.advance(4).await;
    assert_eq!(present(&store, &names).await, ["default", "longer", "never"]);
    harness.advance(10).await;
    assert_eq!(present(&store, &names).await, ["longer", "never"]);
    harness.advance(10).await;
    assert_eq!(present(&store, &names).await, ["never"]);
    harness.advance(1_000_000).await;
    assert_eq!(present(&store, &names).await, ["never"]);
}

pub async fn without_a_default_only_a_ttl_of_its_own_counts(harness: &dyn Harness) {
    let store = Fixture::with(harness, forever).await;
    store.create("k", "own", json!({ "ttl": 10 })).await;
    store.create("k", "none", json!({})).await;
    if !harness.advance(11).await {
        return super::skipped("without_a_default_only_a_ttl_of_its_own_counts");
    }
    assert_eq!(present(&store, &["own", "none"]).await, ["none"]);
}

pub async fn where_nothing_expires_a_ttl_is_a_field_like_any_other(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "a", json!({ "ttl": 1 })).await;
    if !harness.advance(1_000).await {
        return super::skipped("where_nothing_expires_a_ttl_is_a_field_like_any_other");
    }
    assert_eq!(present(&store, &["a"]).await, ["a"]);
    assert_eq!(store.content("k", "a").await.map(|stored| stored["ttl"].clone()), Some(json!(1)));
}

pub async fn every_write_starts_the_time_anew(harness: &dyn Harness) {
    let store = Fixture::with(harness, forever).await;
    store.create("k", "a", json!({ "ttl": 10 })).await;
    store.create("k", "kept", json!({ "ttl": 10 })).await;
    if !harness.advance(8).await {
        return super::skipped("every_write_starts_the_time_anew");
    }
    store.replace("k", "a", json!({ "ttl": 10 }), None).await.expect("it is there");
    store.upsert("k", "kept", json!({})).await;
    harness.advance(8).await;
    assert_eq!(present(&store, &["a", "kept"]).await, ["a", "kept"]);
    harness.advance(8).await;
    assert_eq!(present(&store, &["a", "kept"]).await, ["kept"]);
}

pub async fn an_expired_document_is_absent_to_writes(harness: &dyn Harness) {
    let store = Fixture::with(harness, forever).await;
    let mut old = Vec::new();
    for name in ["a", "b", "c", "d"] {
        old.push(store.create("k", name, json!({ "ttl": 1, "old": true })).await.etag);
    }
    if !harness.advance(5).await {
        return super::skipped("an_expired_document_is_absent_to_writes");
    }
    let replaced = store.replace("k", "a", json!({}), None).await;
    assert_refused(replaced, ErrorKind::NotFound, "replacing what has expired");
    let deleted = store.delete("k", "a", old[0].clone()).await;
    assert_refused(deleted, ErrorKind::NotFound, "deleting what has expired");
    let created = store.create("k", "a", json!({})).await.etag;
    let upserted = store.upsert("k", "b", json!({})).await.etag;
    let batched = store.commit("k", vec![create("k", "c", json!({}))]).await.remove(0);
    for (new, old) in [created, upserted, batched].into_iter().zip(&old) {
        assert!(new.is_some() && new != *old, "a new life is a new version");
    }
    assert_eq!(present(&store, &["a", "b", "c", "d"]).await, ["a", "b", "c"]);
    assert_eq!(store.content("k", "c").await, Some(json!({ "id": "c", "pk": "k" })), "nothing of the old one is left");
}

pub async fn a_ttl_is_a_positive_whole_number_or_minus_one(harness: &dyn Harness) {
    let store = Fixture::with(harness, forever).await;
    for ttl in [json!(0), json!(-2), json!(1.5), json!("10"), json!(true), json!(2_147_483_648_u64)] {
        let create = Operation::Create { id: id("a"), body: body("k", "a", json!({ "ttl": ttl })) };
        assert_refused(store.write("k", create).await, ErrorKind::Invalid, &format!("a ttl of {ttl}"));
    }
    let largest = Bytes::from(r#"{"id":"a","pk":"k","ttl":2147483647}"#);
    store.write("k", Operation::Create { id: id("a"), body: largest }).await.expect("the longest time is allowed");
}
