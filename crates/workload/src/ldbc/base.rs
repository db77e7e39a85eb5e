//! `base.ndjson`: ids of what existed before the stream, and nothing else about it.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::error::{Column, Error, Fault, Place};
use super::table::open_text;

/// One object; several lines are one base together.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Base {
    #[serde(deserialize_with = "ids")]
    pub(super) persons: Vec<u64>,
    #[serde(deserialize_with = "ids")]
    pub(super) messages: Vec<u64>,
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(u64),
        Text(String),
    }
    let ids = Vec::<Id>::deserialize(deserializer)?;
    let number = |id| match id {
        Id::Number(number) => Ok(number),
        Id::Text(text) => {
            text.parse().map_err(|_| serde::de::Error::custom(format_args!("{text:?} is not a whole number")))
        }
    };
    ids.into_iter().map(number).collect()
}

impl Base {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file: Arc<str> = path.display().to_string().into();
        let failed = |source: io::Error| Error::Read { file: Arc::clone(&file), line: 1, source };
        // Read to its end before it is parsed, so that a cut-off gzip file is told from bad JSON.
        let mut text = Vec::new();
        open_text(path).and_then(|mut reader| reader.read_to_end(&mut text)).map_err(failed)?;
        let mut base = Self::default();
        let mut line = 0;
        let mut found = false;
        for json in text.as_slice().split(|byte| *byte == b'\n') {
            line += 1;
            if json.trim_ascii().is_empty() {
                continue;
            }
            let more: Self = serde_json::from_slice(json).map_err(|error| {
                let column = Some(Column { number: error.column(), name: String::new() });
                let place = Place { file: Arc::clone(&file), line, column };
                Error::Malformed { place, fault: Fault::Json { reason: reason(&error) } }
            })?;
            base.persons.extend(more.persons);
            base.messages.extend(more.messages);
            found = true;
        }
        if found {
            return Ok(base);
        }
        let place = Place { file, line, column: None };
        Err(Error::Malformed { place, fault: Fault::Json { reason: "the file is empty".to_owned() } })
    }
}

/// The parser's words without its own idea of the place, which does not know the line of the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Base, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.ndjson");
        std::fs::write(&path, text).unwrap();
        let shorten = |error: Error| error.to_string().replace(&format!("{}/", folder.path().display()), "");
        Base::read(&path).map_err(shorten)
    }

    #[test]
    fn ids_are_read_as_numbers_or_text_from_one_line_or_several() {
        let base = read("{\"persons\":[1,\"2\"],\"forums\":[9],\"messages\":[]}\n{\"persons\":[],\"messages\":[5]}\n")
            .unwrap();
        assert_eq!((base.persons, base.messages), (vec![1, 2], vec![5]));
    }

    #[test]
    fn what_is_no_base_is_an_error_with_its_place() {
        for (text, expected) in [
            ("", "base.ndjson, line 1: not an object"),
            ("\n{\"persons\":[1],\"messages\":[", "base.ndjson, line 2, column 27: not an object"),
            (
                "{\"persons\":[1]}",
                "base.ndjson, line 1, column 15: not an object with lists of ids `persons`, `forums` and `messages`: missing field `messages`",
            ),
            ("{\"persons\":[\"x\"],\"messages\":[]}", "base.ndjson, line 1, column"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        }
    }
}
