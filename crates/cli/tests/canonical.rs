//! Feeds from the canonical tables, whatever has become of the source documents.

use feedmill_clock::{Clock, SystemClock};
use feedmill_workload::{canon, expected, generate};
use serde_json::{Value, json};

use crate::support::{Database, Ran, Store, command, lines};

const REBUILD: [&str; 6] = ["admin", "rebuild-user-feed", "--source", "postgres", "--set", "outbox.page_rows=3"];

/// Posts that were edited, withdrawn and hidden, edges that were withdrawn and muted, and people who block each other.
fn write(database: &Database) {
    let options = generate::Options { users: 12, follows_mean: 5, posts: 60, likes: 10, ..Default::default() };
    let network = generate::Network::new(&options, SystemClock.now());
    let rows: Vec<String> = network.writes().map(|write| canon::insert(&write)).collect();
    database.sql(&rows.concat());
    database.sql(
        "UPDATE posts SET deleted_at = now() WHERE hashtext(post_id::text) % 7 = 1;
         UPDATE posts SET status = 'hidden' WHERE hashtext(post_id::text) % 7 = 2;
         UPDATE follows SET deleted_at = now() WHERE hashtext(followee_id::text || follower_id::text) % 7 = 1;
         INSERT INTO mutes (user_id, muted_id) SELECT follower_id, followee_id FROM follows
             WHERE hashtext(followee_id::text || follower_id::text) % 7 = 2;
         INSERT INTO blocks (blocker_id, blocked_id) SELECT follower_id, followee_id FROM follows
             WHERE hashtext(followee_id::text || follower_id::text) % 7 = 3",
    );
}

fn right(store: &Store, database: &Database, when: &str) {
    store.assert_projections(&database.sources(), expected::Options::default(), SystemClock.now(), when);
}

fn with(document: &Value, more: &Value) -> Value {
    let mut document = document.clone();
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

fn live(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().filter(|item| item.get("deletedAt").is_none()).collect()
}

#[test]
fn feeds_are_rebuilt_from_the_canonical_tables_though_their_source_documents_are_wrong() {
    let Some(database) =
        Database::migrated("feeds_are_rebuilt_from_the_canonical_tables_though_their_source_documents_are_wrong")
    else {
        return;
    };
    let store = Store::new();
    write(&database);
    let relay = || database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();
    let url = format!("{}?options=-crole%3Dfeedmill_admin", database.url);
    let rebuild = |more: &[&str]| -> Ran {
        let arguments = store.arguments(&[&REBUILD[..], more].concat());
        command(arguments).env("FEEDMILL_POSTGRES_URL", &url).output().unwrap().into()
    };
    relay();
    store.catch_up(&[]);
    right(&store, &database, "at first");
    assert_eq!(rebuild(&["--all", "--dry-run"]).succeeded(), "", "rows and documents give the same feeds");
    let untouched = store.export("userFeed");
    assert!(rebuild(&["--all"]).stderr.contains(" 0 written"));
    assert_eq!(store.export("userFeed"), untouched);

    // The tables are ahead of every document: a rebuild brings the feeds there, and what comes after agrees.
    database.sql("UPDATE posts SET body = body || ' (edited)'; UPDATE follows SET deleted_at = NULL");
    let ahead = lines(&rebuild(&["--all", "--dry-run", "--json"]).succeeded());
    assert!(!ahead.is_empty() && ahead.iter().all(|line| line["inFlight"] == true), "{ahead:?}");
    rebuild(&["--all"]).succeeded();
    let feeds: Vec<_> = store.export("userFeed").into_iter().filter(|item| item.get("deletedAt").is_none()).collect();
    assert!(
        feeds.len() > live(untouched).len()
            && feeds.iter().all(|item| item["text"].as_str().unwrap().ends_with("(edited)"))
    );
    relay();
    store.catch_up(&[]);
    right(&store, &database, "caught up");

    // Wrong items, and nothing left of the posts that a rebuild from the store would go by.
    let items = live(store.export("userFeed"));
    let withdrawn = json!({"deletedAt": "2020-01-01T00:00:00.000Z"});
    let nobodys = json!({"id": format!("{}:{}", canon::uuid(1), canon::uuid(999_999)), "recipientId": canon::uuid(1),
        "postId": canon::uuid(999_999), "authorId": canon::uuid(2), "createdAt": "2020-01-01T00:00:00.000Z"});
    let forged = with(&items[0], &json!({"text": "forged"}));
    store.import("userFeed", &[forged, with(&items[1], &withdrawn), nobodys]);
    let posts: Vec<_> = store.export("authorPosts").iter().map(|post| with(post, &withdrawn)).collect();
    store.import("authorPosts", &posts);
    let mut found: Vec<_> = lines(&rebuild(&["--all", "--dry-run", "--json"]).succeeded())
        .iter()
        .map(|line| line["difference"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, ["differs", "extra", "missing"]);
    let ran = rebuild(&["--all"]);
    assert!(ran.stderr.contains(" 3 written"), "{}", ran.stderr);
    right(&store, &database, "rebuilt");
}

#[test]
fn a_feed_of_somebody_whom_the_tables_do_not_know_is_left_alone() {
    let Some(database) = Database::migrated("a_feed_of_somebody_whom_the_tables_do_not_know_is_left_alone") else {
        return;
    };
    let store = Store::new();
    let item = json!({"id": "17:1", "recipientId": "17", "postId": "1", "authorId": "2", "createdAt": "2020-01-01T00:00:00.000Z"});
    store.import("userFeed", &[item]);
    let stranger = canon::uuid(404);
    for user in ["17", stranger.as_str()] {
        let said = database.run_on(&store, &[&REBUILD[..], &[user]].concat()).failed(1);
        assert!(said.contains(&format!("know no user {user}")), "{said}");
    }
    assert!(store.export("userFeed")[0].get("deletedAt").is_none());
    assert!(store.run(&[&REBUILD[..], &["17"]].concat()).failed(2).contains("FEEDMILL_POSTGRES_URL"));
}
