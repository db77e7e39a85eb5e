use serde_json::json;

use crate::support::{Store, comparable, feedmill_reads, lines};

fn post(id: &str, created_at: &str) -> serde_json::Value {
    json!({"id": id, "postId": id, "authorId": "ada", "createdAt": created_at, "status": "published", "n": 1.5})
}

#[test]
fn what_was_exported_is_imported_as_it_was() {
    let (one, other) = (Store::new(), Store::new());
    let posts: Vec<_> = (0..250).map(|n| post(&format!("p{n}"), "2024-01-01T00:00:00.000Z")).collect();
    assert_eq!(one.import("posts_v2", &posts), "posts_v2: 250 written, 0 as they were\n");
    let exported = one.export("posts_v2");
    assert_eq!(exported.len(), 250);
    assert_eq!(other.import("posts_v2", &exported), "posts_v2: 250 written, 0 as they were\n");
    assert_eq!(comparable(&other.export("posts_v2")), comparable(&posts));
}

#[test]
fn importing_again_writes_nothing_that_is_equal() {
    let store = Store::new();
    let posts = [post("a", "2024-01-01T00:00:00Z"), post("b", "2024-01-01T00:00:00Z")];
    store.import("posts_v2", &posts);
    let before = store.export("posts_v2");
    // Another order of the fields is the same document.
    let shuffled: serde_json::Value =
        serde_json::from_str(&format!("{{\"n\":1.5,{}", &posts[0].to_string()[1..])).unwrap();
    assert_eq!(store.import("posts_v2", &[shuffled, posts[1].clone()]), "posts_v2: 0 written, 2 as they were\n");
    assert_eq!(store.export("posts_v2"), before, "etags and times of what was not written stand still");
    assert_eq!(store.import("posts_v2", &[post("b", "2025-01-01T00:00:00Z")]), "posts_v2: 1 written, 0 as they were\n");
}

#[test]
fn the_later_of_two_lines_for_one_document_stays() {
    let store = Store::new();
    store.import(
        "posts_v2",
        &[post("a", "2024-01-01T00:00:00Z"), post("b", "2024-01-01T00:00:00Z"), post("a", "2025-01-01T00:00:00Z")],
    );
    assert_eq!(store.export("posts_v2")[0]["createdAt"], "2025-01-01T00:00:00Z");
}

#[test]
fn an_export_is_ordered_and_goes_to_a_file_too() {
    let store = Store::new();
    store.import(
        "posts_v2",
        &[post("b", "2024-01-01T00:00:00Z"), post("c", "2024-01-01T00:00:00Z"), post("a", "2024-01-01T00:00:00Z")],
    );
    let text = store.run(&["export", "posts_v2"]).succeeded();
    let ids: Vec<_> = lines(&text).iter().map(|document| document["id"].clone()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let file = store.path().with_extension("ndjson");
    assert_eq!(store.run(&["export", "posts_v2", "--out", file.to_str().unwrap()]).succeeded(), "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn a_bad_line_is_named_and_the_lines_before_it_are_kept() {
    let store = Store::new();
    let text = format!("{}\n\n{{\"id\":\n", post("a", "2024-01-01T00:00:00Z"));
    let said = feedmill_reads(store.arguments(&["import", "posts_v2"]), &text).failed(1);
    assert!(said.contains("error: stdin:3: not a JSON object: EOF while parsing"), "{said}");
    assert!(said.contains("(1 written)"), "{said}");
    assert_eq!(store.export("posts_v2").len(), 1);
}

#[test]
fn an_expired_document_is_not_exported() {
    let store = Store::new();
    let mut short = post("short", "2024-01-01T00:00:00Z");
    short["ttl"] = 1.into();
    store.import("posts_v2", &[short, post("long", "2024-01-01T00:00:00Z")]);
    // Nothing here waits for a clock: the store is asked until it says so, and a store that never does hangs the test.
    while store.export("posts_v2").len() == 2 {}
    assert_eq!(store.export("posts_v2")[0]["id"], "long");
}

#[test]
fn a_reader_that_has_seen_enough_is_not_an_error() {
    let store = Store::new();
    let posts: Vec<_> = (0..2_000).map(|n| post(&format!("p{n}"), "2024-01-01T00:00:00Z")).collect();
    store.import("posts_v2", &posts);
    let mut child = crate::support::command(store.arguments(&["export", "posts_v2"])).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(0), String::new()));
}
