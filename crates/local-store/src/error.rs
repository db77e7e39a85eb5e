use std::path::{Path, PathBuf};

use feedmill_store_api::{Error, ErrorKind};

use crate::storage::Failure;

/// Why a store on disk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open the store in {}: another process has it open; stop that one, or choose another directory", dir.display())]
    InUse { dir: PathBuf },
    #[error("open a store in {}: that is not a directory; choose another path", dir.display())]
    NotADirectory { dir: PathBuf },
    #[error("open a store in {}: the directory has files that are not a store's; choose an empty or a new one", dir.display())]
    Foreign { dir: PathBuf },
    #[error("open the store in {}: it has format {found:?}, this program reads {expected:?}; use the program that wrote it", dir.display())]
    Format { dir: PathBuf, found: String, expected: &'static str },
    #[error("open the store in {}: the disk is full; free space and try again, nothing acknowledged is lost", dir.display())]
    Full { dir: PathBuf, source: std::io::Error },
    #[error("open the store in {}: what is stored there cannot be understood; restore the directory from a copy, or move it away and load the data again", dir.display())]
    Corrupt { dir: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("open the store in {}: {attempted}", dir.display())]
    Io { dir: PathBuf, attempted: &'static str, source: std::io::Error },
}

impl OpenError {
    pub(crate) fn io(dir: &Path, attempted: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| {
            let dir = dir.to_owned();
            match source.kind() {
                std::io::ErrorKind::NotADirectory => Self::NotADirectory { dir },
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { dir, source },
                _ => Self::Io { dir, attempted, source },
            }
        }
    }

    pub(crate) fn storage(dir: &Path, error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::InUse { dir: dir.to_owned() },
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                Self::io(dir, "read and write its files")(error)
            }
            other => Self::Corrupt { dir: dir.to_owned(), source: Box::new(other) },
        }
    }
}

/// The storage has failed: everybody must wait until somebody has mended it.
pub(crate) fn unavailable(failure: &Failure) -> Error {
    Error::new(ErrorKind::Unavailable, failure.to_string())
}

pub(crate) fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

pub(crate) fn corrupt(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, text)
}
