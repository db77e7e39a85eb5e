//! What is in charts/ against the program itself: every setting, every argument, every metric, every command named there is one
//! that it has. What cannot be checked here is skipped by name.

mod commands;
mod helm;
mod manifests;
mod metrics;

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of charts/.
fn chart(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(chart(name)).unwrap_or_else(|error| panic!("charts/{name}: {error}"))
}

/// Past the capture of the test harness, so that nobody takes it for a test that passed.
fn skipped(what: &str) {
    let _said = writeln!(std::io::stderr().lock(), "skipped: {what}");
}
