use serde_json::{Value, json};

use crate::support::{Ran, Served, Store, feedmill, lines};

/// Each container's state, and that of one of them with its differences.
fn states(ran: &Ran) -> Vec<String> {
    lines(&ran.stdout).iter().map(|line| line["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn looking_makes_nothing_and_says_what_is_missing() {
    let store = Store::new();
    let checked = store.run(&["provision", "--check", "--json"]);
    assert_eq!(states(&checked), vec!["missing"; 14]);
    assert!(checked.failed(1).contains("missing: posts_v2"));
    let dry = store.run(&["provision", "--dry-run", "--json"]);
    assert_eq!(states(&dry), vec!["would-be-made"; 14]);
    assert_eq!(dry.code, Some(0));
    assert!(!store.path().exists(), "a look makes no store");
    assert!(feedmill(["provision"]).failed(2).contains("--data-dir"));
}

#[test]
fn what_is_missing_is_made_once() {
    let store = Store::new();
    let made = store.run(&["provision", "--json"]);
    assert_eq!((states(&made), made.code), (vec!["made".to_owned(); 14], Some(0)));
    for arguments in [&["provision", "--json"][..], &["provision", "--check", "--json"]] {
        let again = store.run(arguments);
        assert_eq!((states(&again), again.code), (vec!["as-wanted".to_owned(); 14], Some(0)), "{arguments:?}");
    }
    let elsewhere = store.run(&["provision", "--check", "--set", "store.database=other"]);
    assert!(elsewhere.failed(1).contains("missing"), "another database is another one");
    store.catch_up(&[]);
}

#[test]
fn drift_is_said_exactly_and_left_alone() {
    let store = Store::new();
    store.run(&["provision"]).succeeded();
    // The container of notifications in the place of that of dead letters has every difference there can be.
    let misnamed = ["provision", "--json", "--set", "engine.dead_letters=notifications"];
    for looks in [&[][..], &["--check"], &["--dry-run"]] {
        let ran = store.run(&[&misnamed[..], looks].concat());
        let shown: Vec<Value> = lines(&ran.stdout);
        let differing: Vec<_> = shown.iter().filter(|line| line["state"] == "differs").collect();
        assert_eq!(differing.len(), 1, "{looks:?}");
        assert_eq!(
            differing[0]["differences"],
            json!([
                { "what": "partition key", "is": "/recipientId", "wanted": "/id" },
                { "what": "default time to live", "is": "2592000 s", "wanted": "on without a default" },
                {
                    "what": "set of composite indexes",
                    "is": "[(/recipientId Ascending, /read Ascending, /createdAt Descending)]",
                    "wanted": "[]",
                },
                { "what": "set of excluded paths", "is": "[/_source/*]", "wanted": "[]" },
            ])
        );
        assert!(ran.failed(1).contains("not as they should be: notifications"), "{looks:?}");
    }
    let refused = store.run(&["run", "--until-caught-up", "--set", "engine.dead_letters=notifications"]).failed(1);
    assert!(refused.contains("provision --check"), "{refused}");
}

#[test]
fn throughput_is_compared_where_it_is_named() {
    let served = Served::in_memory();
    let named = |units: &str| format!("cosmos.throughput={units}");
    served.run(&["provision", "--set", &named("1000")]).succeeded();
    served.run(&["provision", "--check"]).succeeded();
    served.run(&["provision", "--check", "--set", &named("1000")]).succeeded();
    let ran = served.run(&["provision", "--check", "--json", "--set", &named("2000")]);
    let shown = lines(&ran.stdout);
    assert_eq!(shown[0]["differences"], json!([{ "what": "throughput", "is": "1000 RU/s", "wanted": "2000 RU/s" }]));
    ran.failed(1);
}
