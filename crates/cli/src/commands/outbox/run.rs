use feedmill_outbox::{Lifetime, Progress, Relays, Step, Summary};
use indicatif::HumanCount;

use crate::args::Serving;
use crate::commands::run::Until;
use crate::error::{Failure, Result};
use crate::progress::tell;
use crate::running::Running;
use crate::settings::Settings;
use crate::{postgres, store};

/// Relays events to source documents, until stopped
///
/// Any number of these share one outbox; each has outbox.relays of them. Ctrl-C and SIGTERM stop it in order: it claims nothing more and
/// finishes what it has. Outages of PostgreSQL and of the store are waited out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill outbox run --data-dir ./store --until-caught-up")]
pub(super) struct Args {
    #[command(flatten)]
    until: Until,

    #[command(flatten)]
    pub(super) serving: Serving,
}

pub(super) async fn run(args: Args, settings: Settings) -> Result<()> {
    let running = Running::prepare(&settings).await?;
    let clock = running.clock.clone();
    // Before the store, which this would make.
    let outbox = postgres::outbox(&settings, clock.clone()).await?;
    let store::Opened { database, failed } = store::open_named(&settings, clock.clone()).await?;
    store::provision(&*database, &settings).await?;
    let lifetime = match args.until {
        Until { duration: Some(duration), .. } => Lifetime::For(duration),
        Until { until_caught_up: true, .. } => Lifetime::UntilDrained,
        Until { .. } => Lifetime::UntilStopped,
    };
    let relays = Relays::new(&outbox, &database, &running.entropy);
    let progress = relays.progress();
    let so_far = || shown(&progress.iter().map(Progress::summary).fold(Summary::default(), |sum, one| sum + one));
    let summary = running
        .ready_while(failed, async {
            tokio::select! {
                summary = relays.run(lifetime, running.stop.clone()) => summary,
                () = tell(&running.screen, &*clock, so_far) => unreachable!("telling has no end of its own"),
            }
        })
        .await??;
    running.screen.say(&shown(&summary));
    if summary.total.dead > 0 {
        running.screen.say("`feedmill outbox show --dead` lists the dead letters");
    }
    if args.until.until_caught_up && running.stop.is_cancelled() {
        let error = anyhow::anyhow!("stopped before everything was relayed");
        return Err(Failure::failed(error, "the same command again goes on where this one stopped"));
    }
    Ok(())
}

fn shown(summary: &Summary) -> String {
    let Step { relayed, written, failed, dead, deferred, .. } = summary.total;
    let mut parts = vec![format!("{} events relayed, {} documents written", HumanCount(relayed), HumanCount(written))];
    let also = [
        (failed, "attempts failed"),
        (dead, "events dead"),
        (deferred, "attempts put off, the store was away or busy"),
        (summary.lost, "batches lost to PostgreSQL and done again"),
        (summary.removed, "old events removed"),
    ];
    parts.extend(also.iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{} {of}", HumanCount(*count))));
    parts.join(", ")
}
