use std::path::PathBuf;

use clap::{Parser, Subcommand};
use feedmill_telemetry::Port;

use crate::commands::{
    admin, completions, config, counters, dead_letters, demo, doctor, export, feed, import, leases, notifications,
    outbox, pause, provision, run, scaler, status, store, verify,
};
use crate::settings::{Given, Override};

/// Keeps feeds, counters and notifications true to the change feed they come from
#[derive(Debug, Parser)]
#[command(name = "feedmill", version, arg_required_else_help = true, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done; also a run that was stopped in order, by Ctrl-C or SIGTERM
  1    failed, or something that was checked is not as it should be; stderr says what to do
  2    the command or a setting is wrong; nothing was attempted, and the same again will not help
  130  stopped at once, by a second Ctrl-C or SIGTERM; nothing is lost, the next run goes on";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Global {
    /// Folder of the store on disk; the same as --set store.data_dir=DIR
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Azure Cosmos DB account, or a server of its protocol, instead of a folder; the same as --set cosmos.endpoint=URL
    #[arg(long, global = true, value_name = "URL", conflicts_with = "data_dir")]
    pub(crate) endpoint: Option<String>,

    /// Configuration file (TOML); FEEDMILL_CONFIG where this is not given
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Sets one option, over the file and the environment (FEEDMILL_SECTION__KEY); see `feedmill config show`
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    pub(crate) overrides: Vec<(String, String)>,
}

/// For commands that run processors.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Serving {
    /// Port of the admin endpoint (/livez, /readyz, /metrics): 0 takes a free one, none serves nothing
    #[arg(long, value_name = "PORT")]
    pub(crate) admin_port: Option<Port>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Feed(feed::Args),
    Notifications(notifications::Args),
    Counters(counters::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Provision(provision::Args),
    Scaler(scaler::Args),
    Leases(leases::Args),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Export(export::Args),
    Import(import::Args),
    Outbox(outbox::Args),
    Verify(verify::Args),
    Store(store::Args),
    Admin(admin::Args),
    DeadLetters(dead_letters::Args),
    Config(config::Args),
    Completions(completions::Args),
}

impl Command {
    fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Demo(args) => Some(&args.serving),
            Self::Run(args) => Some(&args.serving),
            Self::Outbox(args) => args.serving(),
            _ => None,
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("wanted section.key=value".to_owned()),
    }
}

/// A value as an error may repeat it: an address with a login in it was never meant to be here, and is not shown to more people.
fn without_login(value: &str) -> &str {
    if value.contains("://") && value.contains('@') { "…" } else { value }
}

impl Args {
    /// What was given of settings on the command line and in `environment`.
    pub(crate) fn given(&self, environment: Vec<(String, String)>) -> Given {
        let Global { data_dir, endpoint, config, overrides } = &self.global;
        let named = environment.iter().find(|(variable, _)| variable == "FEEDMILL_CONFIG").map(|(_, path)| path.into());
        let sets = overrides.iter().map(|(key, value)| Override {
            key: key.clone(),
            value: value.clone(),
            flag: format!("--set {key}={}", without_login(value)),
        });
        let mut overrides: Vec<_> = sets.collect();
        // A flag of its own says it more plainly than --set does, so it comes last.
        if let Some(directory) = data_dir {
            let value = directory.display().to_string();
            overrides.push(Override { key: "store.data_dir".to_owned(), flag: format!("--data-dir {value}"), value });
        }
        if let Some(url) = endpoint {
            let (key, value) = ("cosmos.endpoint".to_owned(), url.clone());
            overrides.push(Override { key, value, flag: format!("--endpoint {url}") });
        }
        if let Some(port) = self.command.serving().and_then(|serving| serving.admin_port) {
            let value = port.0.map_or("none".to_owned(), |port| port.to_string());
            overrides.push(Override {
                key: "telemetry.admin_port".to_owned(),
                flag: format!("--admin-port {value}"),
                value,
            });
        }
        Given { file: config.clone().or(named), environment, overrides }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_file_is_named_by_the_flag_before_the_environment() {
        let environment = vec![("FEEDMILL_CONFIG".to_owned(), "from-environment.toml".to_owned())];
        let file =
            |arguments: &[&str]| Args::try_parse_from(arguments).unwrap().given(environment.clone()).file.unwrap();
        assert_eq!(file(&["feedmill", "config", "check"]), PathBuf::from("from-environment.toml"));
        assert_eq!(file(&["feedmill", "config", "check", "--config", "flag.toml"]), PathBuf::from("flag.toml"));
    }

    #[test]
    fn an_assignment_needs_a_key_with_a_section_and_keeps_further_equals_signs() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        for bad in ["a.b", "a=b", ""] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
    }
}
