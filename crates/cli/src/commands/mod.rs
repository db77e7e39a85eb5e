//! One file a subcommand: its arguments, whose doc comment is its help, and what it does.

pub(crate) mod admin;
mod by_hand;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod counters;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod feed;
pub(crate) mod import;
pub(crate) mod leases;
mod listing;
pub(crate) mod notifications;
pub(crate) mod outbox;
pub(crate) mod pause;
pub(crate) mod provision;
pub(crate) mod run;
pub(crate) mod scaler;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod verify;

use crate::args::{Args, Command};
use crate::error::Result;
use crate::settings;

pub(crate) async fn dispatch(args: Args) -> Result<()> {
    let given = args.given(settings::environment());
    let settings = || settings::load(&given);
    match args.command {
        Command::Completions(args) => completions::run(&args),
        Command::Config(args) => config::run(&args, &settings()?),
        Command::Demo(args) => Box::pin(demo::run(args, settings()?)).await,
        Command::Run(args) => Box::pin(run::run(args, settings()?)).await,
        Command::Feed(args) => Box::pin(feed::run(&args, &settings()?)).await,
        Command::Notifications(args) => Box::pin(notifications::run(&args, &settings()?)).await,
        Command::Counters(args) => Box::pin(counters::run(&args, &settings()?)).await,
        Command::Status(args) => Box::pin(status::run(&args, &settings()?)).await,
        Command::Provision(args) => Box::pin(provision::run(&args, settings()?)).await,
        Command::Scaler(args) => Box::pin(scaler::run(&args, &settings()?)).await,
        Command::Doctor(args) => Box::pin(doctor::run(&args, &settings()?)).await,
        Command::Leases(args) => Box::pin(leases::run(&args, &settings()?)).await,
        Command::Pause(args) => Box::pin(pause::pause(&args, &settings()?)).await,
        Command::Resume(args) => Box::pin(pause::resume(&args, &settings()?)).await,
        Command::Export(args) => Box::pin(export::run(&args, &settings()?)).await,
        Command::Outbox(args) => Box::pin(outbox::run(args, settings()?)).await,
        Command::Verify(args) => Box::pin(verify::run(args, settings()?)).await,
        Command::Admin(args) => Box::pin(admin::run(&args, settings()?)).await,
        Command::DeadLetters(args) => Box::pin(dead_letters::run(&args, settings()?)).await,
        Command::Import(args) => Box::pin(import::run(&args, &settings()?)).await,
        Command::Store(args) => Box::pin(store::run(args, settings()?)).await,
    }
}
