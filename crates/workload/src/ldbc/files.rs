//! Which files a data folder has.

use std::path::{Path, PathBuf};

use super::error::{Error, NoFolder};

/// The files of one folder, plain or compressed.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// `None` where the layout begins from stubs and has no such table.
    pub(super) persons: Option<PathBuf>,
    pub(super) knows: Option<PathBuf>,
    pub(super) messages: Option<PathBuf>,
    pub(super) likes: Option<PathBuf>,
    pub(super) base: Option<PathBuf>,
    pub(super) events: Option<PathBuf>,
}

impl Files {
    pub(super) fn find(folder: &Path) -> Result<Self, Error> {
        let no_folder = |why| Error::Folder { folder: folder.to_owned(), why };
        match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(no_folder(NoFolder::NotAFolder)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(no_folder(NoFolder::Missing)),
            Err(_) => return Err(no_folder(NoFolder::Unreadable)),
        }
        let base = find(folder, "base", "ndjson")?;
        let table = |name| match find(folder, name, "csv")? {
            None if base.is_none() => Err(Error::MissingFile { folder: folder.to_owned(), name, kind: "csv" }),
            found => Ok(found),
        };
        let events = match (find(folder, "updates", "csv")?, find(folder, "events", "csv")?) {
            (Some(updates), Some(events)) => return Err(ambiguous(folder, &updates, &events)),
            (updates, events) => updates.or(events),
        };
        Ok(Self {
            persons: table("persons")?,
            knows: table("knows")?,
            messages: table("messages")?,
            likes: table("likes")?,
            base,
            events,
        })
    }
}

fn find(folder: &Path, name: &str, kind: &str) -> Result<Option<PathBuf>, Error> {
    let (plain, compressed) = (folder.join(format!("{name}.{kind}")), folder.join(format!("{name}.{kind}.gz")));
    match (plain.is_file(), compressed.is_file()) {
        (true, true) => Err(ambiguous(folder, &plain, &compressed)),
        (true, false) => Ok(Some(plain)),
        (false, true) => Ok(Some(compressed)),
        (false, false) => Ok(None),
    }
}

fn ambiguous(folder: &Path, first: &Path, second: &Path) -> Error {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Error::Ambiguous { folder: folder.to_owned(), first: name(first), second: name(second) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn failure(names: &[&str]) -> String {
        let folder = folder(names);
        Files::find(folder.path()).unwrap_err().to_string().replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn plain_and_compressed_files_are_found_alike() {
        let folder = folder(&["persons.csv", "knows.csv.gz", "messages.csv", "likes.csv.gz", "events.csv"]);
        let files = Files::find(folder.path()).unwrap();
        assert!(files.knows.unwrap().ends_with("knows.csv.gz"));
        assert!(files.events.unwrap().ends_with("events.csv"));
    }

    #[test]
    fn stubs_make_the_tables_optional() {
        let folder = folder(&["base.ndjson.gz", "events.csv.gz"]);
        assert!(Files::find(folder.path()).unwrap().persons.is_none());
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        assert_eq!(
            failure(&["persons.csv", "knows.csv", "likes.csv"]),
            "the data folder DIR has no messages.csv and no messages.csv.gz: add the file, or give another folder"
        );
        assert_eq!(
            failure(&["persons.csv", "persons.csv.gz"]),
            "the data folder DIR has both persons.csv and persons.csv.gz: remove the one that is not meant"
        );
        assert_eq!(
            failure(&["base.ndjson", "updates.csv", "events.csv.gz"]),
            "the data folder DIR has both updates.csv and events.csv.gz: remove the one that is not meant"
        );
    }

    #[test]
    fn a_folder_that_is_missing_or_a_file_is_told_apart() {
        let folder = folder(&["file"]);
        let failure = |name: &str| Files::find(&folder.path().join(name)).unwrap_err().to_string();
        assert!(failure("nowhere").contains("there is no such folder; give a folder with persons"));
        assert!(failure("file").contains("this is not a folder"));
    }
}
