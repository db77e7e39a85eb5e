use std::path::{Path, PathBuf};

use feedmill_engine::{Adopted, Operator, RangeIds};
use feedmill_store_api::FeedStart;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Failure, Result};
use crate::operating::failed;
use crate::output::Lines;

/// Prints the lease documents as they are stored, one JSON object a line
#[derive(Debug, clap::Args)]
pub(super) struct Export {}

/// Takes over the places of another change feed processor's leases
///
/// Reads lease documents, one JSON object a line: of the .NET processor, of the Java one (both generations), or of `leases export`. Stop the other
/// processor first: from here on its leases are not looked at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: feedmill leases import java.jsonl --processor counters --source reactions --dry-run --data-dir ./store"
)]
pub(super) struct Import {
    /// File of lease documents
    file: PathBuf,

    /// The processor that goes on from there
    #[arg(long, value_name = "NAME")]
    processor: String,

    /// The container whose feed they are about
    #[arg(long, value_name = "CONTAINER")]
    source: String,

    /// Which keys the ids of partition key ranges mean, as the REST API of Cosmos lists them (GET .../pkranges): for leases of the older Java
    /// processor and old ones of .NET, which say no more than such an id. A container with one range needs none
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,

    /// Also moves leases that are there already
    #[arg(long)]
    replace: bool,

    /// Shows what would be taken over and changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What became of one document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    line: usize,
    range: String,
    start: String,
    outcome: &'static str,
}

pub(super) async fn export(operator: &Operator) -> Result<()> {
    let mut lines = Lines::to_stdout();
    for document in operator.export().await.map_err(failed)? {
        lines.print(&document)?;
    }
    Ok(lines.finish()?)
}

pub(super) async fn import(args: &Import, operator: &Operator) -> Result<()> {
    let text = read(&args.file, "name a file of lease documents")?;
    let ranges = match &args.ranges {
        Some(file) => RangeIds::listed(&read(file, "name a file of partition key ranges")?).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("understand {}", file.display()));
            Failure::misuse(error, "wanted is what GET .../colls/NAME/pkranges answers")
        })?,
        None => RangeIds::unknown(operator.only_range(&args.processor, &args.source).await.map_err(failed)?),
    };
    // All of them are understood before the first is written.
    let mut adopted = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refused = |error: anyhow::Error| {
            Failure::failed(
                error.context(format!("line {} of {}", index + 1, args.file.display())),
                "nothing was written; lease documents are JSON objects, one a line",
            )
        };
        let document: Value = serde_json::from_str(line).map_err(|error| refused(error.into()))?;
        let lease =
            Adopted::from_document(&document, &ranges, &FeedStart::Beginning).map_err(|error| refused(error.into()))?;
        adopted.push((index + 1, lease));
    }
    let mut lines = Lines::to_stdout();
    for (line, lease) in adopted {
        let outcome = if args.dry_run {
            "would be taken over"
        } else if operator.import(&args.processor, &args.source, &lease, args.replace).await.map_err(failed)? {
            "taken over"
        } else {
            "left as it is"
        };
        let taken = Taken { line, range: lease.range.token(), start: shown(&lease.start), outcome };
        if args.json {
            lines.print(&taken)?;
        } else {
            lines.print_text(format!("{} from {}: {outcome}", taken.range, taken.start).as_bytes())?;
        }
    }
    Ok(lines.finish()?)
}

fn read(file: &Path, hint: &'static str) -> Result<String> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::misuse(anyhow::Error::new(error).context(format!("read {}", file.display())), hint))
}

fn shown(start: &FeedStart) -> String {
    match start {
        FeedStart::Beginning => "the beginning".to_owned(),
        FeedStart::Now => "now".to_owned(),
        FeedStart::Time(time) => time.to_string(),
        FeedStart::Position(position) | FeedStart::PositionSince { position, .. } => position.to_string(),
    }
}
