use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;

use serde_json::{Value, json};

use crate::support::{Store, command, feedmill, lines};

fn post(id: &str, author: &str, day: u32) -> Value {
    let created_at = format!("2024-01-{day:02}T00:00:00Z");
    json!({"id": escaped(id), "postId": id, "authorId": author, "createdAt": created_at, "status": "published"})
}

fn follow(followee: &str, follower: &str) -> Value {
    let id = format!("{}:{}", escaped(followee), escaped(follower));
    json!({"id": id, "followeeId": followee, "followerId": follower, "createdAt": "2024-01-01T00:00:00Z"})
}

/// As the customer's ids are: what separates or is illegal is percent-encoded.
fn escaped(id: &str) -> String {
    let escape = |c: char| if ":/\\?#%".contains(c) { format!("%{:02X}", c as u32) } else { c.to_string() };
    id.chars().map(escape).collect()
}

fn data_set(folder: &Path, persons: &str) {
    for (file, text) in [
        ("persons.csv", persons),
        ("knows.csv", "person1|person2|createdSec\n"),
        ("messages.csv", "id|createdSec|creator|replyOf|forum|content\n"),
        ("likes.csv", "person|message|createdSec\n"),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

#[test]
fn a_missing_data_folder_is_said_before_anything_is_written() {
    let store = Store::new();
    let said = store.run(&["demo", "--data", "/nowhere"]).failed(1);
    assert!(said.contains("/nowhere"), "{said}");
    assert!(!store.path().exists(), "a store was made for data that is not there");
}

#[test]
fn a_malformed_file_is_named_with_line_and_column_before_anything_is_written() {
    let (store, data) = (Store::new(), tempfile::tempdir().unwrap());
    data_set(data.path(), "id|createdSec|firstName|lastName\n1|1264985000|Ada|King\n2|soon|Bob|Ray\n");
    let said = store.run(&["demo", "--data", data.path().to_str().unwrap()]).failed(1);
    assert!(said.contains("persons.csv, line 3, column 2 (createdSec)"), "{said}");
    assert!(!store.path().exists(), "a store was made for data with a mistake in it");

    data_set(data.path(), "id|createdSec|firstName|lastName\n1|1264985000|Ada|Ki");
    let said = store.run(&["demo", "--data", data.path().to_str().unwrap()]).failed(1);
    assert!(said.contains("persons.csv, line 2"), "{said}");
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let store = Store::new();
    store.import("posts_v2", &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = store.run(&["run", "--until-caught-up", "--admin-port", &port]).failed(1);
    assert!(said.contains(&format!("127.0.0.1:{port}: the port is in use")), "{said}");
    assert!(said.contains("--admin-port"), "{said}");
}

/// `feedmill run` on the store, once it is ready; its admin address.
pub(crate) fn running(store: &Store) -> (Child, String) {
    let mut child = command(store.arguments(&["run", "--admin-port", "0"])).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().to_owned();
    while !get(&address, "/readyz").starts_with("HTTP/1.1 200") {}
    child.stderr = Some(said.into_inner());
    (child, address)
}

pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: feedmill\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn a_second_opener_is_refused_while_the_first_goes_on_and_stops_in_order() {
    let store = Store::new();
    store.import("posts_v2", &[post("p", "ada", 1)]);
    let (first, address) = running(&store);
    let said = store.run(&["feed", "ada"]).failed(1);
    assert!(said.contains("another process has it open"), "{said}");
    assert!(get(&address, "/metrics").contains("feedmill_telemetry_panics_total 0"));

    let id = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = first.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(store.export("posts_v2").len(), 1, "the store is free again");
}

#[test]
fn ids_may_have_every_character_that_separates_or_is_illegal() {
    let store = Store::new();
    let odd = r"a/b\c?d#e:f%g";
    store.import("posts_v2", &[post(odd, odd, 1), post("p:q", "p", 2)]);
    store.import("follows", &[follow(odd, "reader:1"), follow("p", odd)]);
    store.catch_up(&["--set", "notifications.retention=none"]);

    let feed = |user: &str| lines(&store.run(&["feed", user, "--json"]).succeeded());
    assert_eq!(feed("reader:1").iter().map(|item| item["postId"].clone()).collect::<Vec<_>>(), [odd]);
    assert_eq!(feed(odd).iter().map(|item| item["postId"].clone()).collect::<Vec<_>>(), ["p:q"]);
    let told = lines(&store.run(&["notifications", odd, "--each", "--json"]).succeeded());
    assert_eq!(told.iter().map(|item| item["actorId"].clone()).collect::<Vec<_>>(), ["reader:1"]);
    let counted = lines(&store.run(&["counters", odd, "--json"]).succeeded());
    assert!(counted.iter().any(|counter| counter["name"] == "followers" && counter["value"] == 1), "{counted:?}");
}

#[test]
fn a_document_that_cannot_be_understood_is_a_dead_letter_and_the_rest_goes_on() {
    let store = Store::new();
    let mut without_author = post("bad", "ada", 1);
    without_author.as_object_mut().unwrap().remove("authorId");
    let mut wrong_time = post("worse", "ada", 1);
    wrong_time["createdAt"] = 17.into();
    store.import("posts_v2", &[without_author, post("good", "ada", 2), wrong_time]);
    store.import("follows", &[follow("ada", "bob")]);
    store.catch_up(&["--set", "engine.retry_inline=1ms", "--set", "notifications.retention=none"]);

    let feed = lines(&store.run(&["feed", "bob", "--json"]).succeeded());
    assert_eq!(feed.iter().map(|item| item["postId"].clone()).collect::<Vec<_>>(), ["good"]);
    let letters = store.export("deadLetters");
    let about = |id: &str| letters.iter().any(|letter| letter["id"].as_str().unwrap().ends_with(&format!(":{id}")));
    assert!(about("bad") && about("worse") && !about("good"), "{letters:?}");
    assert!(letters.iter().any(|letter| letter.to_string().contains("authorId")), "{letters:?}");
}

#[test]
fn a_store_or_container_that_is_not_there_is_said() {
    assert!(feedmill(["feed", "1"]).failed(2).contains("--data-dir"));
    let parent = tempfile::tempdir().unwrap();
    let nowhere = parent.path().join("nowhere");
    assert!(feedmill(["feed", "1", "--data-dir", nowhere.to_str().unwrap()]).failed(1).contains("no such folder"));
    assert!(!nowhere.exists(), "a question makes no store");
    let store = Store::new();
    store.import("posts_v2", &[]);
    let said = store.run(&["export", "post"]).failed(1);
    assert!(said.contains("there is no container post") && said.contains("posts_v2"), "{said}");
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    let store = Store::new();
    std::fs::create_dir(store.path()).unwrap();
    std::fs::write(store.path().join("thesis.txt"), "years of work").unwrap();
    let said = store.run(&["run", "--until-caught-up"]).failed(1);
    assert!(said.contains("not a store's"), "{said}");
    assert_eq!(std::fs::read_to_string(store.path().join("thesis.txt")).unwrap(), "years of work");
}
