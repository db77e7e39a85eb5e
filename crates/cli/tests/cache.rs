use feedmill_test_servers::Redis;
use serde_json::json;

use crate::support::{Store, command};

#[test]
fn the_processors_keep_the_cache_true_where_it_is_switched_on() {
    let Some(server) = Redis::own("the_processors_keep_the_cache_true_where_it_is_switched_on") else { return };
    let store = Store::new();
    let run = || {
        let arguments = store.arguments(&["run", "--until-caught-up", "--set", "cache.enabled=true"]);
        let ran = command(arguments).env("FEEDMILL_REDIS_URL", server.url()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    store.import("follows", &[json!({"id": "ada:bob", "followeeId": "ada", "followerId": "bob"})]);
    run();
    for key in ["feed:bob", "feed:cid", "counter:ada"] {
        assert_eq!(server.cli(&["set", key, "old"]), "OK");
    }
    store.import(
        "posts_v2",
        &[json!({"id": "1", "postId": "1", "authorId": "ada", "createdAt": "2024-01-01T00:00:00Z", "status": "published"})],
    );
    run();
    assert_eq!(server.cli(&["mget", "feed:bob", "counter:ada", "feed:cid"]), "old", "two are gone and one is not");
    assert_eq!(server.cli(&["get", "feed:cid"]), "old");
}
