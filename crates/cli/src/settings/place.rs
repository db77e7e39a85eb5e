use std::fmt;
use std::path::PathBuf;

/// Where a value was given, so that an error can point there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Line and column count from 1; the column counts characters.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Environment {
        variable: String,
    },
    /// A flag as it was typed.
    Flag {
        text: String,
    },
}

impl Place {
    pub(crate) fn in_file(path: impl Into<PathBuf>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::File {
            path: path.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { text } => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_file_counts_lines_and_characters_from_one() {
        let text = "a = 1\nä = 2\n";
        for (offset, shown) in [(0, "f:1:1"), (6, "f:2:1"), (9, "f:2:3"), (99, "f:3:1")] {
            assert_eq!(Place::in_file("f", text, offset).to_string(), shown, "offset {offset}");
        }
    }
}
