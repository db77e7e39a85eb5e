use serde_json::json;

use crate::support::{Store, comparable};

#[test]
fn a_new_name_is_everywhere_at_once_and_writes_nothing_else() {
    let store = Store::new();
    let at = "2024-01-01T00:00:00.000Z";
    let profile = |name: &str, version: u32| json!({"id": "a", "userId": "a", "displayName": name, "version": version});
    store.import("publicProfiles", &[profile("Ada", 1)]);
    store.import("follows", &[json!({"id": "a:r", "followeeId": "a", "followerId": "r", "createdAt": at})]);
    store.import("follows", &[json!({"id": "r:a", "followeeId": "r", "followerId": "a", "createdAt": at})]);
    let post = json!({"id": "p", "postId": "p", "authorId": "a", "createdAt": at, "status": "published"});
    store.import("posts_v2", &[post]);
    let forever = ["--set", "notifications.retention=none"];
    store.catch_up(&forever);
    let shown = |command: &str| store.run(&[command, "r"]).succeeded();
    assert!(shown("feed").contains("Ada (a)") && shown("notifications").contains("Ada (a)"));
    let before = ["userFeed", "notifications"].map(|container| store.export(container));

    store.import("publicProfiles", &[profile("Ada Lovelace", 2)]);
    assert!(shown("feed").contains("Ada Lovelace (a)") && shown("notifications").contains("Ada Lovelace (a)"));
    store.catch_up(&forever);
    let after = ["userFeed", "notifications"].map(|container| store.export(container));
    assert_eq!(before.each_ref().map(|some| comparable(some)), after.each_ref().map(|some| comparable(some)));
    let etags = |some: &[serde_json::Value]| some.iter().map(|each| each["_etag"].clone()).collect::<Vec<_>>();
    assert_eq!(before.each_ref().map(|some| etags(some)), after.each_ref().map(|some| etags(some)));

    // Who has gone has no name.
    let mut gone = profile("Ada Lovelace", 3);
    gone["deletedAt"] = at.into();
    store.import("publicProfiles", &[gone]);
    assert!(!shown("feed").contains("Ada") && shown("feed").contains(" a "));
}
