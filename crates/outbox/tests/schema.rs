use feedmill_outbox::{check, migrate};

use crate::support::{World, post, uuid};

#[tokio::test]
async fn migrations_apply_once_and_leave_no_drift() {
    let Some(world) = World::new("migrations_apply_once_and_leave_no_drift").await else { return };
    assert_eq!(migrate(&world.pool).await.unwrap(), []);
    assert_eq!(check(&world.pool).await.unwrap(), []);
    assert_eq!(world.number("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'feedmill%'").await, 0);
}

#[tokio::test]
async fn whatever_was_changed_by_hand_is_reported() {
    let Some(world) = World::new("whatever_was_changed_by_hand_is_reported").await else { return };
    for (change, object) in [
        ("ALTER TABLE posts ADD COLUMN mood text", "column posts.mood"),
        ("ALTER TABLE posts ALTER body DROP NOT NULL", "column posts.body"),
        ("ALTER TABLE outbox ALTER topic TYPE text COLLATE \"default\"", "column outbox.topic"),
        ("ALTER TABLE follows DROP CONSTRAINT no_self_follow", "constraint follows.no_self_follow"),
        ("DROP INDEX outbox_waiting", "index outbox.outbox_waiting"),
        ("ALTER TABLE posts DISABLE TRIGGER emit", "trigger posts.emit"),
        ("ALTER TABLE users DISABLE ROW LEVEL SECURITY", "table users"),
        ("DROP POLICY mirror_admin ON posts_admin_mirror", "policy posts_admin_mirror.mirror_admin"),
        ("GRANT SELECT ON posts_admin_mirror TO feedmill_app", "grant SELECT on posts_admin_mirror to feedmill_app"),
        (
            "CREATE OR REPLACE FUNCTION document_time(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS 'SELECT 1::text'",
            "function document_time(moment timestamp with time zone)",
        ),
        ("DROP TABLE mutes CASCADE", "table mutes"),
    ] {
        world.sql(change).await;
        let drifts = check(&world.pool).await.unwrap();
        assert!(drifts.iter().any(|drift| drift.object == object), "{change}: {drifts:#?}");
    }
}

#[tokio::test]
async fn rows_that_make_no_sense_are_refused() {
    let Some(world) = World::new("rows_that_make_no_sense_are_refused").await else { return };
    world.users(2).await;
    world.sql(&post(1)).await;
    let (one, two) = (uuid(1), uuid(2));
    let long = |count: usize| "é".repeat(count);
    for (statement, words) in [
        (format!("INSERT INTO follows (followee_id, follower_id) VALUES ('{one}', '{one}')"), "no_self_follow"),
        (format!("INSERT INTO blocks (blocker_id, blocked_id) VALUES ('{one}', '{one}')"), "no_self_block"),
        (format!("INSERT INTO mutes (user_id, muted_id) VALUES ('{one}', '{one}')"), "no_self_mute"),
        (format!("INSERT INTO profiles (user_id, display_name) VALUES ('{one}', '{}')", long(51)), "display_name"),
        (format!("INSERT INTO profiles (user_id, display_name) VALUES ('{one}', '')"), "display_name"),
        (format!("INSERT INTO profiles (user_id, display_name, bio) VALUES ('{one}', 'x', '{}')", long(501)), "bio"),
        ("INSERT INTO users (email, provider) VALUES ('x@y', 'myspace')".to_owned(), "provider"),
        ("INSERT INTO users (email, provider) VALUES ('1@EXAMPLE.org', 'google')".to_owned(), "email"),
        ("UPDATE users SET status = 'asleep'".to_owned(), "status"),
        ("UPDATE posts SET status = 'draft'".to_owned(), "status"),
        (format!("UPDATE posts SET author_id = '{two}'"), "posts.author_id never changes"),
        ("DELETE FROM posts".to_owned(), "withdrawn, not deleted"),
        ("TRUNCATE posts CASCADE".to_owned(), "not deleted"),
    ] {
        let error = world.refused(&statement).await;
        assert!(error.contains(words), "{statement}: {error}");
    }
    world
        .sql(&format!(
            "INSERT INTO profiles (user_id, display_name, bio) VALUES ('{one}', '{}', '{}')",
            long(50),
            long(500)
        ))
        .await;
}

#[tokio::test]
async fn each_change_raises_the_version_and_leaves_its_event() {
    let Some(world) = World::new("each_change_raises_the_version_and_leaves_its_event").await else { return };
    world.users(1).await;
    world.sql(&post(1)).await;
    world.sql("UPDATE posts SET version = 99, body = 'x'; UPDATE posts SET deleted_at = now()").await;
    assert_eq!(world.number("SELECT version FROM posts").await, 3);
    let events = "SELECT count(*) FROM outbox WHERE event_key = 'post:' || (payload ->> 'postId') || ':' || sequence";
    assert_eq!(world.number(events).await, 3);
    let kept = "SELECT count(*) FROM outbox WHERE payload ? 'text'";
    assert_eq!(world.number(kept).await, 2, "the text of a withdrawn post leaves with it");
    // What is rolled back has no event.
    world.sql("BEGIN; UPDATE posts SET body = 'y'; ROLLBACK").await;
    assert_eq!(world.number(events).await, 3);
}

#[tokio::test]
async fn both_sides_of_a_block_stay_until_neither_blocks() {
    let Some(world) = World::new("both_sides_of_a_block_stay_until_neither_blocks").await else { return };
    world.users(2).await;
    let relay = world.relay(&world.outbox().await);
    let (one, two) = (uuid(1), uuid(2));
    let block = |a: &str, b: &str| format!("INSERT INTO blocks (blocker_id, blocked_id) VALUES ('{a}', '{b}')");
    let unblock = |a: &str| format!("DELETE FROM blocks WHERE blocker_id = '{a}'");
    for (statement, blocked) in [
        (block(&one, &two), true),
        (block(&two, &one), true),
        (unblock(&one), true),
        (unblock(&two), false),
        (block(&two, &one), true),
    ] {
        world.sql(&statement).await;
        world.settle(&relay).await;
        for (user, other) in [(&one, &two), (&two, &one)] {
            let document = world.document("blocks", user, &format!("{user}:{other}")).await.unwrap();
            assert_eq!(document.get("deletedAt").is_none(), blocked, "{statement}: {document}");
        }
    }
}

#[tokio::test]
async fn a_mute_shows_in_the_edge_whichever_came_first() {
    let Some(world) = World::new("a_mute_shows_in_the_edge_whichever_came_first").await else { return };
    world.users(3).await;
    let (one, two, three) = (uuid(1), uuid(2), uuid(3));
    let follow =
        |who: &str| format!("INSERT INTO follows (followee_id, follower_id, muted) VALUES ('{one}', '{who}', true)");
    let mute = |who: &str| format!("INSERT INTO mutes (user_id, muted_id) VALUES ('{who}', '{one}')");
    let muted = "SELECT count(*) FROM follows WHERE muted";
    world.sql(&follow(&two)).await;
    assert_eq!(world.number(muted).await, 0, "only a mute mutes");
    world.sql(&mute(&two)).await;
    world.sql(&mute(&three)).await;
    world.sql(&follow(&three)).await;
    assert_eq!(world.number(muted).await, 2);
    world.sql("DELETE FROM mutes").await;
    assert_eq!(world.number(muted).await, 0);
}
