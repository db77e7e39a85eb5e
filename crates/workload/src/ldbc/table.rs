//! One `|`-separated file: its header decides which column is which, every fault names its place.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use super::error::{Column, Error, Fault, Place};

/// No document may exceed 2 MiB, so no line that becomes one is longer.
const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) struct Table {
    file: Arc<str>,
    reader: Box<dyn BufRead + Send>,
    columns: Vec<String>,
    line: u64,
    text: String,
    /// Where each field of `text` begins; one more, one past the end.
    starts: Vec<usize>,
}

/// A column of times, with the unit its header name gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeColumn {
    pub(super) index: usize,
    pub(super) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// The file's text, decompressed where its name ends in `.gz`.
pub(super) fn open_text(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let file = BufReader::with_capacity(1 << 16, File::open(path)?);
    Ok(if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file: Arc<str> = path.display().to_string().into();
        let reader = open_text(path).map_err(|source| Error::Read { file: Arc::clone(&file), line: 1, source })?;
        let mut table = Self { file, reader, columns: Vec::new(), line: 0, text: String::new(), starts: Vec::new() };
        if !table.read_line()? {
            table.line = 1;
            return Err(table.fault(None, Fault::NoHeader));
        }
        let header = table.text.trim_start_matches('\u{feff}');
        table.columns = header.split('|').map(|name| name.trim().to_owned()).collect();
        Ok(table)
    }

    /// The column of this name, which must be there.
    pub(super) fn column(&self, name: &str) -> Result<usize, Error> {
        self.optional_column(name).ok_or_else(|| self.no_column(name.to_owned()))
    }

    pub(super) fn optional_column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))
    }

    /// `{name}Ms` or `{name}Sec`.
    pub(super) fn time_column(&self, name: &str) -> Result<TimeColumn, Error> {
        let (milliseconds, seconds) = (format!("{name}Ms"), format!("{name}Sec"));
        if let Some(index) = self.optional_column(&milliseconds) {
            return Ok(TimeColumn { index, unit: Unit::Milliseconds });
        }
        match self.optional_column(&seconds) {
            Some(index) => Ok(TimeColumn { index, unit: Unit::Seconds }),
            None => Err(self.no_column(format!("{milliseconds} or {seconds}"))),
        }
    }

    fn no_column(&self, names: String) -> Error {
        let place = Place { file: Arc::clone(&self.file), line: 1, column: None };
        Error::Malformed { place, fault: Fault::NoColumn { names, found: self.columns.join("|") } }
    }

    /// Goes to the next line; `false` after the last one.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        if !self.read_line()? {
            return Ok(false);
        }
        self.starts.clear();
        self.starts.push(0);
        self.starts.extend(self.text.match_indices('|').map(|(index, _)| index + 1));
        self.starts.push(self.text.len() + 1);
        let found = self.starts.len() - 1;
        if found == self.columns.len() {
            return Ok(true);
        }
        Err(self.fault(None, Fault::FieldCount { expected: self.columns.len(), found }))
    }

    fn read_line(&mut self) -> Result<bool, Error> {
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes.clear();
        let read = (&mut self.reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes);
        read.map_err(|source| Error::Read { file: Arc::clone(&self.file), line: self.line + 1, source })?;
        if bytes.is_empty() {
            return Ok(false);
        }
        self.line += 1;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            let too_long = bytes.len() >= LINE_BYTES_MAX;
            let fault = if too_long { Fault::LineTooLong { max: LINE_BYTES_MAX } } else { Fault::Torn };
            return Err(self.fault(None, fault));
        }
        bytes.pop_if(|last| *last == b'\r');
        match String::from_utf8(bytes) {
            Ok(text) => self.text = text,
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let index = before.iter().filter(|byte| **byte == b'|').count();
                return Err(self.fault(Some(index), Fault::NotUtf8));
            }
        }
        Ok(true)
    }

    /// Number of the current line, the header being 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn text(&self, column: usize) -> &str {
        &self.text[self.starts[column]..self.starts[column + 1] - 1]
    }

    pub(super) fn id(&self, column: usize) -> Result<u64, Error> {
        let value = self.text(column);
        value.parse().map_err(|_| {
            let fault = if value.is_empty() { Fault::Empty } else { Fault::NotANumber { value: shown(value) } };
            self.fault(Some(column), fault)
        })
    }

    /// `None` where the field is empty.
    pub(super) fn optional_id(&self, column: usize) -> Result<Option<u64>, Error> {
        if self.text(column).is_empty() { Ok(None) } else { self.id(column).map(Some) }
    }

    pub(super) fn time(&self, column: TimeColumn) -> Result<Timestamp, Error> {
        let value = self.id(column.index)?;
        let number = i64::try_from(value).ok();
        let (time, unit) = match column.unit {
            Unit::Milliseconds => {
                (number.and_then(|number| Timestamp::from_millisecond(number).ok()), "milliseconds since 1970")
            }
            Unit::Seconds => (number.and_then(|number| Timestamp::from_second(number).ok()), "seconds since 1970"),
        };
        time.ok_or_else(|| self.fault(Some(column.index), Fault::NotATime { value, unit }))
    }

    /// An error at a column of the current line.
    pub(super) fn fault(&self, column: Option<usize>, fault: Fault) -> Error {
        self.fault_at(self.line, column, fault)
    }

    pub(super) fn fault_at(&self, line: u64, column: Option<usize>, fault: Fault) -> Error {
        let column = column
            .map(|index| Column { number: index + 1, name: self.columns.get(index).cloned().unwrap_or_default() });
        Error::Malformed { place: Place { file: Arc::clone(&self.file), line, column }, fault }
    }
}

/// As much of a value as an error needs to show.
fn shown(value: &str) -> String {
    value.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn table(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<Table, Error>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let table = Table::open(&path);
        (folder, table)
    }

    fn gz(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// The error that reading the file to its end gives, without the folder's name.
    fn failure(name: &str, bytes: &[u8]) -> String {
        let (folder, table) = table(name, bytes);
        let error = match table {
            Err(error) => error,
            Ok(mut table) => loop {
                match table.advance() {
                    Ok(true) => {}
                    Ok(false) => panic!("{name} was read without an error"),
                    Err(error) => break error,
                }
            },
        };
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let (_folder, table) = table("a.csv", b"content|createdSec|id\nhello|2|1\r\n");
        let mut table = table.unwrap();
        let (id, created) = (table.column("id").unwrap(), table.time_column("created").unwrap());
        assert!(table.advance().unwrap());
        assert_eq!(table.id(id).unwrap(), 1);
        assert_eq!(table.time(created).unwrap(), Timestamp::from_second(2).unwrap());
        assert_eq!(table.text(table.optional_column("content").unwrap()), "hello");
        assert!(!table.advance().unwrap());
    }

    #[test]
    fn the_header_decides_between_seconds_and_milliseconds() {
        for (header, expected) in [("createdSec", 2_000_000), ("createdMs", 2_000)] {
            let (_folder, table) = table("a.csv.gz", &gz(&format!("{header}\n2000\n")));
            let mut table = table.unwrap();
            let created = table.time_column("created").unwrap();
            assert!(table.advance().unwrap());
            assert_eq!(table.time(created).unwrap().as_millisecond(), expected);
        }
    }

    #[test]
    fn milliseconds_under_a_header_of_seconds_are_noticed() {
        let (_folder, table) = table("a.csv", b"createdSec\n1290687902110\n");
        let mut table = table.unwrap();
        assert!(table.advance().unwrap());
        let error = table.time(table.time_column("created").unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("a.csv, line 2, column 1 (createdSec): 1290687902110 seconds since 1970 is no time before the year 10000: check the unit in the header"), "{error}");
    }

    #[test]
    fn a_value_that_is_no_number_is_shown_with_its_place() {
        let (_folder, table) = table("a.csv", b"id|creator\n1|2\n1|x2\n");
        let mut table = table.unwrap();
        assert!(table.advance().unwrap() && table.advance().unwrap());
        let error = table.id(1).unwrap_err().to_string();
        assert!(error.contains("a.csv, line 3, column 2 (creator): \"x2\" is not a whole number"), "{error}");
    }

    #[test]
    fn every_kind_of_damage_names_file_line_and_remedy() {
        for (name, bytes, expected) in [
            ("a.csv", b"".as_slice(), "a.csv, line 1: the file is empty"),
            ("a.csv", b"id|x\n1|2\n3|4", "a.csv, line 3: the last line is cut off"),
            ("a.csv", b"id|x", "a.csv, line 1: the last line is cut off"),
            ("a.csv", b"id|x\n1|2\n3\n", "a.csv, line 3: 1 fields where the header has 2"),
            ("a.csv", b"id|x\n1|2|3\n", "a.csv, line 2: 3 fields where the header has 2"),
            ("a.csv", b"id|x\n\n", "a.csv, line 2: 1 fields where the header has 2"),
            ("a.csv", b"id|x\n1|\xff\n", "a.csv, line 2, column 2 (x): the text is not UTF-8"),
            ("a.csv.gz", b"id|x\n1|2\n3|4\n5|6\n", "read a.csv.gz, line 1: the file is not what its name says"),
            ("a.csv.gz", &gz("id|x\n1|2\n")[..18], "read a.csv.gz, line 2: the compressed file is cut off"),
        ] {
            let error = failure(name, bytes);
            assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        }
    }

    #[test]
    fn a_missing_column_lists_what_is_there() {
        let (_folder, table) = table("a.csv", b"id|name\n");
        let error = table.unwrap().time_column("created").unwrap_err().to_string();
        assert!(
            error.ends_with("a.csv, line 1: the header has no column createdMs or createdSec; it has id|name"),
            "{error}"
        );
    }
}
