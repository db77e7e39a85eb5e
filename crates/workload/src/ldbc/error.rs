use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a data folder cannot be read. Every text says where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open the data folder {}: {}; give a folder with persons, knows, messages and likes as .csv or .csv.gz", folder.display(), why.text())]
    Folder { folder: PathBuf, why: NoFolder },

    #[error("the data folder {} has no {name}.{kind} and no {name}.{kind}.gz: add the file, or give another folder", folder.display())]
    MissingFile { folder: PathBuf, name: &'static str, kind: &'static str },

    #[error("the data folder {} has both {first} and {second}: remove the one that is not meant", folder.display())]
    Ambiguous { folder: PathBuf, first: String, second: String },

    /// The line could not be had: permissions, a failing disk, a damaged or cut-off gzip file.
    #[error("read {file}, line {line}: {}", remedy(source))]
    Read { file: Arc<str>, line: u64, source: io::Error },

    #[error("{place}: {fault}")]
    Malformed { place: Place, fault: Fault },
}

/// What stands where the data folder should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFolder {
    Missing,
    NotAFolder,
    Unreadable,
}

impl NoFolder {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "there is no such folder",
            Self::NotAFolder => "this is not a folder",
            Self::Unreadable => "this user may not read it",
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed file is cut off: copy it again",
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            "the file is not what its name says, or damaged: copy it again"
        }
        io::ErrorKind::PermissionDenied => "allow this user to read it",
        _ => "the file cannot be read",
    }
}

/// Where in a file. Lines and columns are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u64,
    pub column: Option<Column>,
}

/// A field of a line; in a JSON file, a character, which has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub number: usize,
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)?;
        match &self.column {
            None => Ok(()),
            Some(Column { number, name }) if name.is_empty() => write!(f, ", column {number}"),
            Some(Column { number, name }) => write!(f, ", column {number} ({name})"),
        }
    }
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file is empty: its first line must name the columns, separated by |")]
    NoHeader,
    #[error("the header has no column {names}; it has {found}")]
    NoColumn { names: String, found: String },
    #[error("the last line is cut off, it has no line end: copy the file again")]
    Torn,
    #[error("the line is longer than {max} bytes: a line end is missing, or this is another kind of file")]
    LineTooLong { max: usize },
    #[error("{found} fields where the header has {expected}: a | is missing or too many")]
    FieldCount { expected: usize, found: usize },
    #[error("the text is not UTF-8: convert the file")]
    NotUtf8,
    #[error("{value:?} is not a whole number: an id or a time belongs here")]
    NotANumber { value: String },
    #[error("nothing is here: an id or a time belongs here")]
    Empty,
    #[error("{value} {unit} is no time before the year 10000: check the unit in the header")]
    NotATime { value: u64, unit: &'static str },
    #[error("{op:?} is not an operation; known are {known}")]
    UnknownOperation { op: String, known: &'static str },
    #[error("seq {seq} does not follow {last}: sort the file by seq, each number once")]
    Order { seq: u64, last: u64 },
    #[error(
        "{what} {id} is not there, neither in the snapshot nor earlier in the stream: the files do not belong together"
    )]
    Unknown { what: &'static str, id: u64 },
    #[error("what this refers to was deleted before")]
    Deleted,
    #[error("{what} {id} is there twice: remove one line")]
    Duplicate { what: &'static str, id: String },
    #[error(
        "this message was by {old}, before and is by {new}, here: an id never changes its author or what it replies to"
    )]
    Identity { old: String, new: String },
    #[error("not an object with lists of ids `persons`, `forums` and `messages`: {reason}")]
    Json { reason: String },
}
