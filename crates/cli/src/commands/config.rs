use std::io::Write;

use clap::Subcommand;

use crate::error::{Failure, Result};
use crate::settings::{Settings, shown};

/// Shows or checks the settings
///
/// Defaults, then the file of --config, then FEEDMILL_SECTION__KEY, then --set: the last one given counts. config/default.toml
/// explains every key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints every setting with the value it has now, as TOML
    Show {
        /// One JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// Says nothing and succeeds where every setting given is known, has a right value and agrees with the others
    Check,
}

pub(crate) fn run(args: &Args, settings: &Settings) -> Result<()> {
    match args.action {
        Action::Check => settings.engine.check().map_err(|error| {
            Failure::misuse(
                error,
                "config/default.toml explains the keys; `feedmill config show` prints what they are now",
            )
        })?,
        Action::Show { json: true } => {
            writeln!(std::io::stdout(), "{}", shown(settings))?;
        }
        Action::Show { json: false } => {
            let text = toml::to_string(&shown(settings)).expect("settings are tables, text, numbers and no nulls");
            write!(std::io::stdout(), "{text}")?;
        }
    }
    Ok(())
}
