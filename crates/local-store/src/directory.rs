use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// What this program writes and reads.
const FORMAT: &str = "feedmill-store 2";
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

/// A store's directory, held by this process for as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where the storage engine has its files.
    pub(crate) data: PathBuf,
    /// The lock goes with the file, also when the process is killed.
    lock: File,
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a process that is being started at this moment and still has all files
        // of this one. If it fails, closing is what remains.
        let _closed_anyway = self.lock.unlock();
    }
}

impl Directory {
    /// Creates it when it is missing. A directory with other things in it is left alone.
    pub(crate) fn hold(dir: &Path) -> Result<Self, OpenError> {
        if dir.exists() && !dir.is_dir() {
            return Err(OpenError::NotADirectory { dir: dir.to_owned() });
        }
        std::fs::create_dir_all(dir).map_err(OpenError::io(dir, "create the directory"))?;
        let is_new = !dir.join(FORMAT_FILE).exists();
        if is_new && !is_empty(dir)? {
            return Err(OpenError::Foreign { dir: dir.to_owned() });
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE));
        let lock = lock.map_err(OpenError::io(dir, "open its lock file"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
            TryLockError::Error(error) => OpenError::io(dir, "lock it")(error),
        })?;
        if is_new {
            write_format(dir).map_err(OpenError::io(dir, "write its format"))?;
        }
        let found = std::fs::read_to_string(dir.join(FORMAT_FILE)).map_err(OpenError::io(dir, "read its format"))?;
        if found.trim_end() != FORMAT {
            let found = found.chars().take(40).collect();
            return Err(OpenError::Format { dir: dir.to_owned(), found, expected: FORMAT });
        }
        Ok(Self { data: dir.join("data"), lock })
    }
}

/// Apart from what an opening that was interrupted may have left.
fn is_empty(dir: &Path) -> Result<bool, OpenError> {
    for entry in std::fs::read_dir(dir).map_err(OpenError::io(dir, "list it"))? {
        let name = entry.map_err(OpenError::io(dir, "list it"))?.file_name();
        if name != LOCK_FILE && name != *temporary_format() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn temporary_format() -> String {
    format!("{FORMAT_FILE}.new")
}

/// Whole or not at all, also when the power goes.
fn write_format(dir: &Path) -> std::io::Result<()> {
    let temporary = dir.join(temporary_format());
    let mut file = File::create(&temporary)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(FORMAT_FILE))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(Directory::hold(&file), Err(OpenError::NotADirectory { .. })));
        assert!(matches!(Directory::hold(dir.path()), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("new/store");
        let held = Directory::hold(&store).unwrap();
        let error = Directory::hold(&store).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }) && error.to_string().contains("new/store"), "{error}");
        drop(held);
        Directory::hold(&store).unwrap();
    }

    #[test]
    fn another_format_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FORMAT_FILE), "feedmill-store 9\n").unwrap();
        let error = Directory::hold(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Format { .. }) && error.to_string().contains("feedmill-store 9"), "{error}");
    }
}
