//! `updates.csv` and `events.csv`: what each operation says.

use std::path::Path;

use jiff::Timestamp;

use super::error::{Error, Fault};
use super::table::{Table, TimeColumn};

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) operation: Operation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    InsertPerson {
        id: u64,
        first: String,
        last: String,
    },
    InsertLike {
        person: u64,
        message: u64,
    },
    InsertForum {
        id: u64,
        moderator: u64,
        title: String,
    },
    InsertPost {
        id: u64,
        created: Timestamp,
        creator: u64,
        forum: Option<u64>,
    },
    InsertComment {
        id: u64,
        created: Timestamp,
        creator: u64,
        parent: u64,
    },
    InsertKnows {
        one: u64,
        other: u64,
    },
    DeletePerson {
        id: u64,
    },
    DeleteLike {
        person: u64,
        message: u64,
    },
    DeleteForum {
        id: u64,
    },
    DeleteMessage {
        id: u64,
    },
    DeleteKnows {
        one: u64,
        other: u64,
    },
    /// Who belongs to a forum concerns no projection.
    Membership,
}

/// The operations by number, each with a word that its full name has.
const NAMES: [(&str, &str); 16] = [
    ("INS1", "PERSON"),
    ("INS2", "LIKE"),
    ("INS3", "LIKE"),
    ("INS4", "FORUM"),
    ("INS5", "MEMBER"),
    ("INS6", "POST"),
    ("INS7", "COMMENT"),
    ("INS8", "KNOWS"),
    ("DEL1", "PERSON"),
    ("DEL2", "LIKE"),
    ("DEL3", "LIKE"),
    ("DEL4", "FORUM"),
    ("DEL5", "MEMBER"),
    ("DEL6", "POST"),
    ("DEL7", "COMMENT"),
    ("DEL8", "KNOWS"),
];
const KNOWN: &str = "INS1_PERSON, INS2_LIKE_POST, INS3_LIKE_COMMENT, INS4_FORUM, INS5_MEMBER, INS6_POST, \
                     INS7_COMMENT, INS8_KNOWS and DEL1_PERSON to DEL8_KNOWS";

pub(super) struct EventRows {
    table: Table,
    seq: usize,
    time: TimeColumn,
    op: usize,
    /// `a`, `b`, `c`, and `d` where there is one.
    values: Vec<usize>,
    last: Option<u64>,
}

impl EventRows {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let table = Table::open(path)?;
        let mut values = vec![table.column("a")?, table.column("b")?, table.column("c")?];
        values.extend(table.optional_column("d"));
        let (seq, time, op) = (table.column("seq")?, table.time_column("event")?, table.column("op")?);
        Ok(Self { table, seq, time, op, values, last: None })
    }

    pub(super) fn next(&mut self) -> Result<Option<EventRow>, Error> {
        if !self.table.advance()? {
            return Ok(None);
        }
        let (seq, at) = (self.table.id(self.seq)?, self.table.time(self.time)?);
        // Versions are made of it, and the higher version stays.
        if let Some(last) = self.last.filter(|last| seq <= *last) {
            return Err(self.table.fault(Some(self.seq), Fault::Order { seq, last }));
        }
        self.last = Some(seq);
        Ok(Some(EventRow { seq, at, operation: self.operation(at)? }))
    }

    /// An error at value `index` (0 for `a`) of the current line.
    pub(super) fn fault(&self, index: usize, fault: Fault) -> Error {
        self.table.fault(Some(self.values[index]), fault)
    }

    fn operation(&self, at: Timestamp) -> Result<Operation, Error> {
        let op = self.table.text(self.op);
        let number = op.split('_').next().unwrap_or_default();
        let known = NAMES.iter().find(|(known, word)| *known == number && op.contains(word));
        let Some((number, _)) = known else {
            let op = op.chars().take(40).collect();
            return Err(self.table.fault(Some(self.op), Fault::UnknownOperation { op, known: KNOWN }));
        };
        Ok(match *number {
            "INS1" => Operation::InsertPerson { id: self.id(0)?, first: self.text(1), last: self.text(2) },
            "INS2" | "INS3" => Operation::InsertLike { person: self.id(0)?, message: self.id(1)? },
            "INS4" => Operation::InsertForum { id: self.id(0)?, moderator: self.id(1)?, title: self.text(2) },
            "INS6" => {
                let (created, creator, forum) = self.message(at)?;
                let forum = self.table.optional_id(self.values[forum])?;
                Operation::InsertPost { id: self.id(0)?, created, creator, forum }
            }
            "INS7" => {
                let (created, creator, parent) = self.message(at)?;
                Operation::InsertComment { id: self.id(0)?, created, creator, parent: self.id(parent)? }
            }
            "INS8" => Operation::InsertKnows { one: self.id(0)?, other: self.id(1)? },
            "DEL1" => Operation::DeletePerson { id: self.id(0)? },
            "DEL2" | "DEL3" => Operation::DeleteLike { person: self.id(0)?, message: self.id(1)? },
            "DEL4" => Operation::DeleteForum { id: self.id(0)? },
            "DEL6" | "DEL7" => Operation::DeleteMessage { id: self.id(0)? },
            "DEL8" => Operation::DeleteKnows { one: self.id(0)?, other: self.id(1)? },
            _ => Operation::Membership,
        })
    }

    /// When and by whom a message was made, and which value says to what it belongs.
    ///
    /// Two spellings: `id, created, creator, forum|parent`, and without the time where the event's own is meant. The
    /// second never fills `d`; of the first, `d` may be empty too, and then the repeated event time gives it away.
    fn message(&self, at: Timestamp) -> Result<(Timestamp, u64, usize), Error> {
        let has_time = match self.values.as_slice() {
            [_, b, _, d] => !self.table.text(*d).is_empty() || self.table.text(*b) == self.table.text(self.time.index),
            _ => false,
        };
        if !has_time {
            return Ok((at, self.id(1)?, 2));
        }
        let created = TimeColumn { index: self.values[1], unit: self.time.unit };
        Ok((self.table.time(created)?, self.id(2)?, 3))
    }

    fn id(&self, index: usize) -> Result<u64, Error> {
        self.table.id(self.values[index])
    }

    fn text(&self, index: usize) -> String {
        self.table.text(self.values[index]).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<EventRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("updates.csv");
        std::fs::write(&path, text).unwrap();
        let shorten = |error: Error| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        let mut rows = EventRows::open(&path).map_err(shorten)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(shorten)? {
            all.push(row);
        }
        Ok(all)
    }

    fn operations(text: &str) -> Vec<Operation> {
        read(text).unwrap().into_iter().map(|row| row.operation).collect()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn messages_with_and_without_their_own_time_are_told_apart() {
        let post = |created| Operation::InsertPost { id: 1, created: at(created), creator: 3, forum: Some(4) };
        let comment = |created| Operation::InsertComment { id: 2, created: at(created), creator: 3, parent: 1 };
        let own = "seq|eventMs|op|a|b|c|d\n0|900|INS6_POST|1|800|3|4\n1|901|INS7_COMMENT|2|801|3|1\n";
        assert_eq!(operations(own), [post(800), comment(801)]);
        let events = "seq|eventMs|op|a|b|c\n0|900|INS6_POST|1|3|4\n1|901|INS7_COMMENT|2|3|1\n";
        assert_eq!(operations(events), [post(900), comment(901)]);
        let padded = "seq|eventMs|op|a|b|c|d\n0|900|INS6_POST|1|3|4|\n1|901|INS7_COMMENT|2|3|1|\n";
        assert_eq!(operations(padded), [post(900), comment(901)]);
        let nowhere = "seq|eventMs|op|a|b|c|d\n0|900|INS6_POST|1|900|3|\n";
        let expected = Operation::InsertPost { id: 1, created: at(900), creator: 3, forum: None };
        assert_eq!(operations(nowhere), [expected]);
    }

    #[test]
    fn every_operation_is_understood() {
        let text = "seq|eventMs|op|a|b|c\n0|9|INS1_PERSON|1|Ada|King\n1|9|INS2_LIKE_POST|1|2|\n2|9|INS3_LIKE_COMMENT|1|2|\n\
                    3|9|INS4_FORUM|5|1|Wall of Ada\n4|9|INS5_MEMBER|1|5|\n5|9|INS8_KNOWS|1|2|\n6|9|DEL1_PERSON|1||\n\
                    7|9|DEL2_LIKE_POST|1|2|\n8|9|DEL3_LIKE_COMMENT|1|2|\n9|9|DEL4_FORUM|5||\n10|9|DEL6_POST|2||\n\
                    11|9|DEL7_COMMENT|2||\n12|9|DEL8_KNOWS|1|2|\n";
        let like = Operation::InsertLike { person: 1, message: 2 };
        let unlike = Operation::DeleteLike { person: 1, message: 2 };
        let expected = [
            Operation::InsertPerson { id: 1, first: "Ada".into(), last: "King".into() },
            like.clone(),
            like,
            Operation::InsertForum { id: 5, moderator: 1, title: "Wall of Ada".into() },
            Operation::Membership,
            Operation::InsertKnows { one: 1, other: 2 },
            Operation::DeletePerson { id: 1 },
            unlike.clone(),
            unlike,
            Operation::DeleteForum { id: 5 },
            Operation::DeleteMessage { id: 2 },
            Operation::DeleteMessage { id: 2 },
            Operation::DeleteKnows { one: 1, other: 2 },
        ];
        assert_eq!(operations(text), expected);
    }

    #[test]
    fn seconds_in_the_header_hold_for_the_time_within_a_message_too() {
        let rows = read("seq|eventSec|op|a|b|c|d\n0|9|INS6_POST|1|8|3|4\n").unwrap();
        assert_eq!(rows[0].at, at(9_000));
        assert!(matches!(rows[0].operation, Operation::InsertPost { created, .. } if created == at(8_000)));
    }

    #[test]
    fn a_bad_line_is_an_error_at_its_field() {
        for (line, expected) in [
            (
                "0|9|INS9_DANCE|1|2|3",
                "updates.csv, line 2, column 3 (op): \"INS9_DANCE\" is not an operation; known are INS1",
            ),
            ("0|9|INS2_FORUM|1|2|3", "updates.csv, line 2, column 3 (op): \"INS2_FORUM\" is not an operation"),
            ("0|x|INS8_KNOWS|1|2|", "updates.csv, line 2, column 2 (eventMs): \"x\" is not a whole number"),
            ("0|9|INS8_KNOWS|1||", "updates.csv, line 2, column 5 (b): nothing is here: an id or a time belongs here"),
            ("0|9|INS7_COMMENT|1|2|", "updates.csv, line 2, column 6 (c): nothing is here"),
            ("0|9|DEL6_POST|1|", "updates.csv, line 2: 5 fields where the header has 6"),
        ] {
            let error = read(&format!("seq|eventMs|op|a|b|c\n{line}\n")).unwrap_err();
            assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        }
    }

    #[test]
    fn a_sequence_that_goes_back_or_stands_still_is_refused() {
        for second in [6, 7] {
            let text = format!("seq|eventMs|op|a|b|c\n7|9|DEL6_POST|1||\n{second}|9|DEL6_POST|1||\n");
            assert!(read(&text).unwrap_err().contains("line 3, column 1 (seq)"), "{second}");
        }
    }
}
