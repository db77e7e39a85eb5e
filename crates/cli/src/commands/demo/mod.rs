//! Everything at once: a network is loaded while the processors run, and what came of it is shown.

mod network;
mod person;
mod show;

use std::path::PathBuf;

use feedmill_engine::Lifetime;
use feedmill_workload::loader::{LoadError, Loader};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::network::{Loaded, Network};
use crate::args::Serving;
use crate::error::{Failure, Result};
use crate::running::Running;
use crate::settings::Settings;
use crate::{store, wiring};

/// Loads a social network, runs all processors until caught up, and shows what came of it
///
/// In memory, or on disk with --data-dir. Without --data the network is generated: a few accounts have very many followers. On a store
/// that has the same network already nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  feedmill demo
  feedmill demo --data-dir ./store --users 500
  feedmill demo --data ./snb --until 2012-09-01T00:00:00Z --set notifications.retention=none")]
pub(crate) struct Args {
    /// Folder with a social network in a layout of the LDBC benchmark (persons, knows, messages, likes as .csv or .csv.gz; perhaps
    /// a stream of updates)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Loads only what was created before this, such as 2012-09-01T00:00:00Z; a generated network ends there instead of now
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,

    /// Stops after so many events of the stream; 0 loads the snapshot alone
    #[arg(long, value_name = "N", requires = "data")]
    events: Option<u64>,

    /// People in the generated network, instead of generate.users; posts and likes in proportion
    #[arg(long, value_name = "N", conflicts_with = "data", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    users: Option<u32>,

    /// One seed makes one network; instead of generate.seed
    #[arg(long, value_name = "S", conflicts_with = "data")]
    seed: Option<u64>,

    #[command(flatten)]
    pub(crate) serving: Serving,
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    feedmill_documents::time::parse(text).ok_or_else(|| "a time such as 2012-09-01T00:00:00Z".to_owned())
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    // What is wrong with the data is said before anything is made or written.
    let network = Network::open(&args, &settings)?;
    let running = Running::prepare(&settings).await?;
    let (clock, entropy) = (running.clock.clone(), running.entropy.clone());
    let store::Opened { database, failed } = store::open(&settings, clock.clone()).await?;
    store::provision(&*database, &settings).await?;
    if store::folder(&settings).is_none() {
        running.screen.say("the store is in memory and gone at the end; --data-dir DIR keeps it");
    }

    let began = clock.monotonic();
    let plan = network.plan(&*database, clock.now()).await?;
    let loading = plan.loading();
    let loader = Loader::new(database.clone(), clock.clone(), entropy.clone(), settings.loader.clone());
    let engine = wiring::engine(&settings, database.clone(), clock.clone(), entropy);
    // The sources are quiet once the loader is through, and not before. It reads files, so it has a task of its own.
    let quiet = CancellationToken::new();
    let load = tokio::spawn(load(plan.load(loader, loading.clone()), quiet.clone(), running.stop.clone()));
    let summary = running.process(engine, Lifetime::UntilCaughtUp { quiet }, failed, Some(&loading)).await;
    if summary.is_err() {
        running.stop.cancel();
    }
    let loaded = load.await.map_err(|error| Failure::failed(error, "this is a bug: please report it"))??;
    let summary = summary?;
    let (Some(loaded), false) = (loaded, running.stop.is_cancelled()) else {
        return Err(Failure::failed(
            anyhow::anyhow!("stopped before everything was loaded and settled"),
            again(&settings),
        ));
    };
    let seconds = clock.monotonic().since(began).as_secs_f64();
    show::all(&settings, &*database, &summary, &loaded, seconds).await
}

/// Loads until `stop`, and says on `quiet` when nothing more comes. A load that fails stops the processors in order, before anybody
/// hears of it.
async fn load(
    loading: impl Future<Output = std::result::Result<Loaded, LoadError>>,
    quiet: CancellationToken,
    stop: CancellationToken,
) -> Result<Option<Loaded>> {
    match stop.run_until_cancelled(loading).await {
        Some(Ok(loaded)) => {
            quiet.cancel();
            Ok(Some(loaded))
        }
        Some(Err(error)) => {
            stop.cancel();
            Err(Failure::failed(error, "what was written stays; the same command again goes on from there"))
        }
        None => Ok(None),
    }
}

fn again(settings: &Settings) -> &'static str {
    match store::folder(settings) {
        Some(_) => "the same command again goes on where this one stopped",
        None => "with --data-dir DIR the same command again goes on where it stopped",
    }
}
