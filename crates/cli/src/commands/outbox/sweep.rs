use std::cell::Cell;
use std::sync::Arc;

use feedmill_clock::SystemClock;

use crate::error::{Failure, Result};
use crate::postgres;
use crate::progress::{Screen, tell};
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// Removes what was relayed longer than outbox.retention ago, in small batches
///
/// A running relay does the same by itself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_: &Args, settings: &Settings) -> Result<()> {
    let (screen, stop) = (Screen::new(), stop_on_signals()?);
    let outbox = postgres::outbox(settings, Arc::new(SystemClock)).await?;
    let removed = Cell::new(0);
    let sweeping = async {
        while !stop.is_cancelled() {
            match outbox.sweep().await? {
                0 => return Ok(()),
                some => removed.set(removed.get() + some),
            }
        }
        Err(Failure::failed(anyhow::anyhow!("stopped"), "the same command again goes on where this one stopped"))
    };
    let shown = || format!("{} events removed", removed.get());
    let swept = tokio::select! {
        swept = sweeping => swept,
        () = tell(&screen, &SystemClock, shown) => unreachable!("telling has no end of its own"),
    };
    screen.say(&shown());
    swept
}
