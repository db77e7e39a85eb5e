use std::io::Write;

use feedmill_outbox::{Selection, Shown};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::confirm::confirm;
use crate::error::Result;
use crate::output::{Lines, Table};
use crate::settings::Settings;

/// Which events.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Key of one event, as `show` prints it
    event: Option<String>,

    /// All that used up their retries
    #[arg(long)]
    dead: bool,

    /// All that failed and were not relayed since, dead or not
    #[arg(long)]
    failed: bool,
}

impl Which {
    fn selection(&self) -> Selection {
        match &self.event {
            Some(event) => Selection::Event(event.clone()),
            None if self.dead => Selection::Dead,
            None => Selection::Failed,
        }
    }
}

/// Shows events, the oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill outbox show --dead")]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,

    /// Prints at most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Gives events all their retries again, from now
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill outbox retry --dead")]
pub(super) struct Retry {
    #[command(flatten)]
    which: Which,
}

/// Gives events up: they count as done, and later events of their keys go on
///
/// The document keeps what it has until a later event of it comes; `feedmill verify sources --repair` brings it up to date at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill outbox skip post:1f0e…:3 --reason 'imported by mistake'")]
pub(super) struct Skip {
    #[command(flatten)]
    which: Which,

    /// Why; kept with the events
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Does not ask
    #[arg(long)]
    yes: bool,
}

/// An event with its payload as what it is.
#[derive(Serialize)]
struct WithPayload<'a> {
    #[serde(flatten)]
    event: &'a Shown,
    document: &'a RawValue,
}

pub(super) async fn show(args: &Show, settings: &Settings) -> Result<()> {
    let selection = args.which.selection();
    let shown = super::open(settings).await?.show(&selection, args.limit).await?;
    if let (Selection::Event(event), true) = (&selection, shown.is_empty()) {
        return Err(feedmill_outbox::Error::NoSuchEvent(event.clone()).into());
    }
    if args.json {
        let mut lines = Lines::to_stdout();
        for event in &shown {
            match serde_json::from_str(&event.payload) {
                Ok(document) => lines.print(&WithPayload { event, document })?,
                Err(_) => lines.print(event)?,
            }
        }
        return Ok(lines.finish()?);
    }
    if shown.is_empty() {
        anstream::eprintln!("nothing there");
        return Ok(());
    }
    let mut table = Table::new(&["event", "state", "created", "failures", "next attempt", "before it", "last error"])
        .right(&[3, 5]);
    for event in &shown {
        table.row([
            event.event_key.clone(),
            event.state.clone(),
            event.created_at.clone(),
            format!("{} of {}", event.retry_count, event.max_retries + 1),
            event.next_retry_at.clone().unwrap_or_default(),
            event.waiting_before.to_string(),
            event.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.print()?;
    if let [only] = shown.as_slice() {
        writeln!(std::io::stdout(), "\n{}", only.payload)?;
    }
    Ok(())
}

pub(super) async fn retry(args: &Retry, settings: &Settings) -> Result<()> {
    let changed = super::open(settings).await?.retry(&args.which.selection()).await?;
    anstream::eprintln!("{changed} events are to be tried again now");
    Ok(())
}

pub(super) async fn skip(args: &Skip, settings: &Settings) -> Result<()> {
    let outbox = super::open(settings).await?;
    let selection = args.which.selection();
    if !args.yes && selection_is_many(&selection) {
        confirm("Give all of them up?")?;
    }
    let changed = outbox.skip(&selection, &args.reason).await?;
    anstream::eprintln!("{changed} events were given up");
    Ok(())
}

fn selection_is_many(selection: &Selection) -> bool {
    !matches!(selection, Selection::Event(_))
}
