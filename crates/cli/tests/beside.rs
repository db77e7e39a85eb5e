use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Served, Store, command, comparable, feedmill_reads, lines};

const DEMO: [&str; 7] = ["demo", "--users", "40", "--seed", "7", "--set", "user_feed.fan_out_inline_max=3"];
const BUILD: [&str; 7] =
    ["admin", "rebuild-projection", "user-feed", "--into", "userFeed_v2", "--set", "user_feed.fan_out_inline_max=3"];
const SWITCHED: [&str; 4] = ["--set", "user_feed.container=userFeed_v2", "--set", "user_feed.fan_out_inline_max=3"];

fn post(id: &str, author: &str) -> Value {
    json!({"id": id, "postId": id, "authorId": author, "createdAt": "2024-01-01T00:00:00.000Z", "status": "published"})
}

/// What readers are shown.
fn shown(documents: &[Value]) -> Vec<Value> {
    documents.iter().filter(|document| document.get("deletedAt").is_none()).cloned().collect()
}

fn assert_same(one: &[Value], other: &[Value]) {
    assert!(!shown(one).is_empty());
    assert_eq!(comparable(&shown(one)), comparable(&shown(other)));
}

#[test]
fn a_projection_is_built_beside_the_one_in_use_compared_and_switched_to_by_configuration() {
    let store = Store::new();
    store.run(&DEMO).succeeded();
    let built = store.run(&BUILD);
    assert!(built.stderr.contains("user_feed.container = \"userFeed_v2\""), "{}", built.stderr);
    assert_eq!(built.succeeded(), "", "no difference");
    assert_same(&store.export("userFeed"), &store.export("userFeed_v2"));

    // Whatever comes after the switch reaches the new one alone, from where the build ended.
    let follow = store.export("follows").into_iter().find(|edge| edge.get("muted").is_none()).unwrap();
    let (author, reader) = (follow["followeeId"].as_str().unwrap(), follow["followerId"].as_str().unwrap());
    store.import("posts_v2", &[post("after", author)]);
    let ran = store.run(&[&["run", "--until-caught-up"], &SWITCHED[..]].concat());
    assert!(ran.stderr.contains("0 dead letters") || !ran.stderr.contains("dead"), "{}", ran.stderr);
    ran.succeeded();
    let feed = |more: &[&str]| store.run(&[&["feed", reader, "--limit", "1000", "--json"], more].concat()).succeeded();
    assert!(feed(&SWITCHED).contains("\"after\"") && !feed(&[]).contains("\"after\""));
    store.run(&[&["verify", "user-feed", "--all"], &SWITCHED[..]].concat()).succeeded();
    let checked = store.run(&[&["provision", "--check", "--json"], &SWITCHED[..]].concat()).succeeded();
    let names: Vec<_> = lines(&checked).iter().map(|line| line["container"].clone()).collect();
    assert!(names.contains(&json!("userFeed_v2")) && names.contains(&json!("fanOut_v2")), "{names:?}");
    assert!(!names.contains(&json!("userFeed")), "{names:?}");
    let status = store.run(&[&["status", "--json"], &SWITCHED[..]].concat()).succeeded();
    assert!(status.contains("user-feed@userFeed_v2"), "{status}");

    // The old one went on from where it was, too: the way back is open.
    store.catch_up(&DEMO[5..]);
    assert_same(&store.export("userFeed"), &store.export("userFeed_v2"));
}

#[test]
fn what_differs_between_two_versions_is_said_and_fails() {
    let store = Store::new();
    store.run(&DEMO).succeeded();
    let counters = ["admin", "rebuild-projection", "counters", "--into", "counters_v2", "--json"];
    store.run(&counters).succeeded();
    let mut forged = store.export("counters_v2").into_iter().find(|counter| counter["value"] != 0).unwrap();
    forged["value"] = json!(12_345);
    let id = forged["id"].clone();
    store.import("counters_v2", &[forged]);
    let found = store.run(&counters);
    assert_eq!(lines(&found.stdout), [json!({"id": id, "difference": "differs", "fields": ["value"]})]);
    assert!(found.failed(1).contains("1 documents differ"));

    for (into, said) in [("userFeed_v2", "no name for a version"), ("counters", "the one in use")] {
        let wrong = store.run(&["admin", "rebuild-projection", "counters", "--into", into]).failed(2);
        assert!(wrong.contains(said), "{wrong}");
    }
    let wrong = store.run(&["status", "--set", "counters.container=numbers"]).failed(2);
    assert!(wrong.contains("not a version of counters"), "{wrong}");
}

/// A host works on the one in use while another is built, and people go on writing.
#[test]
fn a_projection_is_built_beside_a_living_one() {
    let served = Served::in_memory();
    served.run(&DEMO).succeeded();
    let mut worker = command(served.arguments(&["run", "--set", "user_feed.fan_out_inline_max=3"]));
    let mut worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let import = |documents: &[Value]| {
        let text: String = documents.iter().map(|document| format!("{document}\n")).collect();
        assert_eq!(feedmill_reads(served.arguments(&["import", "posts_v2"]), &text).code, Some(0));
    };
    let follows = lines(&served.run(&["export", "follows"]).succeeded());
    let authors: Vec<_> = follows.iter().take(20).map(|edge| edge["followeeId"].as_str().unwrap()).collect();
    let building = command(served.arguments(&BUILD)).spawn().unwrap();
    for (number, author) in authors.iter().enumerate() {
        import(&[post(&format!("while{number}"), author)]);
    }
    let built = building.wait_with_output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    worker.kill().unwrap();
    worker.wait().unwrap();
    served.run(&[&["run", "--until-caught-up"], &SWITCHED[..]].concat()).succeeded();
    served.run(&[&["verify", "user-feed", "--all"], &SWITCHED[..]].concat()).succeeded();
    let feeds = served.run(&["export", "userFeed_v2"]).succeeded();
    assert!(feeds.contains("while19"));
}
