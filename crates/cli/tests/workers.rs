//! The main job over the wire: four workers in processes of their own, on a store that another process serves.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Ran, Served, Store, command, comparable, feedmill, feedmill_reads, lines};

const SOURCES: [&str; 3] = ["follows", "reactions", "posts_v2"];
const PROJECTIONS: [&str; 6] = ["userFeed", "counters", "notifications", "authorPosts", "postReplies", "following"];

/// Looks every so often whether something has come about, and gives up after as many times.
const LOOKS: u32 = 400;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Short, so that a host is dead for the others before the test is over.
const FLEET: [&str; 6] = [
    "--set",
    "engine.heartbeat_interval=1s",
    "--set",
    "engine.heartbeat_expiry=4s",
    "--set",
    "notifications.retention=none",
];

pub(crate) struct Fleet {
    served: Served,
    pub(crate) workers: Vec<Child>,
}

impl Fleet {
    pub(crate) fn new(store: &Store, workers: usize) -> Self {
        let served = Served::new(&store.arguments(&["--port", "0"]));
        let mut fleet = Self { served, workers: Vec::new() };
        // Makes the containers, so that workers have something to work on.
        fleet.import("posts_v2", &[]);
        for _ in 0..workers {
            let worker = fleet.worker();
            fleet.workers.push(worker);
        }
        fleet
    }

    /// One more process.
    pub(crate) fn worker(&self) -> Child {
        let run = self.arguments(&[&["run"], &FLEET[..]].concat());
        command(run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        arguments.iter().chain(&["--endpoint", &self.served.endpoint]).map(|&argument| argument.to_owned()).collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        feedmill(self.arguments(arguments))
    }

    pub(crate) fn import(&self, container: &str, documents: &[Value]) {
        let text: String = documents.iter().map(|document| format!("{document}\n")).collect();
        let ran = feedmill_reads(self.arguments(&["import", container]), &text);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    pub(crate) fn export(&self, container: &str) -> Vec<Value> {
        lines(&self.run(&["export", container]).succeeded())
    }

    /// Who has leases. `None` counts as an owner: a lease that nobody has.
    fn owners(&self) -> BTreeSet<Option<String>> {
        let leases = lines(&self.run(&["leases", "list", "--json"]).succeeded());
        leases.iter().map(|lease| lease["owner"].as_str().map(str::to_owned)).collect()
    }

    pub(crate) fn wait_for_owners(&self, count: usize) {
        wait(&format!("{count} hosts share all leases"), || {
            let owners = self.owners();
            owners.len() == count && !owners.contains(&None)
        });
    }

    pub(crate) fn signal(&self, worker: usize, signal: Signal) {
        kill_process(Pid::from_child(&self.workers[worker]), signal).unwrap();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _gone = worker.kill();
            let _waited = worker.wait();
        }
    }
}

pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        pause(LOOK_EVERY);
    }
    panic!("it never came about that {what}");
}

pub(crate) fn pause(duration: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { SystemClock.sleep(duration).await });
}

/// A post before it was edited.
fn draft(post: &Value) -> Value {
    let mut draft = post.clone();
    draft["content"] = json!("a draft");
    draft
}

#[test]
fn four_workers_end_in_the_documents_of_one_though_one_is_killed_and_one_is_frozen_past_its_leases() {
    let undisturbed = Store::new();
    let demo = ["demo", "--users", "40", "--seed", "11", "--set", "notifications.retention=none"];
    undisturbed.run(&demo).succeeded();

    let store = Store::new();
    let mut fleet = Fleet::new(&store, 4);
    fleet.wait_for_owners(4);
    let posts = undisturbed.export("posts_v2");
    let drafts: Vec<Value> = posts.iter().map(draft).collect();
    for container in ["follows", "reactions"] {
        fleet.import(container, &undisturbed.export(container));
    }
    // While they have all of that to do.
    fleet.import("posts_v2", &drafts[..drafts.len() / 2]);
    fleet.signal(0, Signal::KILL);
    fleet.signal(1, Signal::STOP);
    fleet.import("posts_v2", &drafts[drafts.len() / 2..]);
    fleet.wait_for_owners(2);
    fleet.import("posts_v2", &posts[..posts.len() / 2]);
    // It goes on in the middle of what it was doing, with leases that others have by now.
    fleet.signal(1, Signal::CONT);
    fleet.import("posts_v2", &posts[posts.len() / 2..]);
    wait("status tells how fast it goes and what it costs", || {
        let status = lines(&fleet.run(&["status", "--json"]).succeeded());
        let goes = |figure: &str| status.iter().any(|entry| entry[figure].as_u64() > Some(0));
        goes("changesPerHour") && goes("requestUnitsPerHour")
    });

    for container in SOURCES {
        let (found, expected) = (comparable(&fleet.export(container)), comparable(&undisturbed.export(container)));
        assert!(found == expected, "{container} is not what was imported");
    }
    wait("the projections are those of an undisturbed run", || {
        PROJECTIONS.iter().all(|container| shown(&fleet.export(container)) == shown(&undisturbed.export(container)))
    });
    for worker in 1..4 {
        fleet.signal(worker, Signal::TERM);
    }
    for worker in &mut fleet.workers[2..] {
        assert_eq!(worker.wait().unwrap().code(), Some(0), "a worker that is told to stop stops in order");
    }
    assert!(fleet.workers[1].wait().unwrap().code().is_some(), "what was frozen ends by itself");
    for projection in ["user-feed", "counters", "notifications"] {
        assert_eq!(fleet.run(&["verify", projection, "--all"]).succeeded(), "", "{projection}");
    }
    assert_eq!(fleet.export("deadLetters"), [json!(null); 0]);
}

/// By id, without tombstones and counts of nothing: whether they are written down depends on what came when.
fn shown(documents: &[Value]) -> Vec<(String, Value)> {
    let shown = documents.iter().filter(|document| document.get("deletedAt").is_none() && document["value"] != 0);
    let shown: Vec<Value> = shown.cloned().collect();
    comparable(&shown).into_iter().map(|(id, fields)| (id, Value::Object(fields))).collect()
}
