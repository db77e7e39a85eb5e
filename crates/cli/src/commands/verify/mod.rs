//! Compares what is stored with what it is made of.

mod sources;

use clap::Subcommand;

use crate::error::Result;
use crate::settings::Settings;

/// Compares what is stored with what it is made of
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Sources(sources::Args),
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    match args.action {
        Action::Sources(args) => sources::run(&args, &settings).await,
    }
}
