//! From SQL to feeds, whatever was killed on the way.

use std::process::Stdio;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_workload::{canon, expected, generate};

use crate::support::{Database, Store};

/// Kills of a relay and of the processors, in turns.
const ROUNDS: u32 = 12;

#[test]
fn rows_of_sql_become_the_expected_feeds_though_relays_are_killed_at_random() {
    let Some(database) = Database::migrated("rows_of_sql_become_the_expected_feeds_though_relays_are_killed_at_random")
    else {
        return;
    };
    let entropy = Entropy::from_os().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let options = generate::Options { users: 30, follows_mean: 8, posts: 240, likes: 400, ..Default::default() };
    let network = generate::Network::new(&options, SystemClock.now());
    let rows: Vec<String> = network.writes().map(|write| canon::insert(&write)).collect();
    let store = Store::new();
    // Small batches, so that there is much to be killed in the middle of.
    let relay = ["outbox", "run", "--set", "outbox.batch_rows_max=10", "--set", "local_store.sync=false"];
    let processors = ["run", "--set", "local_store.sync=false"];
    let mut hit = 0;
    for (round, part) in (0..ROUNDS).zip(rows.chunks(rows.len().div_ceil(ROUNDS as usize))) {
        database.sql(&part.concat());
        database.sql(&format!(
            "UPDATE posts SET body = 'edited {round}' WHERE hashtext(post_id::text) % 7 = {round} % 7;
             UPDATE posts SET deleted_at = now() WHERE hashtext(post_id::text) % 23 = {round} AND deleted_at IS NULL;
             UPDATE posts SET status = 'hidden' WHERE hashtext(post_id::text) % 29 = {round};
             UPDATE follows SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
                 WHERE hashtext(followee_id::text || follower_id::text) % 19 = {round};
             UPDATE reactions SET deleted_at = now() WHERE hashtext(post_id::text || user_id::text) % 17 = {round};
             UPDATE profiles SET bio = 'round {round}' WHERE hashtext(user_id::text) % 5 = {round} % 5;
             INSERT INTO mutes (user_id, muted_id) SELECT follower_id, followee_id FROM follows
                 WHERE hashtext(followee_id::text || follower_id::text) % 31 = {round} ON CONFLICT DO NOTHING;
             DELETE FROM mutes WHERE hashtext(muted_id::text) % 13 = {round};
             INSERT INTO blocks (blocker_id, blocked_id) SELECT follower_id, followee_id FROM follows
                 WHERE hashtext(followee_id::text || follower_id::text) % 17 = {round} ON CONFLICT DO NOTHING;
             DELETE FROM blocks WHERE hashtext(blocked_id::text) % 7 = {round} % 7"
        ));
        for arguments in [&relay[..], &processors] {
            let mut child = database
                .command(&store.arguments(arguments))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let after = Duration::from_millis(100).mul_f64(1.0 + 7.0 * entropy.unit());
            runtime.block_on(async { SystemClock.sleep(after).await });
            child.kill().unwrap();
            hit += u32::from(child.wait().unwrap().code().is_none());
        }
    }
    assert_eq!(hit, 2 * ROUNDS, "each of them ran until it was killed");
    database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();
    assert_eq!(database.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL"), 0);
    assert!(database.number("SELECT count(*) FROM outbox") > 1_000);
    store.catch_up(&[]);
    let verified = database.run_on(&store, &["verify", "sources"]);
    assert_eq!((verified.code, verified.stdout.as_str()), (Some(0), ""), "{}", verified.stderr);
    store.assert_projections(&database.sources(), expected::Options::default(), SystemClock.now(), "at the end");
    assert!(store.export("userFeed").len() > 100);
}
