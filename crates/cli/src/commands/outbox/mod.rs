//! The outbox in PostgreSQL: its schema, its relay, and what an operator does about its events.

mod events;
mod migrate;
mod run;
mod schema;
mod snapshot;
mod status;
mod sweep;

use std::sync::Arc;

use clap::Subcommand;
use feedmill_clock::SystemClock;
use feedmill_outbox::Outbox;

use crate::args::Serving;
use crate::error::Result;
use crate::postgres;
use crate::settings::Settings;

/// Relays the outbox in PostgreSQL to source documents, and looks after it
///
/// FEEDMILL_POSTGRES_URL, or the file that postgres.url_file names, says where the database is. `outbox` in the settings says what it looks
/// like: without it, it is as `feedmill outbox migrate` makes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Migrate(migrate::Args),
    Schema(schema::Args),
    Run(run::Args),
    Status(status::Args),
    Show(events::Show),
    Retry(events::Retry),
    Skip(events::Skip),
    Sweep(sweep::Args),
    Snapshot(snapshot::Args),
}

impl Args {
    pub(crate) fn serving(&self) -> Option<&Serving> {
        match &self.action {
            Action::Run(args) => Some(&args.serving),
            _ => None,
        }
    }
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    match args.action {
        Action::Migrate(args) => migrate::run(&args, &settings).await,
        Action::Schema(args) => schema::run(&args, &settings).await,
        Action::Run(args) => run::run(args, settings).await,
        Action::Status(args) => status::run(&args, &settings).await,
        Action::Show(args) => events::show(&args, &settings).await,
        Action::Retry(args) => events::retry(&args, &settings).await,
        Action::Skip(args) => events::skip(&args, &settings).await,
        Action::Sweep(args) => sweep::run(&args, &settings).await,
        Action::Snapshot(args) => snapshot::run(&args, &settings).await,
    }
}

/// For commands that ask or change a few events.
async fn open(settings: &Settings) -> Result<Outbox> {
    postgres::outbox(settings, Arc::new(SystemClock)).await
}
