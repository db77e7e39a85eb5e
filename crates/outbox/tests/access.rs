use std::sync::Arc;

use feedmill_outbox::{Audit, Outbox, PgPool, connect};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use crate::support::{World, post, uuid};

/// Connections that act as a role.
async fn acting(world: &World, role: &str) -> PgPool {
    connect(&format!("{}?options=-crole%3D{role}", world.url), 4).await.expect("a role of the migrations")
}

async fn count(pool: &PgPool, statement: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await
}

#[tokio::test]
async fn the_relay_needs_no_more_than_its_role() {
    let Some(world) = World::new("the_relay_needs_no_more_than_its_role").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    let pool = acting(&world, "feedmill_relay").await;
    let outbox = Outbox::open(pool.clone(), world.options(), Arc::new(world.manual.clone())).await.unwrap();
    let relay = world.relay(&outbox);
    world.settle(&relay).await;
    outbox.sweep().await.unwrap();
    assert_eq!(world.document("posts_v2", &uuid(1), &uuid(1)).await.unwrap()["text"], "text");
    for table in ["posts_admin_mirror", "users", "posts"] {
        let error = count(&pool, &format!("SELECT count(*) FROM {table}")).await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
}

#[tokio::test]
async fn the_application_sees_and_changes_only_what_is_its_users() {
    let Some(world) = World::new("the_application_sees_and_changes_only_what_is_its_users").await else { return };
    world.users(2).await;
    let pool = acting(&world, "feedmill_app").await;
    let mut session = pool.begin().await.unwrap();
    let statements = format!(
        "SET LOCAL feedmill.user_id = '{one}';
         INSERT INTO profiles (user_id, display_name) VALUES ('{one}', 'Ada');
         INSERT INTO follows (followee_id, follower_id) VALUES ('{two}', '{one}');
         INSERT INTO mutes (user_id, muted_id) VALUES ('{one}', '{two}');
         INSERT INTO blocks (blocker_id, blocked_id) VALUES ('{one}', '{two}')",
        one = uuid(1),
        two = uuid(2)
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *session).await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *session).await.unwrap();
    assert_eq!(seen, 1);
    let other = format!("INSERT INTO profiles (user_id, display_name) VALUES ('{}', 'Eve')", uuid(2));
    let error = sqlx::raw_sql(AssertSqlSafe(other)).execute(&mut *session).await.unwrap_err().to_string();
    assert!(error.contains("row-level security"), "{error}");
    drop(session);
    for table in ["outbox", "posts_admin_mirror", "outbox_snapshots"] {
        let error = count(&pool, &format!("SELECT count(*) FROM {table}")).await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
}

#[tokio::test]
async fn an_operator_needs_no_more_than_the_admin_role() {
    let Some(world) = World::new("an_operator_needs_no_more_than_the_admin_role").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.settle(&world.relay(&world.outbox().await)).await;
    let pool = acting(&world, "feedmill_admin").await;
    let outbox = Outbox::open(pool.clone(), world.options(), Arc::new(world.manual.clone())).await.unwrap();
    assert_eq!(count(&pool, "SELECT count(*) FROM posts_admin_mirror WHERE version = 1").await.unwrap(), 1);
    outbox.status().await.unwrap();
    let stop = CancellationToken::new();
    assert!(outbox.snapshot(true, &stop, |_, _| {}).await.unwrap().finished);
    let audit = Audit::new(outbox, Arc::new(world.store.clone()));
    let verified = audit.run(true, &stop, |finding| panic!("{finding:?}"), |_| {}).await.unwrap();
    assert_eq!(verified.documents, 1);
}

#[tokio::test]
async fn the_mirror_keeps_the_newest_version_of_a_post() {
    let Some(world) = World::new("the_mirror_keeps_the_newest_version_of_a_post").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE posts SET status = 'hidden'").await;
    let relay = world.relay(&world.outbox().await);
    world.settle(&relay).await;
    // Relayed again, and out of order.
    world.sql("UPDATE outbox SET processed_at = NULL WHERE sequence = 1").await;
    world.settle(&relay).await;
    let newest = "SELECT count(*) FROM posts_admin_mirror WHERE version = 2 AND status = 'hidden'";
    assert_eq!(world.number(newest).await, 1);
}

#[tokio::test]
async fn a_right_given_by_mistake_still_shows_nothing_of_the_admin_tables() {
    let Some(world) = World::new("a_right_given_by_mistake_still_shows_nothing_of_the_admin_tables").await else {
        return;
    };
    world.users(1).await;
    world.sql(&post(1)).await;
    let outbox = world.outbox().await;
    world.settle(&world.relay(&outbox)).await;
    outbox.snapshot(false, &CancellationToken::new(), |_, _| {}).await.unwrap();
    world.sql("GRANT SELECT ON posts_admin_mirror, outbox_snapshots TO feedmill_app").await;
    let (app, admin) = (acting(&world, "feedmill_app").await, acting(&world, "feedmill_admin").await);
    for table in ["posts_admin_mirror", "outbox_snapshots"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(count(&app, &rows).await.unwrap(), 0, "{table}");
        assert!(count(&admin, &rows).await.unwrap() > 0, "{table}");
    }
}
