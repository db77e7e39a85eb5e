//! Runs the binary and reads what it leaves.

mod database;
mod served;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use feedmill_workload::expected::{self, Expected, Sources, visible};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(crate) use database::Database;
pub(crate) use served::Served;

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its stdout; fails with what it said when it did not succeed.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its stderr; fails when it did not end with this code, or without a hint.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains("\nhint: "), "no hint:\n{}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The command without anything of this process's environment, ready to be run or spawned.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feedmill"));
    // Otherwise the client of an endpoint asks first whether it runs on a virtual machine of Azure, which takes seconds where it does not.
    command
        .env_clear()
        .env("COSMOS_DISABLE_IMDS", "1")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn feedmill<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    command(arguments).output().unwrap().into()
}

/// With this on stdin.
pub(crate) fn feedmill_reads<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, stdin: &str) -> Ran {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // It may have ended before it read everything, which is what some tests are about.
    let _sent = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// A store folder that is removed with this, and commands on it.
pub(crate) struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The arguments with `--data-dir` of this store.
    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let store = ["--data-dir".to_owned(), self.path().display().to_string()];
        arguments.iter().map(|&argument| argument.to_owned()).chain(store).collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        feedmill(self.arguments(arguments))
    }

    /// Imports documents, and gives what import said of it.
    pub(crate) fn import(&self, container: &str, documents: &[Value]) -> String {
        let lines: String = documents.iter().map(|document| format!("{document}\n")).collect();
        let ran = feedmill_reads(self.arguments(&["import", container]), &lines);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    }

    /// Every document of a container, in the order of the export.
    pub(crate) fn export(&self, container: &str) -> Vec<Value> {
        lines(&self.run(&["export", container]).succeeded())
    }

    /// Every projection is the pure function of the sources; `when` says so in a failure.
    pub(crate) fn assert_projections(&self, sources: &Sources, options: expected::Options, now: Timestamp, when: &str) {
        let expected = Expected::new(sources, options, now);
        for container in ["userFeed", "counters", "notifications", "publicProfiles"] {
            let mut found = BTreeMap::new();
            for document in self.export(container).iter().filter_map(|document| visible(document, now)) {
                found.insert(document["id"].as_str().unwrap().to_owned(), document);
            }
            // A count of nothing is 0, whether or not somebody wrote it down.
            found.retain(|_, document| container != "counters" || document["value"] != 0);
            let expected = expected.documents(container).filter(|(_, document)| document["value"] != 0);
            let expected: BTreeMap<String, Value> = expected.collect();
            let only_in = |some: &BTreeMap<String, Value>, others: &BTreeMap<String, Value>| -> Vec<String> {
                some.keys().filter(|id| !others.contains_key(*id)).cloned().collect()
            };
            let (missing, extra) = (only_in(&expected, &found), only_in(&found, &expected));
            assert!(missing.is_empty() && extra.is_empty(), "{container} {when}: missing {missing:?}, extra {extra:?}");
            for (id, document) in &expected {
                assert_eq!(&found[id], document, "{container} {when}: {id}");
            }
        }
    }

    pub(crate) fn catch_up(&self, more: &[&str]) {
        let arguments = [&["run", "--until-caught-up"], more].concat();
        self.run(&arguments).succeeded();
    }
}

/// Lines of JSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What of documents must be equal between two runs: everything by id, but for what the store adds, `_source`, and what depends on
/// when and how often something was counted or written.
pub(crate) fn comparable(documents: &[Value]) -> BTreeMap<String, Map<String, Value>> {
    let compared = documents.iter().map(|document| {
        let mut fields = document.as_object().unwrap().clone();
        fields.retain(|name, _| !name.starts_with('_') && !matches!(name.as_str(), "ttl" | "asOf"));
        (document["id"].as_str().unwrap().to_owned(), fields)
    });
    compared.collect()
}

/// The folder of a data set: `$FEEDMILL_DATA/name`, or `shared/data/name` beside the checkout. Says that the test is skipped where
/// there is none.
pub(crate) fn data(test: &str, name: &str) -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all = std::env::var_os("FEEDMILL_DATA").map_or_else(|| checkout.join("../shared/data"), PathBuf::from);
    let folder = all.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the capture of the test harness, so that nobody takes it for a test that passed.
    let _said = writeln!(std::io::stderr().lock(), "skipped: {test}: no data set in {}", folder.display());
    None
}
