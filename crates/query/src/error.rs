use std::fmt;

/// Where in the query's text, counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Of the byte at `offset`, which lies on a character's border or at the end.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a query cannot be answered. Each is the caller's to correct: none goes away by trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not Cosmos SQL.
    #[error("syntax error in the query at {place}: {reason}")]
    Syntax { place: Place, reason: String },
    /// Cosmos SQL, but outside the subset.
    #[error("the query uses {feature} at {place}, which is not supported here")]
    Unsupported { place: Place, feature: String },
    /// A query that parses, of a document that it does not fit.
    #[error("the query cannot be answered: {reason}")]
    Unanswerable { reason: &'static str },
    #[error("the query names {name}, but no such parameter was given")]
    MissingParameter { name: String },
    #[error("the parameter {name} must be {expected} where the query uses it")]
    WrongParameter { name: String, expected: &'static str },
}
