//! What is in charts/ against the program itself: every setting, every argument, every metric, every command named there is one
//! that it has. What cannot be checked here is skipped by name.

mod azure;
mod commands;
mod helm;
mod manifests;
mod metrics;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// A Python that has these modules.
fn python_with(modules: &str) -> Option<String> {
    let python = std::env::var("FEEDMILL_PYTHON").unwrap_or("python3".to_owned());
    let there = Command::new(&python).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
    there.is_ok_and(|status| status.success()).then_some(python)
}

/// What a Python script says to this input.
fn said_to(python: &str, script: &str, input: &serde_json::Value) -> Output {
    let mut command = Command::new(python);
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
