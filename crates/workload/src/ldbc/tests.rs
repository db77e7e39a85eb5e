//! Whole folders, small enough to see what must come out.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Dataset, Error, Event};
use crate::SourceWrite;

const PERSONS: &str = "id|createdMs|firstName|lastName\n1|100|Ada|King\n2|200|Bob|Lee\n3|900|Cy|Fox\n";
const KNOWS: &str = "person1|person2|createdMs\n1|2|300\n1|3|950\n";
/// The reply to 11 stands before 11.
const MESSAGES: &str = "id|createdMs|creator|replyOf|forum|content\n10|400|1||7|hello\n12|600|1|11||yes\n11|500|2|10||\n13|960|3||7|late\n";
const LIKES: &str = "person|message|createdMs\n2|10|700\n3|13|970\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn tables(more: &[(&str, &str)]) -> tempfile::TempDir {
    let mut files =
        vec![("persons.csv", PERSONS), ("knows.csv", KNOWS), ("messages.csv", MESSAGES), ("likes.csv", LIKES)];
    files.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
    files.extend(more);
    folder(&files)
}

fn failure(files: &[(&str, &str)]) -> String {
    let folder = tables(files);
    let error = Dataset::open(folder.path()).unwrap_err();
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn body(write: &SourceWrite) -> Value {
    serde_json::from_slice(&write.body).unwrap()
}

/// Container and id, with `-` before what is withdrawn.
fn short(write: &SourceWrite) -> String {
    let sign = if body(write).get("deletedAt").is_some() { "-" } else { "" };
    format!("{sign}{} {}", write.container, write.id)
}

fn snapshot(folder: &Path, until: Option<i64>) -> Vec<String> {
    let until = until.map(|until| Timestamp::from_millisecond(until).unwrap());
    let writes: Result<Vec<_>, Error> = Dataset::open(folder).unwrap().snapshot(until).unwrap().collect();
    writes.unwrap().iter().map(short).collect()
}

fn stream(folder: &Path) -> Vec<Event> {
    let dataset = Dataset::open(folder).unwrap().withdrawn_ttl(Duration::from_secs(77));
    dataset.stream(None).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The writes of each event, sorted.
fn effects(folder: &Path) -> Vec<Vec<String>> {
    let effects = |event: Event| {
        let mut effects: Vec<_> = event.writes.iter().map(short).collect();
        effects.sort();
        effects
    };
    stream(folder).into_iter().map(effects).collect()
}

/// Files with a NUL between them.
#[test]
fn whatever_the_files_say_is_read_or_refused_with_its_place() {
    const NAMES: [&str; 6] = ["persons.csv", "knows.csv", "messages.csv", "likes.csv", "updates.csv", "base.ndjson"];
    let folder = tempfile::tempdir().unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut files = bytes.split(|byte| *byte == 0);
        for name in NAMES {
            let path = folder.path().join(name);
            match files.next() {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => drop(std::fs::remove_file(path)),
            }
        }
        let read = || -> Result<(), Error> {
            let dataset = Dataset::open(folder.path())?.withdrawn_ttl(Duration::from_secs(77));
            dataset.snapshot(None)?.collect::<Result<Vec<_>, _>>()?;
            dataset.stream(None)?.collect::<Result<Vec<_>, _>>()?;
            Ok(())
        };
        if let Err(error) = read() {
            let said = error.to_string();
            assert!(said.contains(&*folder.path().to_string_lossy()), "{said}");
        }
    });
}

#[test]
fn a_snapshot_gives_each_row_as_documents_with_causes_before_effects() {
    let folder = tables(&[]);
    let expected = [
        "publicProfiles 1",
        "publicProfiles 2",
        "publicProfiles 3",
        "follows 1:2",
        "follows 2:1",
        "follows 1:3",
        "follows 3:1",
        "posts_v2 10",
        "posts_v2 11",
        "posts_v2 12",
        "posts_v2 13",
        "reactions 10:2",
        "reactions 13:3",
    ];
    assert_eq!(snapshot(folder.path(), None), expected);
    let counts = Dataset::open(folder.path()).unwrap().counts();
    assert_eq!((counts.persons, counts.friendships, counts.messages, counts.likes), (3, 2, 4, 2));
}

#[test]
fn until_takes_only_what_was_created_before() {
    let folder = tables(&[]);
    let expected = [
        "publicProfiles 1",
        "publicProfiles 2",
        "follows 1:2",
        "follows 2:1",
        "posts_v2 10",
        "posts_v2 11",
        "posts_v2 12",
        "reactions 10:2",
    ];
    assert_eq!(snapshot(folder.path(), Some(900)), expected);
    assert_eq!(snapshot(folder.path(), Some(400)), expected[..4]);
}

#[test]
fn until_holds_for_the_stream_too() {
    let events = "seq|eventMs|op|a|b|c\n0|980|INS2_LIKE_POST|1|13|\n1|990|INS2_LIKE_POST|2|13|\n";
    let folder = tables(&[("updates.csv", events)]);
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.events(), 2);
    let until = Timestamp::from_millisecond(990).unwrap();
    let events: Vec<_> = dataset.stream(Some(until)).unwrap().map(|event| event.unwrap().seq).collect();
    assert_eq!(events, [0]);
}

#[test]
fn an_event_has_the_version_after_its_number_and_its_own_time() {
    let events = "seq|eventMs|op|a|b|c\n4|1000|INS1_PERSON|4|Di|Ng\n5|1001|INS8_KNOWS|4|1|\n6|1002|INS7_COMMENT|14|4|10\n\
                  7|1003|INS3_LIKE_COMMENT|1|14|\n8|1004|INS4_FORUM|8|4|Wall of Di\n";
    let folder = tables(&[("updates.csv", events)]);
    let events = stream(folder.path());
    assert_eq!(
        effects(folder.path()),
        [
            vec!["publicProfiles 4"],
            vec!["follows 1:4", "follows 4:1"],
            vec!["posts_v2 14"],
            vec!["reactions 14:1"],
            vec![]
        ]
    );
    let comment = body(&events[2].writes[0]);
    assert_eq!(events[2].writes[0].version, 7);
    assert_eq!((&comment["version"], &comment["createdAt"]), (&7.into(), &"1970-01-01T00:00:01.002Z".into()));
    assert_eq!((&comment["replyToPostId"], &comment["authorId"]), (&"10".into(), &"4".into()));
}

#[test]
fn a_delete_withdraws_what_it_takes_along_with_time_ttl_and_version() {
    let folder = tables(&[("events.csv", "seq|eventMs|op|a|b|c\n0|1000|DEL6_POST|10||\n1|1001|DEL6_POST|10||\n")]);
    let taken = vec!["-posts_v2 10", "-posts_v2 11", "-posts_v2 12", "-reactions 10:2"];
    assert_eq!(effects(folder.path()), [taken, vec![]]);
    for write in &stream(folder.path())[0].writes {
        let body = body(write);
        assert_eq!((&body["deletedAt"], &body["ttl"]), (&"1970-01-01T00:00:01.000Z".into(), &77.into()));
        assert_eq!((write.version, &body["version"]), (1, &1.into()));
    }
}

#[test]
fn a_deleted_person_goes_with_walls_known_from_the_stream() {
    let events = "seq|eventMs|op|a|b|c\n0|1000|INS4_FORUM|7|2|Wall of Bob\n1|1001|DEL1_PERSON|2||\n";
    let folder = tables(&[("events.csv", events)]);
    let expected = [
        "-follows 1:2",
        "-follows 2:1",
        "-posts_v2 10",
        "-posts_v2 11",
        "-posts_v2 12",
        "-posts_v2 13",
        "-publicProfiles 2",
        "-reactions 10:2",
        "-reactions 13:3",
    ];
    assert_eq!(effects(folder.path())[1], expected);
}

#[test]
fn an_insert_after_a_delete_revives_and_one_that_comes_too_late_does_nothing() {
    let events = "seq|eventMs|op|a|b|c\n0|1000|DEL2_LIKE_POST|2|10|\n1|1001|INS2_LIKE_POST|2|10|\n2|1002|DEL7_COMMENT|12||\n\
                  3|1003|INS3_LIKE_COMMENT|2|12|\n4|1004|DEL8_KNOWS|2|1|\n5|1005|INS8_KNOWS|1|2|\n";
    let folder = tables(&[("events.csv", events)]);
    let expected = [
        vec!["-reactions 10:2"],
        vec!["reactions 10:2"],
        vec!["-posts_v2 12"],
        vec![],
        vec!["-follows 1:2", "-follows 2:1"],
        vec!["follows 1:2", "follows 2:1"],
    ];
    assert_eq!(effects(folder.path()), expected);
}

#[test]
fn stubs_are_enough_to_begin_a_stream() {
    let folder = folder(&[
        ("base.ndjson", "{\"persons\":[1,2],\"forums\":[7],\"messages\":[10]}\n"),
        (
            "events.csv",
            "seq|eventMs|op|a|b|c\n0|1000|INS7_COMMENT|11|1|10\n1|1001|INS2_LIKE_POST|2|10|\n2|1002|DEL6_POST|10||\n",
        ),
    ]);
    assert_eq!(snapshot(folder.path(), Some(0)), ["publicProfiles 1", "publicProfiles 2", "posts_v2 10"]);
    let expected =
        [vec!["posts_v2 11"], vec!["reactions 10:2"], vec!["-posts_v2 10", "-posts_v2 11", "-reactions 10:2"]];
    assert_eq!(effects(folder.path()), expected);
    let stub = stream(folder.path())[2].writes.iter().map(body).find(|body| body["id"] == "10").unwrap();
    assert_eq!(stub["authorId"], "0");
}

#[test]
fn rows_that_refer_to_nothing_are_errors_with_file_line_and_column() {
    let header = "seq|eventMs|op|a|b|c\n";
    let like = format!("{header}0|1000|INS2_LIKE_POST|1|99|\n");
    let knows = format!("{header}0|1000|INS8_KNOWS|1|99|\n");
    for (name, text, expected) in [
        (
            "knows.csv",
            "person1|person2|createdMs\n1|9|300\n",
            "knows.csv, line 2, column 2 (person2): person 9 is not there",
        ),
        (
            "likes.csv",
            "person|message|createdMs\n9|10|300\n",
            "likes.csv, line 2, column 1 (person): person 9 is not there",
        ),
        (
            "likes.csv",
            "person|message|createdMs\n1|99|300\n",
            "likes.csv, line 2, column 2 (message): message 99 is not there",
        ),
        (
            "messages.csv",
            "id|createdMs|creator|replyOf\n10|400|9|\n",
            "messages.csv, line 2, column 3 (creator): person 9 is not there",
        ),
        (
            "messages.csv",
            "id|createdMs|creator|replyOf\n10|400|1|\n11|400|1|98\n12|400|1|11\n",
            "messages.csv, line 3, column 4 (replyOf): message 98 is not there",
        ),
        (
            "messages.csv",
            "id|createdMs|creator|replyOf\n10|400|1|10\n",
            "messages.csv, line 2, column 4 (replyOf): message 10",
        ),
        (
            "updates.csv",
            &like,
            "updates.csv, line 2, column 5 (b): message 99 is not there, neither in the snapshot nor",
        ),
        ("updates.csv", &knows, "updates.csv, line 2, column 5 (b): person 99 is not there"),
    ] {
        let error = failure(&[(name, text)]);
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn rows_that_are_there_twice_are_errors() {
    for (name, text, expected) in [
        (
            "persons.csv",
            "id|createdMs|firstName|lastName\n1|1|A|B\n1|1|A|B\n",
            "persons.csv, line 3, column 1 (id): person 1 is",
        ),
        (
            "knows.csv",
            "person1|person2|createdMs\n1|2|300\n2|1|300\n",
            "knows.csv, line 3, column 1 (person1): the friendship of 2 and 1 is",
        ),
        (
            "messages.csv",
            "id|createdMs|creator|replyOf\n10|4|1|\n10|4|1|\n",
            "messages.csv, line 3, column 1 (id): message 10 is",
        ),
        (
            "likes.csv",
            "person|message|createdMs\n2|10|7\n2|10|8\n",
            "likes.csv, line 3, column 1 (person): the like of person 2 for message 10 is",
        ),
    ] {
        let error = failure(&[(name, text)]);
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn a_mistake_on_the_last_line_of_the_stream_is_found_before_anything_is_written() {
    let error = failure(&[("updates.csv", "seq|eventMs|op|a|b|c\n0|1000|INS2_LIKE_POST|1|10|\n1|1000|DROP|1|10|\n")]);
    assert!(error.starts_with("updates.csv, line 3, column 3 (op): \"DROP\" is not an operation"), "{error}");
}

#[test]
fn an_iterator_ends_after_its_error() {
    let folder = tables(&[]);
    let dataset = Dataset::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("likes.csv"), "person|message|createdMs\n2|10|").unwrap();
    let mut snapshot = dataset.snapshot(None).unwrap().skip_while(Result::is_ok);
    assert!(snapshot.next().unwrap().unwrap_err().to_string().contains("the last line is cut off"));
    assert!(snapshot.next().is_none());
}
