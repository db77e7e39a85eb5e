//! Compares what is stored with what it is made of.

mod projection;
mod sources;

use clap::Subcommand;

use crate::commands::by_hand::Which;
use crate::error::Result;
use crate::settings::Settings;

/// Compares what is stored with what it is made of
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill verify user-feed --sample 1% --data-dir ./store")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Recomputes feeds from their sources and says every difference; exit code 1 where there is one
    UserFeed(projection::Args),
    /// Recounts counters and says every difference; exit code 1 where there is one
    Counters(projection::Args),
    /// Recomputes notifications from their sources and says every difference; exit code 1 where there is one
    Notifications(projection::Args),
    Sources(sources::Args),
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    match args.action {
        Action::UserFeed(args) => projection::run(Which::UserFeed, &args, settings).await,
        Action::Counters(args) => projection::run(Which::Counters, &args, settings).await,
        Action::Notifications(args) => projection::run(Which::Notifications, &args, settings).await,
        Action::Sources(args) => sources::run(&args, &settings).await,
    }
}
