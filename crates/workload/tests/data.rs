//! The real data, with answers that nobody here chose: the reader, the delete rules and the reference projection give
//! them before any engine does.
//!
//! The data is not part of the project. The folder is `FEEDMILL_DATA`, or `../shared/data` beside the workspace; without
//! it these tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

// Who fuzzes the library builds this file with the same instrumentation, which must be linked.
use bolero as _;
use feedmill_workload::expected::{Expected, Options, Post, Sources};
use feedmill_workload::ic;
use feedmill_workload::ldbc::Dataset;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `snb-1k` has oracles for what was created before.
const CUT_OFF: &str = "2011-01-01T00:00:00Z";

fn data(test: &str, folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("FEEDMILL_DATA").map_or_else(beside, PathBuf::from).join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {test}, because {} is not there; set FEEDMILL_DATA", folder.display());
    None
}

fn oracle(path: &Path) -> Vec<Value> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The projections of some sources, with the counters at hand.
struct Projections<'a> {
    expected: Expected<'a>,
    counters: BTreeMap<(String, String), u64>,
    sources: &'a Sources,
}

impl<'a> Projections<'a> {
    fn new(sources: &'a Sources) -> Self {
        let expected = Expected::new(sources, Options::ldbc(), Timestamp::UNIX_EPOCH);
        Self { counters: expected.counters(), expected, sources }
    }

    /// The newest of a feed as documents: enough for one answer, with everything as old as its last row.
    fn feed(&self, person: &str, until: Option<i64>) -> Vec<Value> {
        let feed = self.expected.user_feed_unsorted(person);
        let mut feed: Vec<_> =
            feed.filter(|post| until.is_none_or(|until| post.created_at.as_millisecond() <= until)).collect();
        if feed.len() > ic::ROWS_MAX {
            let (_, last, _) = feed.select_nth_unstable_by_key(ic::ROWS_MAX, |post| Reverse(post.created_at));
            let last = last.created_at;
            feed.retain(|post| post.created_at >= last);
        }
        feed.into_iter().map(|post| self.expected.feed_item(person, post)).collect()
    }

    fn ic2(&self, person: &str, until: Option<i64>) -> Vec<ic::Ic2Row> {
        ic::ic2(&self.feed(person, until), until).unwrap()
    }

    fn ic7(&self, person: &str, notifications: &[Value]) -> Vec<ic::Ic7Row> {
        let following = self.expected.followees(person).map(|followee| json!({"followeeId": followee}));
        let following: Vec<_> = following.collect();
        ic::ic7(notifications, &following, |post| self.sources.post(post).map(document)).unwrap()
    }

    fn post(&self, id: u64) -> Value {
        document(self.sources.post(&id.to_string()).unwrap())
    }

    /// In the form of the oracle files, without `at`.
    fn answers(&self, person: &str) -> Value {
        let ic2: Vec<_> = self.ic2(person, None).iter().map(ic::Ic2Row::oracle).collect();
        let notifications = self.expected.notifications(person);
        let ic7: Vec<_> = self.ic7(person, &notifications).iter().map(ic::Ic7Row::oracle).collect();
        let ic8: Vec<_> = ic::ic8(&notifications).unwrap().iter().map(ic::Ic8Row::oracle).collect();
        let posts: Vec<&str> = self.expected.posts_of(person).map(|post| post.post_id.as_str()).collect();
        let counts = ic::counts(person, posts, |subject, name| {
            self.counters.get(&(subject.to_owned(), name.to_owned())).copied()
        });
        json!({
            "personId": person.parse::<u64>().unwrap(), "IC2": ic2, "IC7": ic7, "IC8": ic8, "friends": counts.friends,
            "messages": counts.messages, "likesReceived": counts.likes_received,
            "repliesReceived": counts.replies_received
        })
    }

    /// Every person's answers, and that nobody else has a profile.
    fn check(&self, oracle: &[&Value], what: &str) {
        assert_eq!(self.sources.users().count(), oracle.len(), "persons {what}");
        for line in oracle {
            let mut line = (*line).clone();
            line.as_object_mut().unwrap().remove("at");
            let person = line["personId"].to_string();
            assert_eq!(self.answers(&person), line, "person {person} {what}");
        }
    }
}

fn document(post: &Post) -> Value {
    serde_json::from_slice(&post.body).unwrap()
}

fn snapshot(dataset: &Dataset, until: Option<&str>) -> Sources {
    let until = until.map(|until| until.parse().unwrap());
    let mut sources = Sources::default();
    for write in dataset.snapshot(until).unwrap() {
        sources.apply(&write.unwrap()).unwrap();
    }
    sources
}

fn check_official(projections: &Projections<'_>, folder: &Path) {
    let profiles: BTreeMap<_, _> = projections.expected.documents("publicProfiles").collect();
    let profile = |id: u64| &profiles[&id.to_string()];
    let mut rows = 0;
    for line in BufReader::new(File::open(folder.join("official_answers.ndjson")).unwrap()).lines() {
        let question: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let person = question["personId"].to_string();
        let notifications = projections.expected.notifications(&person);
        let (answer, time): (Vec<Value>, usize) = match question["q"].as_str().unwrap() {
            "IC2" => {
                let found = projections.ic2(&person, question["maxDateMs"].as_i64());
                let row = |row: &ic::Ic2Row| row.official(profile(row.author), &projections.post(row.message));
                (found.iter().map(row).collect(), 5)
            }
            "IC7" => {
                let row = |row: &ic::Ic7Row| row.official(profile(row.liker), &projections.post(row.message));
                (projections.ic7(&person, &notifications).iter().map(row).collect(), 3)
            }
            "IC8" => {
                let row = |row: &ic::Ic8Row| row.official(profile(row.replier), &projections.post(row.comment));
                (ic::ic8(&notifications).unwrap().iter().map(row).collect(), 3)
            }
            _ => continue,
        };
        let mut official = question["rows"].as_array().unwrap().clone();
        for row in &mut official {
            row[time] = (row[time].as_i64().unwrap() / 1_000).into();
        }
        assert_eq!(answer, official, "{} of {person}", question["q"]);
        rows += answer.len();
    }
    assert!(rows > 200, "only {rows} rows were compared");
}

#[test]
fn snb_1k_is_answered_at_the_cut_off_and_at_the_end() {
    let Some(folder) = data("snb_1k_is_answered_at_the_cut_off_and_at_the_end", "snb-1k") else { return };
    let dataset = Dataset::open(&folder).unwrap();
    for (until, file) in [(Some(CUT_OFF), "cutoff"), (None, "end")] {
        let sources = snapshot(&dataset, until);
        let projections = Projections::new(&sources);
        let lines = oracle(&folder.join(format!("oracle_{file}_all_persons.ndjson.gz")));
        projections.check(&lines.iter().collect::<Vec<_>>(), file);
        if until.is_some() {
            check_official(&projections, &folder);
        }
    }
}

fn check_stream(folder: &Path, file: &str) {
    let dataset = Dataset::open(folder).unwrap();
    let lines = oracle(&folder.join(file));
    let mut checkpoints: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for line in &lines {
        checkpoints.entry(line["at"].as_u64().unwrap()).or_default().push(line);
    }
    let mut sources = snapshot(&dataset, None);
    let mut events = dataset.stream(None).unwrap();
    let mut applied = 0;
    for (at, lines) in checkpoints {
        while applied < at {
            for write in &events.next().unwrap().unwrap().writes {
                sources.apply(write).unwrap();
            }
            applied += 1;
        }
        Projections::new(&sources).check(&lines, &format!("at {at}"));
    }
    assert_eq!(applied, dataset.events());
}

#[test]
fn snb_stream_is_answered_at_every_checkpoint() {
    let Some(folder) = data("snb_stream_is_answered_at_every_checkpoint", "snb-stream") else { return };
    check_stream(&folder, "oracle_checkpoints_all_persons.ndjson.gz");
}

#[test]
fn snb_load_is_answered_at_every_checkpoint() {
    let Some(folder) = data("snb_load_is_answered_at_every_checkpoint", "snb-load") else { return };
    check_stream(&folder, "oracle_checkpoints.ndjson.gz");
}
