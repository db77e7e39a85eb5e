//! The outbox's commands as an operator uses them.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::support::{Database, Store, lines};

/// A person with three posts, of which the first has an event that can never be written.
const POISONED: &str = "
    INSERT INTO users (user_id, email, provider) VALUES ('00000000-0000-0000-0000-000000000001', 'a@b', 'google');
    INSERT INTO posts (post_id, author_id, body)
        SELECT lpad(n::text, 32, '0')::uuid, user_id, 'text' FROM users, generate_series(1, 3) AS n;
    UPDATE posts SET body = 'second';
    UPDATE outbox SET payload = payload - 'authorId' - 'postId', max_retries = 0
        WHERE sequence = 1 AND payload ->> 'postId' LIKE '%1';";

const POST: &str = "00000000-0000-0000-0000-000000000001";

fn post(store: &Store, id: &str) -> Option<Value> {
    store.export("posts_v2").into_iter().find(|post| post["postId"] == id)
}

#[test]
fn a_dead_letter_is_seen_shown_retried_and_given_up() {
    let Some(database) = Database::migrated("a_dead_letter_is_seen_shown_retried_and_given_up") else { return };
    let store = Store::new();
    database.sql(POISONED);
    let ran = database.run_on(&store, &["outbox", "run", "--until-caught-up"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 events dead") && ran.stderr.contains("outbox show --dead"), "{}", ran.stderr);
    assert_eq!(store.export("posts_v2").len(), 2, "only its own key waits");

    let status = lines(&database.run(&["outbox", "status", "--json"]).succeeded()).remove(0);
    assert_eq!((&status["pending"], &status["dead"], &status["held"]), (&2.into(), &1.into(), &1.into()));
    assert!(status["oldestAgeSeconds"].is_number() && status["ratePerSecond"].is_number());
    assert!(database.run(&["outbox", "status"]).succeeded().contains("replication lag"));

    let shown = lines(&database.run(&["outbox", "show", "--dead", "--json"]).succeeded());
    assert_eq!((shown.len(), shown[0]["state"].as_str()), (1, Some("dead")));
    assert!(shown[0]["lastError"].as_str().unwrap().contains("postId") && shown[0]["document"]["version"] == 1);
    let event = shown[0]["eventKey"].as_str().unwrap();
    let table = database.run(&["outbox", "show", event]).succeeded();
    assert!(table.contains("dead") && table.contains("\"version\": 1"), "{table}");

    let retried = database.run(&["outbox", "retry", "--dead"]);
    assert_eq!(retried.code, Some(0), "{}", retried.stderr);
    database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();
    assert!(post(&store, POST).is_none());

    let many = database.run(&["outbox", "skip", "--dead", "--reason", "x"]).failed(2);
    assert!(many.contains("--yes"), "{many}");
    database.run(&["outbox", "skip", event, "--reason", "imported by mistake"]).succeeded();
    let shown = lines(&database.run(&["outbox", "show", event, "--json"]).succeeded()).remove(0);
    assert_eq!((&shown["state"], &shown["lastError"]), (&"done".into(), &"skipped: imported by mistake".into()));
    database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();
    assert_eq!(post(&store, POST).unwrap()["text"], "second");

    assert!(database.run(&["outbox", "retry", event]).failed(1).contains("no event"));
    assert!(database.run(&["outbox", "show", "post:nothing"]).failed(1).contains("outbox show --failed"));
    assert_eq!(database.run(&["outbox", "show"]).code, Some(2));
}

#[test]
fn migrations_apply_once_and_drift_is_an_exit_code() {
    let Some(database) = Database::empty("migrations_apply_once_and_drift_is_an_exit_code") else { return };
    let said = database.run(&["outbox", "status"]).failed(1);
    assert!(said.contains("no table") && said.contains("outbox migrate"), "{said}");
    assert_eq!(database.run(&["outbox", "migrate"]).succeeded().lines().next(), Some("0001 canon"));
    assert_eq!(database.run(&["outbox", "migrate"]).succeeded(), "");
    assert_eq!(database.run(&["outbox", "schema", "--check"]).succeeded(), "");
    database.sql("ALTER TABLE posts ADD mood text");
    let ran = database.run(&["outbox", "schema", "--check", "--json"]);
    assert_eq!(lines(&ran.stdout)[0]["object"], "column posts.mood");
    assert!(ran.failed(1).contains("outbox migrate"));
    assert_eq!(database.run(&["outbox", "schema"]).code, Some(2));
    database.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', true, '', 0)",
    );
    assert!(database.run(&["outbox", "migrate"]).failed(1).contains("newer feedmill"));
}

#[test]
fn a_login_without_its_role_is_told_which_one() {
    let Some(database) = Database::migrated("a_login_without_its_role_is_told_which_one") else { return };
    let acting = |role: &str, arguments: &[&str]| {
        let url = format!("{}?options=-crole%3D{role}", database.url);
        crate::support::Ran::from(database.command(arguments).env("FEEDMILL_POSTGRES_URL", url).output().unwrap())
    };
    let said = acting("feedmill_app", &["outbox", "status"]).failed(1);
    assert!(said.contains("permission denied") && said.contains("feedmill_admin"), "{said}");
    acting("feedmill_admin", &["outbox", "status"]).succeeded();
    assert!(database.run(&["outbox", "run"]).failed(2).contains("--data-dir"), "memory would forget what is relayed");
    let store = Store::new();
    let arguments = store.arguments(&["outbox", "run", "--until-caught-up"]);
    acting("feedmill_relay", &arguments.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
}

#[test]
fn what_was_there_before_the_outbox_is_loaded_and_differences_are_repaired() {
    let Some(database) = Database::migrated("what_was_there_before_the_outbox_is_loaded_and_differences_are_repaired")
    else {
        return;
    };
    let store = Store::new();
    database.sql(&format!("SET session_replication_role = replica; {POISONED}; SET session_replication_role = origin"));
    assert_eq!(database.number("SELECT count(*) FROM outbox"), 0);
    let loaded = database.run(&["outbox", "snapshot"]);
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    assert!(loaded.stderr.contains("3 rows read, 3 events made"), "{}", loaded.stderr);
    assert!(database.run(&["outbox", "snapshot"]).stderr.contains("0 rows read"));
    assert!(database.run(&["outbox", "snapshot", "--again"]).stderr.contains("3 rows read, 0 events made"));
    database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();

    let forged = serde_json::json!({"id": POST, "postId": POST, "text": "forged", "version": 9});
    store.import("posts_v2", &[forged]);
    let ran = database.run_on(&store, &["verify", "sources", "--json"]);
    let found = lines(&ran.stdout);
    assert_eq!((found.len(), &found[0]["finding"], &found[0]["repaired"]), (1, &"ahead".into(), &false.into()));
    assert!(ran.failed(1).contains("--repair"));
    let repaired = database.run_on(&store, &["verify", "sources", "--repair"]).succeeded();
    assert_eq!(repaired.trim(), format!("posts post:{POST} ahead: has version 9, repaired"));
    database.run_on(&store, &["outbox", "run", "--until-caught-up"]).succeeded();
    assert_eq!(database.run_on(&store, &["verify", "sources"]).succeeded(), "");
    assert_eq!(post(&store, POST).unwrap()["text"], "second");
}

#[test]
fn an_outbox_of_the_customers_own_is_mapped_by_the_configuration() {
    let Some(database) = Database::empty("an_outbox_of_the_customers_own_is_mapped_by_the_configuration") else {
        return;
    };
    let store = Store::new();
    database.sql(
        "CREATE TABLE \"Events\" (nr serial PRIMARY KEY, name text UNIQUE, kind text, aggregate text, step int, body jsonb,
             at timestamptz DEFAULT now(), done timestamptz, tries int DEFAULT 0, again timestamptz);
         INSERT INTO \"Events\" (name, kind, aggregate, step, body) VALUES
             ('e1', 'message', 'm1', 1, '{\"postId\": \"m1\", \"rev\": 1, \"authorId\": \"a\"}'),
             ('e2', 'message', 'm1', 2, '{\"postId\": \"m1\", \"rev\": 2, \"authorId\": \"a\"}')",
    );
    let mut config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = "[outbox]\nlisten = ''\n[outbox.table]\nname = 'Events'\nid = 'nr'\nevent_key = 'name'\ntopic = 'kind'\n\
        partition_key = 'aggregate'\nsequence = 'step'\npayload = 'body'\ncreated_at = 'at'\nprocessed_at = 'done'\n\
        retry_count = 'tries'\nnext_retry_at = 'again'\nmax_retries = ''\nlast_error = ''\n\
        [outbox.routes.message]\ncontainer = 'posts_v2'\nkey_field = 'postId'\nid = '{postId}'\nversion_field = 'rev'\n";
    std::io::Write::write_all(&mut config, text.as_bytes()).unwrap();
    let config = config.path().to_str().unwrap();
    let run = ["outbox", "run", "--until-caught-up", "--config", config];
    let said = database.run_on(&store, &[&run[..], &["--set", "outbox.table.sequence=stpe"]].concat()).failed(2);
    assert!(said.contains("no column \"stpe\""), "{said}");
    database.run_on(&store, &run).succeeded();
    let written = post(&store, "m1").unwrap();
    assert_eq!((&written["id"], &written["rev"]), (&"m1".into(), &2.into()));
    assert_eq!(database.number("SELECT count(*) FROM \"Events\" WHERE done IS NULL"), 0);
}

#[test]
fn a_relay_serves_its_metrics_and_stops_in_order() {
    let Some(database) = Database::migrated("a_relay_serves_its_metrics_and_stops_in_order") else { return };
    let store = Store::new();
    database.sql(POISONED);
    let mut child = database.command(&store.arguments(&["outbox", "run", "--admin-port", "0"])).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    said.read_line(&mut text).unwrap();
    let address = text.trim().rsplit("http://").next().unwrap().to_owned();
    for metric in [
        "feedmill_outbox_events_relayed_total{topic=\"post\"",
        "feedmill_outbox_pending_events ",
        "feedmill_outbox_replication_lag_seconds ",
    ] {
        while !crate::bad_input::get(&address, "/metrics").contains(metric) {}
    }
    assert!(crate::bad_input::get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    said.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(text.contains("stopping in order") && text.contains("4 events relayed"), "{text}");
}
