use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_store_api::{Container, ErrorKind, Operation, ReadLevel, Result as StoreResult};
use futures::{StreamExt, TryStreamExt};

use crate::error::{Failure, Result};
use crate::line::{Line, LineError, same_content};
use crate::settings::Settings;
use crate::store;

/// Documents under way at the same time; all of different ids, so that their order does not matter.
const LINES_IN_FLIGHT: usize = 64;

/// Reads documents into a container, one line of JSON each, as export prints them
///
/// A document that is already there with the same content is not written. The first bad line ends it with the line's number; what
/// came before it is there, and importing again is harmless.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill import posts_v2 posts.ndjson --data-dir ./store")]
pub(crate) struct Args {
    /// Such as posts_v2, follows, reactions
    container: String,

    /// File to read instead of stdin
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Imported {
    written: u64,
    unchanged: u64,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let name = args.file.as_ref().map_or("stdin".to_owned(), |path| path.display().to_string());
    let mut input: Box<dyn BufRead> = match &args.file {
        None => Box::new(io::stdin().lock()),
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(|error| unreadable(error, &name))?)),
    };
    let store::Opened { database, .. } = store::open_named(settings, Arc::new(SystemClock)).await?;
    store::provision(&*database, settings).await?;
    let container = store::container(&*database, &args.container).await?;

    let (mut imported, mut number, mut text) = (Imported::default(), 0, String::new());
    let mut group = Group::default();
    loop {
        text.clear();
        number += 1;
        if input.read_line(&mut text).map_err(|error| unreadable(error, &format!("{name}:{number}")))? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let line = match Line::parse(text.trim_end(), container.partition_key_paths()) {
            Ok(line) => line,
            Err(error) => {
                imported.add(group.settle(&*container).await?);
                return Err(bad_line(&error, &name, number, imported));
            }
        };
        if let Some(line) = group.take(line) {
            imported.add(group.settle(&*container).await?);
            group.take(line);
        }
    }
    imported.add(group.settle(&*container).await?);
    anstream::eprintln!("{}: {} written, {} as they were", args.container, imported.written, imported.unchanged);
    Ok(())
}

impl Imported {
    fn add(&mut self, more: Self) {
        self.written += more.written;
        self.unchanged += more.unchanged;
    }
}

fn unreadable(error: io::Error, name: &str) -> Failure {
    Failure::failed(
        anyhow::Error::new(error).context(format!("read {name}")),
        "one JSON object a line, in UTF-8, as export prints it",
    )
}

fn bad_line(error: &LineError, name: &str, number: u64, imported: Imported) -> Failure {
    Failure::failed(
        anyhow::anyhow!("{name}:{number}: {error}"),
        format!("the lines before it are there ({} written): mend it and import again", imported.written),
    )
}

/// Lines that are settled together.
#[derive(Default)]
struct Group {
    lines: Vec<Line>,
    ids: BTreeSet<(String, String)>,
}

impl Group {
    /// Gives the line back where the group is full or has another version of the same document.
    fn take(&mut self, line: Line) -> Option<Line> {
        let identity = (line.key.to_string(), line.id.to_string());
        if self.lines.len() == LINES_IN_FLIGHT || !self.ids.insert(identity) {
            return Some(line);
        }
        self.lines.push(line);
        None
    }

    async fn settle(&mut self, container: &dyn Container) -> StoreResult<Imported> {
        self.ids.clear();
        futures::stream::iter(self.lines.drain(..).map(|line| settle(container, line)))
            .buffer_unordered(LINES_IN_FLIGHT)
            .try_fold(Imported::default(), |mut sum, written| async move {
                sum.add(Imported { written: u64::from(written), unchanged: u64::from(!written) });
                Ok(sum)
            })
            .await
    }
}

/// Whether it had to be written. On the condition of what was read, as everything else is: somebody may be writing too.
async fn settle(container: &dyn Container, line: Line) -> StoreResult<bool> {
    let Line { id, key, body } = line;
    loop {
        let (current, _) = container.read(&key, &id, &ReadLevel::Quorum).await?;
        let operation = match current {
            None => Operation::Create { id: id.clone(), body: body.clone() },
            Some(current) if same_content(&current.body, &body) => return Ok(false),
            Some(current) => Operation::Replace { id: id.clone(), body: body.clone(), if_match: Some(current.etag) },
        };
        match container.write(&key, operation).await {
            Ok(_) => return Ok(true),
            Err(error)
                if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
}
