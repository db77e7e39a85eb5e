use std::cell::RefCell;
use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_outbox::Loaded;
use indicatif::HumanCount;

use crate::error::{Failure, Result};
use crate::postgres;
use crate::progress::{Screen, tell};
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// Gives an event to everything that was there before the outbox was
///
/// Page by page beside whatever is being written, without a gap or a duplicate and without a lock on a table; a relay must be running,
/// because it waits while more than outbox.snapshot_pending_max events wait. Stopped, it goes on where it was; once through, it does
/// nothing more.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Begins from the first row, whatever was loaded before
    #[arg(long)]
    again: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let (screen, stop) = (Screen::new(), stop_on_signals()?);
    let outbox = postgres::outbox(settings, Arc::new(SystemClock)).await?;
    let so_far = RefCell::new((String::new(), Loaded::default()));
    let progress = |table: &str, loaded| *so_far.borrow_mut() = (table.to_owned(), loaded);
    let shown = || {
        let (table, Loaded { rows, events, .. }) = &*so_far.borrow();
        format!("{} rows read, {} events made, at {table}", HumanCount(*rows), HumanCount(*events))
    };
    let loaded = tokio::select! {
        loaded = outbox.snapshot(args.again, &stop, progress) => loaded?,
        () = tell(&screen, &SystemClock, shown) => unreachable!("telling has no end of its own"),
    };
    screen.say(&format!("{} rows read, {} events made", HumanCount(loaded.rows), HumanCount(loaded.events)));
    if loaded.finished {
        return Ok(());
    }
    Err(Failure::failed(
        anyhow::anyhow!("stopped before every row was read"),
        "the same command again goes on where this one stopped",
    ))
}
