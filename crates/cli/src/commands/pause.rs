use crate::error::Result;
use crate::operating::{failed, known, operator};
use crate::settings::Settings;

/// Stops a processor on all hosts until `resume`
///
/// Each host settles what it has read, stores how far it came and lets go, within seconds. Nothing is lost: changes wait in the feed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill pause notifications --data-dir ./store")]
pub(crate) struct Pause {
    /// Name of the processor
    processor: String,
}

/// Lets a paused processor go on where it was
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill resume notifications --data-dir ./store")]
pub(crate) struct Resume {
    /// Name of the processor
    processor: String,
}

pub(crate) async fn pause(args: &Pause, settings: &Settings) -> Result<()> {
    set(&args.processor, true, settings).await
}

pub(crate) async fn resume(args: &Resume, settings: &Settings) -> Result<()> {
    set(&args.processor, false, settings).await
}

async fn set(processor: &str, paused: bool, settings: &Settings) -> Result<()> {
    known(settings, processor)?;
    operator(settings).await?.pause(processor, paused).await.map_err(failed)?;
    anstream::eprintln!("{processor} {}", if paused { "is paused" } else { "goes on" });
    Ok(())
}
