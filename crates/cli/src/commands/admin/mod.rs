mod beside;
mod erase;
mod versions;

use clap::Subcommand;
use feedmill_engine::Act;

use crate::commands::by_hand::{Origin, Report, Session, Which, Who};
use crate::error::Result;
use crate::settings::Settings;

/// Rebuilds projections by hand, and takes people out of them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Settles every item that should be in a feed, and every item that is
    ///
    /// It only settles, so it may run beside everything else, be stopped and repeated; no feed is ever empty because of it.
    #[command(after_help = "Example: feedmill admin rebuild-user-feed 17 --dry-run --data-dir ./store")]
    RebuildUserFeed {
        #[command(flatten)]
        rebuild: Rebuild,

        /// What feeds are computed from
        #[arg(long, value_enum, default_value_t = Origin::Store)]
        source: Origin,
    },

    /// Counts anew whatever is counted of a person and of their posts
    RebuildCounters(Rebuild),

    /// Settles everything a person should be told, and everything they were told; what was read stays read
    RebuildNotifications(Rebuild),

    RebuildProjection(beside::Args),

    Erase(erase::Args),
}

#[derive(Debug, clap::Args)]
struct Rebuild {
    #[command(flatten)]
    who: Who,

    /// Says what would be written and writes nothing
    #[arg(long)]
    dry_run: bool,

    /// At most so many request units a second
    #[arg(long, value_name = "UNITS", value_parser = rate)]
    rate: Option<f64>,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

pub(crate) async fn run(args: &Args, settings: Settings) -> Result<()> {
    let (which, rebuild, source) = match &args.command {
        Command::RebuildUserFeed { rebuild, source } => (Which::UserFeed, rebuild, *source),
        Command::RebuildCounters(rebuild) => (Which::Counters, rebuild, Origin::Store),
        Command::RebuildNotifications(rebuild) => (Which::Notifications, rebuild, Origin::Store),
        Command::RebuildProjection(args) => return beside::run(args, &settings).await,
        Command::Erase(args) => return erase::run(args, &settings).await,
    };
    let session = Session::open(settings, source).await?;
    let act = if rebuild.dry_run { Act::Compare } else { Act::Settle };
    let mut report = Report::default();
    let done = session.act(which, &rebuild.who, act, 1.0, rebuild.rate, &mut report).await;
    if rebuild.dry_run {
        let in_flight = session.in_flight(which, report.differences()).await?;
        report.print(&in_flight, rebuild.json)?;
    }
    session.say(&format!(
        "{}: {} looked at of {} people, {} {}",
        which.name(),
        report.targets,
        report.people,
        if rebuild.dry_run { report.count() as u64 + report.more } else { report.written },
        if rebuild.dry_run { "would be written" } else { "written" },
    ));
    done
}
