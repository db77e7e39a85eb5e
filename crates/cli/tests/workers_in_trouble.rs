//! Four workers on a store that another process serves, killed, frozen and restarted at random while posts are edited: then
//! everything is what `workload::expected` makes of the sources.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_workload::expected::{Expected, Options, Sources, visible};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::Store;
use crate::workers::{Fleet, pause, wait};

/// As long as does not hold up every change; `FEEDMILL_TROUBLE_SECONDS=300` for the loop that means it.
const SECONDS: u64 = 12;
const WORKERS: u64 = 4;
/// Past the expiry of heartbeats, and not.
const FROZEN_MAX: Duration = Duration::from_secs(8);
const SOURCES: [&str; 3] = ["follows", "reactions", "posts_v2"];
const PROJECTIONS: [&str; 3] = ["userFeed", "counters", "notifications"];

/// What differs from what the sources make of it, in words.
fn differences(fleet: &Fleet) -> Vec<String> {
    let mut sources = Sources::default();
    for container in SOURCES {
        for document in fleet.export(container) {
            sources.put(container, &Bytes::from(document.to_string())).unwrap();
        }
    }
    let now = SystemClock.now();
    let expected = Expected::new(&sources, Options { retention: None, ..Options::default() }, now);
    let mut differences = Vec::new();
    for container in PROJECTIONS {
        let wanted: BTreeMap<String, Value> = expected.documents(container).collect();
        assert!(!wanted.is_empty(), "nothing is expected in {container}: this test would prove nothing");
        let stored = fleet.export(container).into_iter().filter(|document| document["value"] != 0);
        let id = |document: &Value| document["id"].as_str().unwrap().to_owned();
        let shown = stored.filter_map(|document| Some((id(&document), visible(&document, now)?)));
        let shown: BTreeMap<String, Value> = shown.collect();
        let missing = wanted.iter().filter(|(id, wanted)| shown.get(*id) != Some(*wanted));
        differences.extend(missing.map(|(id, wanted)| format!("{container} {id} should be {wanted}")));
        let stray = shown.keys().filter(|id| !wanted.contains_key(*id));
        differences.extend(stray.map(|id| format!("{container} {id} should not be there")));
    }
    differences
}

/// What happens to one of the workers.
fn disturb(fleet: &mut Fleet, chance: &Entropy) -> String {
    let worker = usize::try_from(chance.below(0..WORKERS)).unwrap();
    let pid = fleet.workers[worker].id();
    if chance.unit() < 0.5 {
        fleet.signal(worker, Signal::KILL);
        fleet.workers[worker].wait().unwrap();
        pause(Duration::from_secs(2).mul_f64(chance.unit()));
        fleet.workers[worker] = fleet.worker();
        return format!("{pid} was killed and another one started");
    }
    let frozen = FROZEN_MAX.mul_f64(chance.unit());
    fleet.signal(worker, Signal::STOP);
    pause(frozen);
    fleet.signal(worker, Signal::CONT);
    format!("{pid} was frozen for {frozen:.1?}")
}

#[test]
fn workers_killed_frozen_and_restarted_at_random_end_in_what_the_sources_make_of_it() {
    let seconds = std::env::var("FEEDMILL_TROUBLE_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let chance = Entropy::from_os().unwrap();
    let written = Store::new();
    written.run(&["demo", "--users", "12", "--seed", "5", "--set", "notifications.retention=none"]).succeeded();
    let store = Store::new();
    let mut fleet = Fleet::new(&store, 4);
    fleet.wait_for_owners(4);
    for container in SOURCES {
        fleet.import(container, &written.export(container));
    }
    let posts = written.export("posts_v2");
    let (mut happened, end) = (Vec::new(), SystemClock.monotonic() + Duration::from_secs(seconds));
    for edit in 0.. {
        let edited = |post: &Value| {
            let mut post = post.clone();
            post["content"] = json!(format!("edit {edit}"));
            // Some are hidden, and shown again by a later edit.
            post["status"] = json!(if chance.unit() < 0.2 { "hidden" } else { "published" });
            post
        };
        let some: Vec<Value> = posts.iter().filter(|_| chance.unit() < 0.3).map(edited).collect();
        fleet.import("posts_v2", &some);
        happened.push(disturb(&mut fleet, &chance));
        if SystemClock.monotonic() >= end {
            break;
        }
    }
    let mut last = Vec::new();
    for _ in 0..3 {
        last = differences(&fleet);
        if last.is_empty() {
            break;
        }
        pause(Duration::from_secs(1));
    }
    if !last.is_empty() {
        wait(&format!("nothing differs after {happened:?}: {last:?}"), || differences(&fleet).is_empty());
    }
    for projection in ["user-feed", "counters", "notifications"] {
        assert_eq!(fleet.run(&["verify", projection, "--all"]).succeeded(), "", "{projection} after {happened:?}");
    }
    assert_eq!(fleet.export("deadLetters"), [json!(null); 0], "{happened:?}");
    println!("{} times something happened: {happened:?}", happened.len());
}
