use std::sync::Arc;

use bytes::Bytes;
use feedmill_outbox::{Audit, Finding, FindingKind, OnDead, Verified};
use feedmill_store_api::{Database, DocumentId, Operation, PartitionKey};
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

async fn overwrite(world: &World, n: u32, version: Option<i64>) {
    let container = world.store.container("posts_v2").await.expect("a source container");
    let (key, id) = (PartitionKey::from(uuid(n)), DocumentId::new(uuid(n)).expect("a legal id"));
    let operation = match version {
        Some(version) => {
            let body = serde_json::json!({"id": uuid(n), "postId": uuid(n), "version": version, "text": "forged"});
            Operation::Upsert { id, body: Bytes::from(body.to_string()) }
        }
        None => Operation::Delete { id, if_match: None },
    };
    container.write(&key, operation).await.expect("a write");
}

async fn audit(world: &World, repair: bool) -> (Verified, Vec<Finding>) {
    let audit = Audit::new(world.outbox().await, Arc::new(world.store.clone()));
    let mut findings = Vec::new();
    let verified = audit.run(repair, &CancellationToken::new(), |finding| findings.push(finding), |_| {}).await;
    (verified.expect("a comparison"), findings)
}

#[tokio::test]
async fn every_kind_of_difference_is_found_and_repaired_by_an_event() {
    let Some(world) = World::new("every_kind_of_difference_is_found_and_repaired_by_an_event").await else { return };
    world.users(1).await;
    for n in 1..=6 {
        world.sql(&post(n)).await;
    }
    world.sql("UPDATE posts SET body = 'second'").await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    assert_eq!(audit(&world, false).await.1, []);
    overwrite(&world, 1, None).await;
    overwrite(&world, 2, Some(1)).await;
    overwrite(&world, 3, Some(2)).await;
    overwrite(&world, 4, Some(90)).await;
    let (verified, found) = audit(&world, true).await;
    let kinds: Vec<&FindingKind> = found.iter().map(|finding| &finding.kind).collect();
    assert_eq!(
        kinds,
        [
            &FindingKind::Missing,
            &FindingKind::Behind { stored: Some(1) },
            &FindingKind::Differs,
            &FindingKind::Ahead { stored: 90 }
        ]
    );
    assert!(found.iter().all(|finding| finding.repaired));
    assert_eq!((verified.rows, verified.documents, verified.findings, verified.repaired), (6, 6, 4, 4));
    assert_eq!(audit(&world, false).await.0.in_flight, 4);
    world.settle(&relay).await;
    assert_eq!(audit(&world, false).await.1, []);
    let fourth = world.document("posts_v2", &uuid(4), &uuid(4)).await.unwrap();
    assert_eq!((fourth["version"].as_i64(), fourth["text"].as_str()), (Some(91), Some("second")));
}

/// Nothing else would ever say so: its events wait, as those do that are on their way.
#[tokio::test]
async fn what_is_held_by_a_dead_letter_is_found_and_a_new_event_would_not_help() {
    const TEST: &str = "what_is_held_by_a_dead_letter_is_found_and_a_new_event_would_not_help";
    let Some(world) = World::new(TEST).await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql(&post(2)).await;
    world
        .sql("UPDATE outbox SET payload = payload - 'version', max_retries = 0 WHERE payload ->> 'postId' LIKE '%1'")
        .await;
    world.sql("UPDATE posts SET body = 'second'").await;
    let relay = world.relay(&world.outbox().await);
    assert_eq!(audit(&world, false).await.0.in_flight, 2, "nothing was tried yet");
    world.settle(&relay).await;
    let (verified, found) = audit(&world, true).await;
    assert_eq!((verified.documents, verified.in_flight, verified.findings, verified.repaired), (2, 0, 1, 0));
    assert_eq!((found[0].key.as_str(), &found[0].kind), (format!("post:{}", uuid(1)).as_str(), &FindingKind::Held));
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 2, "no event was made");

    // Where dead letters are passed, what is behind them is on its way, and in the end it is there.
    let options = feedmill_outbox::Options { on_dead: OnDead::Pass, ..world.options() };
    let passing = world.outbox_with(options, Arc::new(world.manual.clone())).await;
    let audit = Audit::new(passing.clone(), Arc::new(world.store.clone()));
    let look = async || audit.run(false, &CancellationToken::new(), |_| {}, |_| {}).await.expect("a comparison");
    assert_eq!((look().await.in_flight, look().await.findings), (1, 0));
    world.settle(&world.relay(&passing)).await;
    let verified = look().await;
    assert_eq!((verified.documents, verified.in_flight, verified.findings), (2, 0, 0));
}

#[tokio::test]
async fn a_withdrawn_document_that_expired_is_not_missed() {
    let Some(world) = World::new("a_withdrawn_document_that_expired_is_not_missed").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE posts SET deleted_at = now()").await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    let tombstone = world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap();
    assert!(tombstone["ttl"].as_i64().unwrap() > 7 * 24 * 3_600 && tombstone.get("text").is_none());
    overwrite(&world, 1, None).await;
    assert_eq!(audit(&world, true).await.1, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_changes_while_it_is_compared_is_no_finding() {
    let Some(world) = World::new("a_row_that_changes_while_it_is_compared_is_no_finding").await else { return };
    world.users(1).await;
    for n in 1..=20 {
        world.sql(&post(n)).await;
    }
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    let stop = CancellationToken::new();
    let churning = tokio::spawn({
        let (stop, pool) = (stop.clone(), world.pool.clone());
        async move {
            while !stop.is_cancelled() {
                sqlx::raw_sql("UPDATE posts SET body = body || 'x'").execute(&pool).await.expect("an update");
                relay.step().await.expect("a step");
            }
        }
    });
    for _ in 0..40 {
        assert_eq!(audit(&world, false).await.1, []);
    }
    stop.cancel();
    churning.await.expect("no panic");
}

async fn put(world: &World, container: &str, key: &str, document: serde_json::Value) {
    let container = world.store.container(container).await.expect("a source container");
    let id = DocumentId::new(document["id"].as_str().expect("every document has one")).expect("a legal id");
    let operation = Operation::Upsert { id, body: Bytes::from(document.to_string()) };
    container.write(&PartitionKey::from(key), operation).await.expect("a write");
}

#[tokio::test]
async fn a_live_document_without_a_row_is_found_and_withdrawn() {
    let Some(world) = World::new("a_live_document_without_a_row_is_found_and_withdrawn").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    let put = async |container: &str, key: &str, document| put(&world, container, key, document).await;
    let body = |n: u32| {
        serde_json::json!({"id": uuid(n), "postId": uuid(n), "authorId": uuid(1), "status": "published", "version": 3,
            "createdAt": "2020-01-01T00:00:00.000Z", "text": "\u{0}"})
    };
    put("posts_v2", &uuid(7), body(7)).await;
    let mut withdrawn = body(8);
    withdrawn["deletedAt"] = "2020-01-01T00:00:00.000Z".into();
    put("posts_v2", &uuid(8), withdrawn).await;
    let (one, two) = (uuid(1), uuid(2));
    put("blocks", &one, serde_json::json!({"id": format!("{one}:{two}"), "userId": one, "otherId": two})).await;
    put("follows", "x", serde_json::json!({"id": "x:y", "followeeId": "x", "followerId": "y"})).await;

    let found: Vec<(String, FindingKind)> =
        audit(&world, true).await.1.into_iter().map(|finding| (finding.key, finding.kind)).collect();
    let stray = |key: String| (key, FindingKind::Stray);
    let all = [stray(format!("block:{one}:{two}")), stray("follow:x:y".to_owned()), stray(format!("post:{}", uuid(7)))];
    assert_eq!(found, all);
    assert_eq!(audit(&world, true).await.0.in_flight, 3);
    world.settle(&relay).await;
    assert_eq!(audit(&world, false).await.1, []);
    let post = world.document("posts_v2", &uuid(7), &uuid(7)).await.unwrap();
    assert!(post["deletedAt"].is_string() && post["version"] == 4 && post["ttl"].is_number(), "{post}");
    assert_eq!(world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap().get("deletedAt"), None);
}

#[tokio::test]
async fn what_could_be_no_row_of_ours_is_withdrawn_without_a_dead_letter() {
    let Some(world) = World::new("what_could_be_no_row_of_ours_is_withdrawn_without_a_dead_letter").await else {
        return;
    };
    let relay = world.relay(&world.outbox().await);
    let lone = uuid(9);
    put(&world, "posts_v2", "stray", serde_json::json!({"id": "stray", "postId": "stray", "authorId": "me"})).await;
    put(&world, "posts_v2", &lone, serde_json::json!({"id": lone, "postId": lone})).await;
    let long = "x".repeat(51);
    put(&world, "publicProfiles", "p", serde_json::json!({"id": "p", "userId": "p", "displayName": long})).await;
    put(&world, "posts_v2", "other", serde_json::json!({"id": "not-other", "postId": "other"})).await;

    let (verified, found) = audit(&world, true).await;
    assert_eq!((verified.findings, verified.repaired), (4, 3));
    let out_of_reach: Vec<&str> = found.iter().filter(|f| !f.repaired).map(|f| f.key.as_str()).collect();
    assert_eq!(out_of_reach, ["post:not-other"], "no event of ours has this id");
    world.settle(&relay).await;
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL OR retry_count > 0").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM posts_admin_mirror").await, 0);
    let left: Vec<String> = audit(&world, false).await.1.into_iter().map(|finding| finding.key).collect();
    assert_eq!(left, ["post:not-other"]);

    let live = r#"{"postId": "stray", "status": "published", "version": 9}"#;
    world
        .sql(&format!(
            "INSERT INTO outbox (event_key, topic, partition_key, sequence, payload) VALUES ('l', 'post', 'l', 1, '{live}')"
        ))
        .await;
    assert_eq!(relay.step().await.unwrap().failed, 1, "a live post that the mirror cannot hold is the event's fault");
}
