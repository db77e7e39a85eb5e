//! The demo on the benchmark's networks gives the answers that nobody here chose, though most of what it puts into feeds comes by
//! chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use feedmill_documents::fan_out::Chunk;
use feedmill_workload::expected::{self, Sources};
use feedmill_workload::ic;
use feedmill_workload::ldbc::Dataset;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Store, command, comparable, data, lines};

/// As README.md of the data says: old events are told, and people's own actions too.
const FOR_LDBC: [&str; 4] = ["--set", "notifications.own_actions=true", "--set", "notifications.retention=none"];

/// `user_feed.fan_out_inline_max`, small enough that chunks carry most of the items.
const SNB_1K_INLINE: usize = 16;
const SNB_STREAM_INLINE: usize = 4;

const SNB_1K_CUT_OFF: &str = "2011-01-01T00:00:00Z";

#[test]
fn snb_1k_gives_the_official_answers_and_the_oracles_at_the_cut_off_and_at_the_end() {
    let Some(folder) = data("snb_1k", "snb-1k") else { return };
    let store = Store::new();
    load(&store, &folder, SNB_1K_INLINE, &["--until", SNB_1K_CUT_OFF]);
    let official = lines(&fs::read_to_string(folder.join("official_answers.ndjson")).unwrap());
    check(&store, &read_gz(&folder.join("oracle_cutoff_all_persons.ndjson.gz")), &official);
    load(&store, &folder, SNB_1K_INLINE, &[]);
    check(&store, &read_gz(&folder.join("oracle_end_all_persons.ndjson.gz")), &[]);

    chunks_carry_most(&store);

    let before = versions(&store);
    load(&store, &folder, SNB_1K_INLINE, &[]);
    assert_eq!(versions(&store), before, "running it again on the same store changes nothing");
}

#[test]
fn snb_stream_equals_the_oracle_at_every_checkpoint_while_updates_arrive() {
    let Some(folder) = data("snb_stream", "snb-stream") else { return };
    let mut checkpoints: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for answer in read_gz(&folder.join("oracle_checkpoints_all_persons.ndjson.gz")) {
        checkpoints.entry(answer["at"].as_u64().unwrap()).or_default().push(answer);
    }
    assert_eq!(checkpoints.len(), 8);
    let store = Store::new();
    for (events, oracle) in checkpoints {
        load(&store, &folder, SNB_STREAM_INLINE, &["--events", &events.to_string()]);
        check(&store, &oracle, &[]);
    }
    load(&store, &folder, SNB_STREAM_INLINE, &[]);
    equals_expected(&store, &folder);
    chunks_carry_most(&store);
}

#[test]
fn deletes_take_along_what_the_application_says_and_unknown_ones_do_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("persons.csv", "id|createdMs|firstName|lastName\n1|1000|Ann|A\n2|1000|Bob|B\n3|1000|Cid|C\n4|1000|Dee|D\n");
    write("knows.csv", "person1|person2|createdMs\n1|2|2000\n1|3|2000\n2|3|2000\n3|4|2000\n");
    write(
        "messages.csv",
        "id|createdMs|creator|replyOf|forum\n10|3000|1||100\n11|3100|2|10|\n12|3200|3|11|\n20|3300|2||100\n30|3400|3||200\n31|3500|4|30|\n",
    );
    write("likes.csv", "person|message|createdMs\n2|10|4000\n3|11|4100\n1|20|4200\n4|30|4300\n");
    let events = "seq|eventMs|op|a|b|c\n\
        0|5000|DEL2_LIKE_POST|2|10|\n\
        1|5100|DEL2_LIKE_POST|2|999|\n\
        2|5200|INS2_LIKE_POST|2|10|\n\
        3|5300|DEL8_KNOWS|1|2|\n\
        4|5400|DEL7_COMMENT|11||\n\
        5|5500|DEL6_POST|777||\n\
        6|5600|INS8_KNOWS|1|2|\n\
        7|5700|INS4_FORUM|200|3|Wall of Cid\n\
        8|5800|DEL1_PERSON|3||\n\
        9|5900|DEL1_PERSON|888||\n\
        10|6000|INS6_POST|40|1|100\n";
    write("events.csv", events);
    for upto in 0..=11_u64 {
        let store = Store::new();
        load(&store, folder.path(), 1, &["--events", &upto.to_string()]);
        equals(&store, folder.path(), upto);
    }
    let store = Store::new();
    load(&store, folder.path(), 1, &[]);
    let posts = |live: bool| -> BTreeSet<String> {
        let posts = store.export("posts_v2").into_iter().filter(|post| post.get("deletedAt").is_none() == live);
        posts.map(|post| post["id"].as_str().unwrap().to_owned()).collect()
    };
    let expected = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(posts(true), expected(&["10", "20", "40"]));
    assert_eq!(posts(false), expected(&["11", "12", "30", "31"]));
}

fn load(store: &Store, folder: &Path, inline_max: usize, more: &[&str]) {
    let (folder, inline_max) = (folder.display().to_string(), format!("user_feed.fan_out_inline_max={inline_max}"));
    let arguments = [&["demo", "--data", &folder, "--set", &inline_max][..], &FOR_LDBC, more].concat();
    store.run(&arguments).succeeded();
}

/// Of what is shown. What is settled before there are chunks is in the first one, so that one does not count.
fn chunks_carry_most(store: &Store) {
    let mut first_cuts = BTreeMap::new();
    for work in store.export("fanOut") {
        if let Ok(Chunk { chunk: 0, post_id, cuts, .. }) = serde_json::from_value(work) {
            first_cuts.insert(post_id, cuts.into_iter().next().unwrap());
        }
    }
    let (mut in_chunks, mut items) = (0, 0);
    feeds(store, &mut |person, feed| {
        for item in feed.iter().filter(|item| item.get("deletedAt").is_none()) {
            items += 1;
            let first_cut = first_cuts.get(item["postId"].as_str().unwrap());
            in_chunks += usize::from(first_cut.is_some_and(|first| person >= first.as_str()));
        }
    });
    println!("{in_chunks} of {items} items came by chunks");
    assert!(2 * in_chunks > items, "{in_chunks} of {items} items came by chunks");
}

/// Every person's answers, from what the commands give a user.
fn check(store: &Store, oracle: &[Value], official: &[Value]) {
    let by = |container: &str, field: &str| {
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for document in store.export(container) {
            groups.entry(document[field].as_str().unwrap().to_owned()).or_default().push(document);
        }
        groups
    };
    let notifications = by("notifications", "recipientId");
    let following = by("following", "followerId");
    let author_posts = by("authorPosts", "authorId");
    let posts: BTreeMap<String, Value> =
        by("posts_v2", "postId").into_iter().map(|(id, mut one)| (id, one.remove(0))).collect();
    let profiles: BTreeMap<String, Value> =
        by("publicProfiles", "userId").into_iter().map(|(id, mut one)| (id, one.remove(0))).collect();
    let mut counters = BTreeMap::new();
    for counter in store.export("counters") {
        let part = |field: &str| counter[field].as_str().unwrap().to_owned();
        counters.insert((part("subjectId"), part("name")), counter["value"].as_u64().unwrap());
    }
    let count = |subject: &str, name: &str| counters.get(&(subject.to_owned(), name.to_owned())).copied();
    let none = Vec::new();

    let asked: BTreeMap<String, Vec<&Value>> = official.iter().fold(BTreeMap::new(), |mut asked, question| {
        asked.entry(question["personId"].to_string()).or_insert_with(Vec::new).push(question);
        asked
    });
    let expected: BTreeMap<String, &Value> =
        oracle.iter().map(|answer| (answer["personId"].to_string(), answer)).collect();
    let mut answered = 0;
    let mut check_person = |person: &str, feed: &[Value]| {
        let Some(expected) = expected.get(person) else {
            assert!(feed.is_empty(), "{person} is nobody the oracle knows, but has a feed");
            return;
        };
        let (told, follows) = (notifications.get(person).unwrap_or(&none), following.get(person).unwrap_or(&none));
        let rows = |rows: Vec<Value>| Value::from(rows);
        let ic2 = ic::ic2(feed, None).unwrap();
        assert_eq!(rows(ic2.iter().map(ic::Ic2Row::oracle).collect()), expected["IC2"], "IC2 of {person}");
        let ic7 = ic::ic7(told, follows, |post| posts.get(post).cloned()).unwrap();
        assert_eq!(rows(ic7.iter().map(ic::Ic7Row::oracle).collect()), expected["IC7"], "IC7 of {person}");
        let ic8 = ic::ic8(told).unwrap();
        assert_eq!(rows(ic8.iter().map(ic::Ic8Row::oracle).collect()), expected["IC8"], "IC8 of {person}");
        let live = author_posts.get(person).unwrap_or(&none).iter().filter(|post| post.get("deletedAt").is_none());
        let counts = ic::counts(person, live.map(|post| post["postId"].as_str().unwrap()), count);
        let counted = json!([counts.friends, counts.messages, counts.likes_received, counts.replies_received]);
        let known = ["friends", "messages", "likesReceived", "repliesReceived"].map(|field| &expected[field]);
        assert_eq!(counted, json!(known), "counters of {person}");

        for question in asked.get(person).into_iter().flatten() {
            let (profile, post) = (|id: u64| &profiles[&id.to_string()], |id: u64| &posts[&id.to_string()]);
            let given = match question["q"].as_str().unwrap() {
                "IC2" => {
                    let answer = ic::ic2(feed, question["maxDateMs"].as_i64()).unwrap();
                    answer.iter().map(|row| row.official(profile(row.author), post(row.message))).collect()
                }
                "IC7" => ic7.iter().map(|row| row.official(profile(row.liker), post(row.message))).collect(),
                "IC8" => ic8.iter().map(|row| row.official(profile(row.replier), post(row.comment))).collect(),
                _ => continue,
            };
            assert_eq!(Value::Array(given), in_seconds(question), "official {} of {person}", question["q"]);
            answered += 1;
        }
    };
    let fed = feeds(store, &mut check_person);
    // Who has no feed has answers all the same.
    for person in expected.keys().filter(|person| !fed.contains(*person)) {
        check_person(person, &[]);
    }
    let ours = official.iter().filter(|question| question["q"] != "IC9").count();
    assert_eq!(answered, ours, "every official question was asked");
}

/// Each person's feed items, live ones and tombstones, one person at a time: all feeds together are large. Returns who has any.
fn feeds(store: &Store, each: &mut impl FnMut(&str, &[Value])) -> BTreeSet<String> {
    let mut child = command(store.arguments(&["export", "userFeed"])).spawn().unwrap();
    let mut person = String::new();
    let mut feed: Vec<Value> = Vec::new();
    let mut fed = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let recipient = item["recipientId"].as_str().unwrap();
        if recipient != person {
            if !feed.is_empty() {
                each(&person, &feed);
            }
            recipient.clone_into(&mut person);
            fed.insert(person.clone());
            feed.clear();
        }
        feed.push(item);
    }
    if !feed.is_empty() {
        each(&person, &feed);
    }
    assert!(child.wait().unwrap().success());
    fed
}

/// The time column of an official answer in seconds, as the rows of [`ic`] have it.
fn in_seconds(question: &Value) -> Value {
    let column = if question["q"] == "IC2" { 5 } else { 3 };
    let mut rows = question["rows"].clone();
    for row in rows.as_array_mut().unwrap() {
        row[column] = (row[column].as_i64().unwrap() / 1_000).into();
    }
    rows
}

fn equals_expected(store: &Store, folder: &Path) {
    equals(store, folder, u64::MAX);
}

/// Every projection equals the pure function of the sources after so many events.
fn equals(store: &Store, folder: &Path, events: u64) {
    let dataset = Dataset::open(folder).unwrap();
    let mut sources = Sources::default();
    for write in dataset.snapshot(None).unwrap() {
        sources.apply(&write.unwrap()).unwrap();
    }
    for event in dataset.stream(None).unwrap().take(usize::try_from(events).unwrap_or(usize::MAX)) {
        for write in event.unwrap().writes {
            sources.apply(&write).unwrap();
        }
    }
    let when = format!("after {events} events");
    store.assert_projections(&sources, expected::Options::ldbc(), Timestamp::UNIX_EPOCH, &when);
}

/// Id and etag of every document of what is small enough to be held whole; of feeds a sum over both.
fn versions(store: &Store) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for container in ["posts_v2", "follows", "reactions", "authorPosts", "following", "counters", "notifications"] {
        for document in store.export(container) {
            let id = format!("{container}/{}", document["id"].as_str().unwrap());
            versions.insert(id, document["_etag"].as_str().unwrap().to_owned());
        }
    }
    feeds(store, &mut |person, feed| {
        let etags: Vec<&str> = feed.iter().map(|item| item["_etag"].as_str().unwrap()).collect();
        versions.insert(format!("userFeed/{person}"), etags.concat());
    });
    versions
}

fn read_gz(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    lines(&text)
}

#[test]
fn the_comparison_of_documents_sees_a_difference() {
    let one = json!({"id": "a", "value": 1, "_etag": "x", "ttl": 5});
    let same = json!({"id": "a", "value": 1, "_etag": "y", "ttl": 6});
    let other = json!({"id": "a", "value": 2, "_etag": "x", "ttl": 5});
    assert_eq!(comparable(std::slice::from_ref(&one)), comparable(&[same]));
    assert_ne!(comparable(std::slice::from_ref(&one)), comparable(&[other]));
}
