//! Reads what `strace -f -y` has written of a child that acknowledges writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct Traced {
    /// The last round of each writer.
    pub(super) acknowledged: BTreeMap<u64, u64>,
    /// What was acknowledged without a sync between its journal write and that.
    pub(super) too_early: Vec<String>,
    files: BTreeMap<PathBuf, Length>,
}

#[derive(Clone, Copy, Default)]
struct Length {
    written: u64,
    synced: u64,
}

/// A system call under way: its name, its arguments as printed, and what it was begun with.
struct Call {
    name: String,
    arguments: String,
    /// Of a sync: the bytes that were written when it began, and the rounds that were in them.
    covers: (u64, Vec<String>),
}

#[derive(Default)]
struct Journal {
    /// Rounds that were written to the journal and not yet synced.
    unsynced: Vec<String>,
    synced: std::collections::BTreeSet<String>,
}

impl Traced {
    pub(super) fn read(trace: &str, dir: &Path) -> Self {
        let mut traced = Self::default();
        let mut journal = Journal::default();
        let mut under_way = BTreeMap::<&str, Call>::new();
        for line in trace.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some(call) = under_way.remove(pid) else { continue };
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                traced.finish(&mut journal, call, end, dir);
            } else if let Some((name, rest)) = rest.split_once('(') {
                let (arguments, end) = rest.split_once(" <unfinished ...>").map_or_else(
                    || rest.rsplit_once(" = ").map_or((rest, None), |(arguments, _)| (arguments, Some(rest))),
                    |(arguments, _)| (arguments, None),
                );
                let call = traced.begin(&mut journal, name, arguments, dir);
                match end {
                    Some(end) => traced.finish(&mut journal, call, end, dir),
                    None => drop(under_way.insert(pid, call)),
                }
            }
        }
        traced
    }

    fn begin(&mut self, journal: &mut Journal, name: &str, arguments: &str, dir: &Path) -> Call {
        let path = path(arguments);
        let inside = path.as_ref().is_some_and(|path| path.starts_with(dir));
        if name == "write" && !inside && arguments.contains("ack ") {
            // Counts from its beginning: from then on somebody may have read it.
            let words: Vec<_> = arguments.split("ack ").nth(1).unwrap_or("").split([' ', '\\', '"']).collect();
            let (writer, n) = (words[0].parse::<u64>().unwrap(), words[1].parse::<u64>().unwrap());
            self.acknowledged.insert(writer, n);
            if !journal.synced.contains(&round(writer, n)) {
                self.too_early.push(format!("writer {writer} round {n}"));
            }
        }
        let written = path.and_then(|path| self.files.get(&path)).map_or(0, |length| length.written);
        let covers = if name.contains("sync") { (written, journal.unsynced.clone()) } else { (0, Vec::new()) };
        Call { name: name.to_owned(), arguments: arguments.to_owned(), covers }
    }

    /// A write counts from its end, a sync for what was written when it began.
    fn finish(&mut self, journal: &mut Journal, call: Call, end: &str, dir: &Path) {
        let result =
            end.rsplit_once(" = ").and_then(|(_, result)| result.split([' ', '<']).next()?.parse::<u64>().ok());
        let Some(result) = result else { return };
        if call.name.starts_with("rename") {
            let names: Vec<_> = call.arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
            if let [from, to] = names.as_slice()
                && let Some(length) = self.files.remove(from)
            {
                self.files.insert(to.clone(), length);
            }
            return;
        }
        let Some(path) = path(&call.arguments).filter(|path| path.starts_with(dir)) else { return };
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let length = self.files.entry(path).or_default();
        if call.name.contains("sync") {
            length.synced = length.synced.max(call.covers.0);
            if is_journal {
                journal.synced.extend(call.covers.1.iter().cloned());
                journal.unsynced.retain(|round| !call.covers.1.contains(round));
            }
        } else {
            length.written += result;
            if is_journal {
                journal.unsynced.extend(rounds(&call.arguments));
            }
        }
    }

    /// Copies each file up to its last synced length; gives how much was left out.
    pub(super) fn copy_what_is_synced(&self, from: &Path, to: &Path) -> u64 {
        let mut left_out = 0;
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                std::fs::create_dir(&target).unwrap();
                left_out += self.copy_what_is_synced(&entry.path(), &target);
                continue;
            }
            std::fs::copy(entry.path(), &target).unwrap();
            let length = self.files.get(&entry.path()).copied().unwrap_or_default();
            left_out += length.written - length.synced;
            let file = std::fs::OpenOptions::new().write(true).open(&target).unwrap();
            file.set_len(length.synced.min(file.metadata().unwrap().len())).unwrap();
        }
        left_out
    }
}

/// With `-y` a descriptor is printed as `3</path>`.
fn path(arguments: &str) -> Option<PathBuf> {
    let (descriptor, rest) = arguments.split_once('<')?;
    descriptor.bytes().all(|byte| byte.is_ascii_digit()).then(|| PathBuf::from(rest.split('>').next().unwrap_or(rest)))
}

fn round(writer: u64, n: u64) -> String {
    format!(r#"\"id\":\"counter\",\"pk\":\"writer{writer}\",\"n\":{n},"#)
}

/// All that [`round`] would find in a journal write.
fn rounds(arguments: &str) -> Vec<String> {
    let start = r#"\"id\":\"counter\",\"pk\":\"writer"#;
    arguments
        .match_indices(start)
        .filter_map(|(at, _)| {
            let rest = &arguments[at + start.len()..];
            let (writer, rest) = rest.split_once(r#"\",\"n\":"#)?;
            let (n, _) = rest.split_once(',')?;
            Some(round(writer.parse().ok()?, n.parse().ok()?))
        })
        .collect()
}
