use feedmill_engine::Act;

use crate::commands::admin;
use crate::commands::by_hand::{Origin, Report, Session, Which, Who};
use crate::error::{Failure, Result};
use crate::settings::Settings;

/// How a projection is compared with what recomputing it from its sources gives.
///
/// Safe while everything runs: what a change may explain that is still to be settled is in flight, and no difference.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    whose: Whose,

    /// Writes anew what is different
    #[arg(long)]
    repair: bool,

    /// At most so many request units a second
    #[arg(long, value_name = "UNITS", value_parser = admin::rate)]
    rate: Option<f64>,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// One person's: their feed, what they were told, their counters and those of their posts
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// About this part of all people, the same ones each time
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    sample: Option<f64>,

    /// Everybody's with a public profile
    #[arg(long)]
    all: bool,
}

/// `1%` or `0.5`, in percent, as a part of 1.
fn percent(text: &str) -> std::result::Result<f64, String> {
    let percent: Option<f64> = text.trim_end_matches('%').parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "a percentage such as 1% or 0.5%".to_owned())
}

pub(super) async fn run(which: Which, args: &Args, settings: Settings) -> Result<()> {
    let session = Session::open(settings, Origin::Store).await?;
    let who = args.whose.user.as_deref().map_or_else(Who::everybody, Who::one);
    let act = if args.repair { Act::Repair } else { Act::Compare };
    let mut report = Report::default();
    session.act(which, &who, act, args.whose.sample.unwrap_or(1.0), args.rate, &mut report).await?;
    let in_flight = session.in_flight(which, report.differences()).await?;
    report.print(&in_flight, args.json)?;

    let waiting = in_flight.iter().filter(|in_flight| **in_flight).count();
    let different = report.count() - waiting;
    session.say(&format!(
        "{}: {} looked at of {} people, {different} different, {waiting} in flight, {} written",
        which.name(),
        report.targets,
        report.people,
        report.written,
    ));
    if report.more > 0 {
        session.say(&format!("and {} more differences", report.more));
    }
    match different {
        0 => Ok(()),
        _ if args.repair => {
            Err(Failure::failed(anyhow::anyhow!("{different} were different, and are repaired"), "verify once more"))
        }
        _ => Err(Failure::failed(
            anyhow::anyhow!("{different} are different"),
            "--repair writes them anew; `feedmill dead-letters list` shows what could not be applied",
        )),
    }
}
