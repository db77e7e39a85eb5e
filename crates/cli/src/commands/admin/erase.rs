use feedmill_engine::{DeadLetters, Writer};
use feedmill_erase::{Erasure, Error, Looked, Report, Role};
use feedmill_store_api::Database;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::confirm::confirm;
use crate::error::{Failure, Result};
use crate::output::{Lines, Table};
use crate::running::Running;
use crate::settings::Settings;
use crate::{store, wiring};

/// Takes a person out of everything that is derived, and says what it looked through
///
/// The person's own documents come first: while a source that names them is live (a post, a reaction, a follow or block on either side,
/// their profile) nothing is taken out, because it would come back. Withdraw them where they come from, let the processors catch
/// up, then erase. What is taken out becomes tombstones, which late writes need; they, and withdrawn documents, go by themselves at the
/// time that is said. It may run beside everything else and be stopped and repeated. Exit code 0 once nothing stands in the way of an
/// end, 1 where something does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill admin erase 17 --dry-run --data-dir ./store")]
pub(super) struct Args {
    /// Id of the person
    user: String,

    /// Says what would be taken out and writes nothing
    #[arg(long)]
    dry_run: bool,

    /// Does not ask
    #[arg(long)]
    yes: bool,

    /// Then reads every document of every container, and fails where one still names the person
    #[arg(long)]
    scan: bool,

    /// Prints one JSON object for each container
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    container: &'a str,
    role: &'static str,
    looked: u64,
    live: u64,
    removed: u64,
    busy: u64,
    left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    endless: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    examples: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    container: &'a str,
    scanned: u64,
    named: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    examples: &'a [String],
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let running = Running::prepare(settings).await?;
    let (clock, entropy) = (running.clock.clone(), running.entropy.clone());
    let store::Opened { database, .. } = store::open_existing(settings, clock.clone()).await?;
    store::provision(&*database, settings).await?;
    let letters = DeadLetters::open(&*database, &settings.engine, clock.clone(), entropy.clone()).await?;
    let writer = Writer::new(database.clone(), clock, entropy, settings.engine.settle.clone());
    let bar = running.screen.counting("erase");
    let tell = |looked: &Looked| tell(&bar, looked);
    let feeds = wiring::feeds(settings);
    let erasure = Erasure {
        database: &*database as &dyn Database,
        writer: &writer,
        letters: &letters,
        leases: &settings.engine.leases,
        feeds: &feeds,
        tell: &tell,
    };
    let user = args.user.as_str();
    let stopped = || Failure::failed(anyhow::anyhow!("stopped before everything was looked through"), AGAIN);
    let look = async {
        let report = erasure.run(user, args.dry_run || !args.yes).await.map_err(failed)?;
        if args.dry_run || args.yes || report.live() > 0 {
            return Ok(report);
        }
        bar.finish_and_clear();
        confirm(&format!("Take {} documents of {user} out for good?", report.removed()))?;
        erasure.run(user, false).await.map_err(failed)
    };
    let report = running.stop.run_until_cancelled(look).await.unwrap_or_else(|| Err(stopped()))?;
    print(&report, args.json)?;
    let mut named = 0;
    if args.scan {
        let scanned =
            running.stop.run_until_cancelled(erasure.scan(user)).await.ok_or_else(stopped)?.map_err(failed)?;
        named = scanned.iter().map(|looked| looked.left).sum();
        print_scan(&scanned, args.json)?;
    }
    bar.finish_and_clear();
    running.screen.say(&said(user, &report, args.dry_run));
    conclude(&report, args.dry_run, named)
}

const AGAIN: &str = "the same command again does what is left to do";

fn failed(error: Error) -> Failure {
    Failure::failed(error, AGAIN)
}

fn tell(bar: &ProgressBar, looked: &Looked) {
    bar.set_prefix(looked.container.clone());
    bar.set_position(looked.looked);
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Index => "index",
        Role::Projection => "projection",
        Role::Work => "work",
        Role::DeadLetters => "dead letters",
    }
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let until = |looked: &Looked| looked.until.map(|until| format!("{until:.0}"));
    if json {
        let mut lines = Lines::to_stdout();
        for looked in &report.containers {
            let Looked { container, looked: count, live, removed, busy, left, endless, examples, .. } = looked;
            let (role, until) = (role(looked.role), until(looked));
            let (looked, live, removed, busy) = (*count, *live, *removed, *busy);
            let (left, endless) = (*left, *endless);
            lines.print(&Line { container, role, looked, live, removed, busy, left, until, endless, examples })?;
        }
        return lines.finish();
    }
    let columns = ["container", "", "looked at", "live", "taken out", "left", "gone by", "in the way"];
    let mut table = Table::new(&columns).right(&[2, 3, 4, 5]);
    for looked in &report.containers {
        table.row([
            looked.container.clone(),
            role(looked.role).to_owned(),
            looked.looked.to_string(),
            looked.live.to_string(),
            looked.removed.to_string(),
            looked.left.to_string(),
            until(looked).unwrap_or_default(),
            looked.examples.join(", "),
        ]);
    }
    table.print()
}

fn print_scan(scanned: &[Looked], json: bool) -> std::io::Result<()> {
    if json {
        let mut lines = Lines::to_stdout();
        for Looked { container, looked, left, examples, .. } in scanned {
            lines.print(&Named { container, scanned: *looked, named: *left, examples })?;
        }
        return lines.finish();
    }
    let mut table = Table::new(&["container", "read", "naming them", "such as"]).right(&[1, 2]);
    for Looked { container, looked, left, examples, .. } in scanned {
        table.row([container.clone(), looked.to_string(), left.to_string(), examples.join(", ")]);
    }
    table.print()
}

fn said(user: &str, report: &Report, dry_run: bool) -> String {
    let until = report.until().map_or(String::new(), |until| format!(", the last of it until {until:.0}"));
    format!(
        "{user}: {} {} taken out, {} left that goes by itself{until}",
        report.removed(),
        if dry_run { "would be" } else { "were" },
        report.left(),
    )
}

/// What stands in the way of an end, the first thing first.
fn conclude(report: &Report, dry_run: bool, named: u64) -> Result<()> {
    let stands = |what: String, hint: &str| Err(Failure::failed(anyhow::anyhow!(what), hint));
    if report.live() > 0 {
        return stands(
            format!("{} documents of theirs are live, so nothing was taken out", report.live()),
            "withdraw them where they come from (a soft delete with a time to live), run the processors, then erase again",
        );
    }
    if report.waiting.unknown || report.waiting.changes > 0 {
        return stands(
            "changes that name them are still to be settled".to_owned(),
            "`feedmill status` says how far the processors are; once they have caught up, erase again",
        );
    }
    if report.busy() > 0 {
        return stands(
            format!("{} chunks of work are still to be done", report.busy()),
            "the processors do them; erase again after that",
        );
    }
    if report.endless() > 0 {
        return stands(
            format!("{} withdrawn documents have no time to live, so they never go", report.endless()),
            "give them a ttl, or delete them, where they come from",
        );
    }
    if named > 0 && !dry_run {
        return stands(format!("{named} documents still name them"), "scan again after the time that is said above");
    }
    Ok(())
}
