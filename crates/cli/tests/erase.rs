use serde_json::{Value, json};

use crate::support::{Ran, Store, lines};

const SOURCES: [(&str, &[&str]); 5] = [
    ("posts_v2", &["authorId"]),
    ("reactions", &["userId"]),
    ("follows", &["followeeId", "followerId"]),
    ("blocks", &["userId", "otherId"]),
    ("publicProfiles", &["userId"]),
];

/// Somebody who is in feeds and was told something.
fn somebody(store: &Store) -> String {
    let feeds = store.export("userFeed");
    let told = store.export("notifications");
    let is_author = |user: &Value| feeds.iter().any(|item| item["authorId"] == *user);
    let user = told.iter().map(|told| &told["recipientId"]).find(|user| is_author(user)).unwrap();
    user.as_str().unwrap().to_owned()
}

/// As the application does when an account is deleted.
fn withdraw(store: &Store, user: &str) {
    for (container, fields) in SOURCES {
        let mut theirs = store.export(container);
        theirs.retain(|document| fields.iter().any(|field| document[field] == user));
        for document in &mut theirs {
            let gone = json!({"deletedAt": "2024-01-01T00:00:00.000Z", "ttl": 604_800});
            document.as_object_mut().unwrap().extend(gone.as_object().unwrap().clone());
        }
        store.import(container, &theirs);
    }
}

fn of(ran: &Ran, container: &str) -> Value {
    lines(&ran.stdout).into_iter().find(|line| line["container"] == container).unwrap()
}

#[test]
fn a_person_is_erased_once_their_sources_are_withdrawn_and_settled() {
    let store = Store::new();
    store.run(&["demo", "--users", "40", "--seed", "7", "--set", "user_feed.fan_out_inline_max=3"]).succeeded();
    let user = somebody(&store);
    let user = user.as_str();
    let live = store.run(&["admin", "erase", user, "--yes", "--json"]);
    assert!(of(&live, "posts_v2")["live"].as_u64().unwrap() > 0, "{}", live.stdout);
    assert!(live.failed(1).contains("are live, so nothing was taken out"));
    assert!(!store.run(&["feed", user, "--json"]).succeeded().is_empty());

    withdraw(&store, user);
    let early = store.run(&["admin", "erase", user, "--dry-run"]).failed(1);
    assert!(early.contains("still to be settled"), "{early}");
    store.catch_up(&[]);

    let dry = store.run(&["admin", "erase", user, "--dry-run", "--json"]);
    let told = of(&dry, "notifications")["removed"].as_u64().unwrap();
    assert!(told > 0, "{}", dry.stdout);
    dry.succeeded();
    assert!(store.run(&["admin", "erase", user]).failed(2).contains("nobody is there to be asked"));

    let done = store.run(&["admin", "erase", user, "--yes", "--json"]);
    assert_eq!(of(&done, "notifications")["removed"], told, "{}", done.stdout);
    done.succeeded();
    assert_eq!(store.run(&["feed", user, "--json"]).succeeded(), "");
    assert_eq!(store.run(&["notifications", user, "--json"]).succeeded(), "");
    let again = store.run(&["admin", "erase", user, "--yes", "--json"]);
    assert!(lines(&again.stdout).iter().all(|line| line["removed"] == 0), "{}", again.stdout);
    again.succeeded();

    // Tombstones and withdrawn sources still name them, and a look at everything says so.
    let scanned = store.run(&["admin", "erase", user, "--yes", "--scan"]);
    assert!(scanned.failed(1).contains("documents still name them"));
    store.run(&["admin", "erase", "nobody at all", "--yes", "--scan"]).succeeded();
}
