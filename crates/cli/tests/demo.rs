use std::io::{BufRead, BufReader, Read};

use serde_json::json;

use crate::support::{Store, command, comparable, data, feedmill, lines};

const SMALL: [&str; 5] = ["demo", "--users", "60", "--seed", "7"];

#[test]
fn the_demo_shows_a_feed_counters_notifications_ranges_and_costs() {
    let shown = feedmill(SMALL).succeeded();
    for part in
        ["feed of ", "counters of ", "notifications of ", "processor", "user-feed", "request units for", "try next"]
    {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    assert!(!shown.contains("dead letters"), "{shown}");
}

#[test]
fn the_commands_it_names_work_on_its_store() {
    let store = Store::new();
    let shown = store.run(&SMALL).succeeded();
    let named: Vec<Vec<&str>> = shown
        .split("try next")
        .nth(1)
        .unwrap()
        .lines()
        .filter(|line| line.contains("--data-dir"))
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert!(named.len() >= 4, "{shown}");
    for arguments in named {
        let printed = feedmill(&arguments).succeeded();
        assert!(arguments[0] == "run" || !printed.is_empty(), "{arguments:?} printed nothing");
    }
}

#[test]
fn the_same_demo_again_on_the_same_store_changes_nothing() {
    let store = Store::new();
    store.run(&SMALL).succeeded();
    let containers = ["posts_v2", "userFeed", "counters", "notifications", "following"];
    let before = containers.map(|container| store.export(container));
    assert!(before.iter().all(|documents| !documents.is_empty()));
    store.run(&SMALL).succeeded();
    assert!(before == containers.map(|container| store.export(container)), "documents were written again");
}

#[test]
fn one_seed_makes_one_network_and_another_another() {
    let posts = |seed: &str| {
        let store = Store::new();
        store.run(&["demo", "--users", "30", "--seed", seed, "--until", "2024-01-01T00:00:00Z"]).succeeded();
        comparable(&store.export("posts_v2"))
    };
    let first = posts("1");
    assert_eq!(first, posts("1"));
    assert_ne!(first, posts("2"));
}

#[test]
fn a_feed_is_paged_without_gap_or_repetition() {
    let store = Store::new();
    store.run(&SMALL).succeeded();
    let feeds = store.export("userFeed");
    let user = feeds[0]["recipientId"].as_str().unwrap();
    let page = |more: &[&str]| lines(&store.run(&[&["feed", user, "--json"], more].concat()).succeeded());
    let whole = page(&["--limit", "100000"]);
    assert!(whole.len() > 10, "{} items", whole.len());
    let (mut paged, mut cursor) = (page(&["--limit", "3"]), String::new());
    loop {
        let last = paged.last().unwrap();
        let next = format!("{},{}", last["createdAt"].as_str().unwrap(), last["postId"].as_str().unwrap());
        assert_ne!(next, cursor, "the same page again");
        cursor = next;
        match page(&["--limit", "3", "--before", &cursor]) {
            items if items.is_empty() => break,
            items => paged.extend(items),
        }
    }
    assert_eq!(paged, whole);
}

#[test]
fn a_real_network_is_loaded_up_to_a_time_and_no_event_further() {
    let Some(folder) = data("demo", "snb-stream") else { return };
    let store = Store::new();
    let until = "2010-06-01T00:00:00.000Z";
    let arguments = ["demo", "--data", folder.to_str().unwrap(), "--until", until, "--events", "0"];
    let shown = store.run(&arguments).succeeded();
    assert!(shown.contains("feed of "), "{shown}");
    let posts = store.export("posts_v2");
    assert!(posts.len() > 100, "{} posts", posts.len());
    assert!(posts.iter().all(|post| post["createdAt"].as_str().unwrap() < until));
}

#[test]
fn an_interrupted_demo_stops_in_order_and_goes_on_where_it_stopped() {
    let store = Store::new();
    let arguments = store.arguments(&[&SMALL[..], &["--until", "2024-01-01T00:00:00Z", "--admin-port", "0"]].concat());
    let mut child = command(&arguments).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    said.read_line(&mut text).unwrap();
    assert!(text.contains("admin endpoint"), "{text}");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    said.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("stopping in order") && text.contains("goes on where"), "{text}");

    feedmill(&arguments).succeeded();
    let undisturbed = Store::new();
    undisturbed.run(&[&SMALL[..], &["--until", "2024-01-01T00:00:00Z"]].concat()).succeeded();
    for container in ["posts_v2", "userFeed", "counters", "following"] {
        assert_eq!(comparable(&store.export(container)), comparable(&undisturbed.export(container)), "{container}");
    }
}

#[test]
fn a_network_that_is_there_already_goes_on_in_its_own_time() {
    let store = Store::new();
    let begun = "2024-01-01T00:00:00.000Z";
    store.import("publicProfiles", &[json!({"id": "1", "userId": "1", "displayName": "Ada", "createdAt": begun})]);
    store.run(&["demo", "--users", "20"]).succeeded();
    let posts = store.export("posts_v2");
    assert!(!posts.is_empty());
    for post in posts {
        let created_at = post["createdAt"].as_str().unwrap();
        assert!((begun..="2024-01-15T00:00:00.000Z").contains(&created_at), "{created_at}");
    }
}
