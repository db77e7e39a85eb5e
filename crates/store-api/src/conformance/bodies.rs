//! What may be stored: ids, keys, sizes, and the text that comes back.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Harness;
use super::fixture::{Fixture, assert_refused, body, body_of_size, content, id};
use crate::limits::{ID_BYTES_MAX, ITEM_BYTES_MAX, PARTITION_KEY_BYTES_MAX};
use crate::{ContainerSpec, ErrorKind, KeyPart, Operation, PartitionKey, ReadLevel};

pub async fn odd_ids_and_keys_are_as_good_as_any(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let longest = "é".repeat(ID_BYTES_MAX / 2) + "x";
    let odd = [
        "a:b",
        "a%3Ab",
        "%",
        " ",
        " a ",
        "a  b",
        "\"quoted\"",
        "it's",
        "naïve 😀 \u{1F468}\u{200D}\u{1F469}",
        "a\tb\nc",
        "\r",
        ".",
        "..",
        "\u{0}",
        "\u{FFFF}",
        "ÿ\u{10FFFF}",
        "e\u{301}",
        "é",
        "A",
        "a",
        longest.as_str(),
    ];
    for name in odd {
        store.create(name, name, json!({ "name": name })).await;
    }
    for name in odd {
        let stored = store.content(name, name).await.unwrap_or_else(|| panic!("{name:?} is not found"));
        assert_eq!((&stored["id"], &stored["name"]), (&json!(name), &json!(name)));
    }
    let mut in_feed = store.feed_ids(3).await;
    in_feed.sort();
    let mut expected = odd.map(str::to_owned);
    expected.sort();
    assert_eq!(in_feed, expected);
}

pub async fn neighbouring_keys_and_ids_do_not_mix(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    // Whatever glues key and id together in the store must keep these apart.
    let pairs = [("a", "b:c"), ("a:b", "c"), ("a\u{0}", "b"), ("a", "\u{0}b"), ("a\u{0}\u{1}b", "c"), ("", "a")];
    for (key, id) in pairs {
        store.create(key, id, json!({ "pair": [key, id] })).await;
    }
    for (key, id) in pairs {
        let stored = store.content(key, id).await.unwrap_or_else(|| panic!("{key:?}, {id:?} is not found"));
        assert_eq!(stored["pair"], json!([key, id]));
        let query = crate::Query::new("SELECT VALUE c.pair FROM c WHERE c.id = @id").with("@id", id);
        assert_eq!(store.query(&super::fixture::key(key), &query, 10).await, [json!([key, id])]);
    }
}

pub async fn every_kind_of_key_is_its_own_partition(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let kinds = [
        (KeyPart::Undefined, json!({ "id": "a", "n": 0 })),
        (KeyPart::Null, json!({ "id": "a", "pk": null, "n": 1 })),
        (KeyPart::Bool(false), json!({ "id": "a", "pk": false, "n": 2 })),
        (KeyPart::Bool(true), json!({ "id": "a", "pk": true, "n": 3 })),
        (KeyPart::Number(1.0), json!({ "id": "a", "pk": 1, "n": 4 })),
        (KeyPart::Number(1.5), json!({ "id": "a", "pk": 1.5, "n": 5 })),
        (KeyPart::String("1".to_owned()), json!({ "id": "a", "pk": "1", "n": 6 })),
        (KeyPart::String(String::new()), json!({ "id": "a", "pk": "", "n": 7 })),
    ];
    for (part, body) in &kinds {
        let key = PartitionKey::from_parts(vec![part.clone()]);
        let create = Operation::Create { id: id("a"), body: Bytes::from(body.to_string()) };
        store.container.write(&key, create).await.unwrap_or_else(|error| panic!("create under {key}: {error}"));
    }
    for (part, body) in kinds {
        let key = PartitionKey::from_parts(vec![part]);
        let (stored, _) = store.container.read(&key, &id("a"), &ReadLevel::Quorum).await.expect("any key can be read");
        assert_eq!(stored.map(|stored| content(&stored.body)), Some(body), "{key}");
    }
}

pub async fn a_key_may_have_several_levels(harness: &dyn Harness) {
    let database = harness.database();
    let mut spec = ContainerSpec::new(harness.container_name(), "/tenant");
    spec.partition_key.push("/user/id".to_owned());
    database.provision(&spec).await.expect("a hierarchical key is a key");
    let container = database.container(&spec.name).await.expect("it is there");
    let key = |tenant: &str, user: &str| {
        PartitionKey::from_parts(vec![KeyPart::String(tenant.to_owned()), KeyPart::String(user.to_owned())])
    };
    let document = |tenant: &str, user: &str| json!({ "id": "a", "tenant": tenant, "user": { "id": user } });
    for (tenant, user) in [("t", "u"), ("t", "v"), ("tu", "")] {
        let create = Operation::Create { id: id("a"), body: Bytes::from(document(tenant, user).to_string()) };
        container.write(&key(tenant, user), create).await.expect("each is its own");
    }
    let (stored, _) = container.read(&key("t", "v"), &id("a"), &ReadLevel::Quorum).await.expect("it can be read");
    assert_eq!(stored.map(|stored| content(&stored.body)), Some(document("t", "v")));
}

pub async fn a_body_must_be_an_object_with_its_own_id_and_key(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    store.create("k", "there", json!({})).await;
    let bad = [
        "",
        "null",
        "[]",
        "\"a\"",
        "{",
        r#"{"id":"a","pk":"k"} x"#,
        r#"{"pk":"k"}"#,
        r#"{"id":"b","pk":"k"}"#,
        r#"{"id":1,"pk":"k"}"#,
        r#"{"id":"a/b","pk":"k"}"#,
        r#"{"id":"a"}"#,
        r#"{"id":"a","pk":"other"}"#,
        r#"{"id":"a","pk":null}"#,
        r#"{"id":"a","pk":{"k":1}}"#,
    ];
    for text in bad {
        let body = Bytes::from_static(text.as_bytes());
        let create = Operation::Create { id: id("a"), body: body.clone() };
        assert_refused(store.write("k", create).await, ErrorKind::Invalid, &format!("creating {text:?} as a under k"));
        let upsert = Operation::Upsert { id: id("a"), body: body.clone() };
        assert_refused(store.write("k", upsert).await, ErrorKind::Invalid, &format!("upserting {text:?} as a under k"));
        let replace = Operation::Replace { id: id("there"), body, if_match: None };
        assert_refused(store.write("k", replace).await, ErrorKind::Invalid, &format!("replacing with {text:?}"));
    }
    assert!(store.read("k", "a").await.is_none());
    assert_eq!(store.feed_ids(10).await, ["there"]);
}

pub async fn an_item_may_have_two_megabytes_and_no_more(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let largest = Operation::Create { id: id("a"), body: body_of_size("k", "a", ITEM_BYTES_MAX) };
    store.write("k", largest).await.expect("the limit itself is allowed");
    let larger = Operation::Create { id: id("b"), body: body_of_size("k", "b", ITEM_BYTES_MAX + 1) };
    assert_refused(store.write("k", larger).await, ErrorKind::Invalid, "an item of 2 MB and a byte");
    let pad = store.content("k", "a").await.and_then(|stored| stored["pad"].as_str().map(str::len));
    assert!(pad.is_some_and(|pad| pad > ITEM_BYTES_MAX - 100), "{pad:?}");
    assert!(store.read("k", "b").await.is_none());
}

pub async fn a_partition_key_has_a_limit(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let longest = "k".repeat(PARTITION_KEY_BYTES_MAX);
    store.create(&longest, "a", json!({})).await;
    assert!(store.read(&longest, "a").await.is_some());
    let longer = longest + "k";
    let create = Operation::Create { id: id("a"), body: body(&longer, "a", json!({})) };
    assert_refused(store.write(&longer, create).await, ErrorKind::Invalid, "a key of 2,049 bytes");
}

pub async fn a_body_comes_back_as_it_was_meant(harness: &dyn Harness) {
    let store = Fixture::new(harness).await;
    let texts = [
        r#"{"id":"a","pk":"k","integers":[0,-1,9007199254740991,-9007199254740991],"floats":[0.1,-2.5e-7,1e300,3.141592653589793]}"#,
        r#" { "pk" : "k" , "id" : "a" , "escapes" : "\u00e9\ud83d\ude00\n\t\"\\\/\u0000" , "plain" : "é😀" } "#,
        r#"{"id":"a","pk":"k","":"empty name","nested":{"a":[{"b":[[],{}]},null,true,false]},"unknown field":"kept"}"#,
        r#"{"id":"\u0061","p\u006b":"k","_mine":1,"_source":{"etag":"\"x\""},"$type":"t","a.b":1,"a/b":2}"#,
    ];
    for text in texts {
        let upsert = Operation::Upsert { id: id("a"), body: Bytes::from_static(text.as_bytes()) };
        store.write("k", upsert).await.unwrap_or_else(|error| panic!("store {text}: {error}"));
        let meant: Value = serde_json::from_str(text).expect("the suite's own text is JSON");
        assert_eq!(store.content("k", "a").await, Some(meant.clone()), "read");
        let range = &store.ranges().await[0];
        let changes = store.changes(range, crate::FeedStart::Beginning).await;
        let delivered: Vec<_> = changes.iter().map(|change| content(&change.body)).collect();
        assert_eq!(delivered, std::slice::from_ref(&meant), "feed");
        let found = store.query(&super::fixture::key("k"), &crate::Query::new("SELECT * FROM c"), 10).await;
        let found: Vec<_> = found.iter().map(|found| content(&Bytes::from(found.to_string()))).collect();
        assert_eq!(found, [meant], "query");
    }
}
