use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a page of a change feed ended: the raw etag of that page, quotes included. Opaque; valid for the range it was
/// read from and for every part of it, whatever is split or merged since. Never made from an LSN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(String);

impl Position {
    pub fn new(etag: impl Into<String>) -> Self {
        Self(etag.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
