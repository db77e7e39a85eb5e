use std::io;

use feedmill_engine::{Difference, DifferenceKind, Judged};
use serde::Serialize;

use super::session::Which;
use crate::output::Lines;

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) people: u64,
    pub(crate) targets: u64,
    pub(crate) written: u64,
    /// Differences beyond what is kept.
    pub(crate) more: u64,
    differences: Vec<(Which, String, Difference)>,
}

/// Differences kept, to be said one by one.
const DIFFERENCES_MAX: usize = 100_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    projection: &'static str,
    user: &'a str,
    id: &'a str,
    difference: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    fields: &'a [String],
    likely_cause: &'static str,
    in_flight: bool,
}

impl Report {
    pub(super) fn take(&mut self, which: Which, user: &str, judged: Judged, written: u64) {
        self.people += 1;
        self.targets += judged.targets;
        self.written += written;
        for difference in judged.differences.into_values() {
            if self.differences.len() < DIFFERENCES_MAX {
                self.differences.push((which, user.to_owned(), difference));
            } else {
                self.more += 1;
            }
        }
    }

    pub(crate) fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().map(|(_, _, difference)| difference)
    }

    pub(crate) fn count(&self) -> usize {
        self.differences.len()
    }

    /// Says each difference; `in_flight` has as many.
    pub(crate) fn print(&self, in_flight: &[bool], json: bool) -> io::Result<()> {
        let mut lines = Lines::to_stdout();
        for ((which, user, difference), &in_flight) in self.differences.iter().zip(in_flight) {
            let (kind, fields) = match &difference.kind {
                DifferenceKind::Missing => ("missing", &[][..]),
                DifferenceKind::Extra => ("extra", &[][..]),
                DifferenceKind::Fields(fields) => ("differs", fields.as_slice()),
            };
            let likely_cause = difference.cause.as_str();
            let id = difference.address.id.as_str();
            if json {
                let projection = which.name();
                lines.print(&Line { projection, user, id, difference: kind, fields, likely_cause, in_flight })?;
            } else {
                let fields = if fields.is_empty() { String::new() } else { format!(" in {}", fields.join(", ")) };
                let why = if in_flight { "in flight" } else { likely_cause };
                lines.print_text(format!("{user}: {id} {kind}{fields} ({why})").as_bytes())?;
            }
        }
        lines.finish()
    }
}
