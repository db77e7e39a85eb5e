use std::time::Duration;

use feedmill_engine::{Lifetime, StartFrom};
use tokio_util::sync::CancellationToken;

use crate::args::Serving;
use crate::error::{Failure, Result};
use crate::output::summary_line;
use crate::running::Running;
use crate::settings::Settings;
use crate::{redis, store, wiring};

/// Runs all processors on a store, until stopped
///
/// Ctrl-C and SIGTERM stop it in order, within engine.shutdown_grace: it takes no more changes, finishes those it has, stores how
/// far it came, and gives its leases to other hosts. Exit code 0 after that, at the end of --for and once --until-caught-up is
/// reached; 1 where a range halted, or --until-caught-up was stopped before. A platform may run it again after any of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill run --data-dir ./store --until-caught-up")]
pub(crate) struct Args {
    #[command(flatten)]
    until: Until,

    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// When a command ends that would run for ever.
#[derive(Debug, clap::Args)]
pub(crate) struct Until {
    /// Ends after this time, such as 5m or 90s
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "until_caught_up")]
    pub(crate) duration: Option<Duration>,

    /// Ends once nothing is left to do
    #[arg(long)]
    pub(crate) until_caught_up: bool,
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "a time such as 5m, 90s or 1h30m".to_owned())
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    let running = Running::prepare(&settings).await?;
    let cache = redis::cache(&settings, &running.entropy)?;
    let store::Opened { database, failed } = store::open_existing(&settings, running.clock.clone()).await?;
    store::provision(&*database, &settings).await?;
    let lifetime = match (args.until.duration, args.until.until_caught_up) {
        (Some(duration), _) => Lifetime::For(duration),
        (None, false) => Lifetime::UntilStopped,
        (None, true) => {
            let quiet = CancellationToken::new();
            quiet.cancel();
            Lifetime::UntilCaughtUp { quiet }
        }
    };
    let mut engine = wiring::engine(&settings, database, running.clock.clone(), running.entropy.clone());
    for processor in cache.iter().flat_map(|cache| feedmill_cache::processors(cache, StartFrom::Now)) {
        engine.add(wiring::of_versions(processor, &settings));
    }
    let summary = running.process(engine, lifetime, failed, None).await?;
    running.screen.say(&summary_line(&summary));
    if args.until.until_caught_up && running.stop.is_cancelled() {
        let error = anyhow::anyhow!("stopped before everything had caught up");
        return Err(Failure::failed(error, "the same command again goes on where this one stopped"));
    }
    Ok(())
}
