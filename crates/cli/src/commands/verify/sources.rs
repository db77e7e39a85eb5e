use std::cell::Cell;
use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_outbox::{Audit, Finding, FindingKind, Verified};
use indicatif::HumanCount;
use serde::Serialize;

use crate::error::{Failure, Result};
use crate::output::Lines;
use crate::progress::{Screen, tell};
use crate::settings::Settings;
use crate::signals::stop_on_signals;
use crate::{postgres, store};

/// Compares the source documents with the rows of PostgreSQL they come from; fails where any differs
///
/// What is on its way through the outbox is not compared; what waits there behind an event that failed for good is. --repair touches
/// the row of each finding, so that it has a new event, which a relay brings in like any other; only then is the document right. A
/// live document that has no row is a finding too; repairing withdraws it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill verify sources --repair --data-dir ./store")]
pub(super) struct Args {
    /// Makes a new event for each finding
    #[arg(long)]
    repair: bool,

    /// Prints one JSON object for each finding
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    table: &'a str,
    document: &'a str,
    finding: &'static str,
    /// What more is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    repaired: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let (screen, stop) = (Screen::new(), stop_on_signals()?);
    let outbox = postgres::outbox(settings, Arc::new(SystemClock)).await?;
    let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
    let audit = Audit::new(outbox, database);
    let so_far = Cell::new(Verified::default());
    let (mut lines, mut unwritten) = (Lines::to_stdout(), None);
    let verified = tokio::select! {
        verified = audit.run(args.repair, &stop, |finding| {
            if let Err(error) = print(&mut lines, &finding, args.json) {
                unwritten = Some(error);
                stop.cancel();
            }
        }, |verified| so_far.set(verified)) => verified?,
        () = tell(&screen, &SystemClock, || shown(so_far.get())) => unreachable!("telling has no end of its own"),
    };
    if let Some(error) = unwritten {
        return Err(error.into());
    }
    lines.finish()?;
    screen.say(&shown(verified));
    if stop.is_cancelled() {
        return Err(Failure::failed(
            anyhow::anyhow!("stopped before everything was compared"),
            "it begins from the first row each time",
        ));
    }
    match verified.findings - verified.repaired {
        0 => Ok(()),
        left => {
            let hint = if args.repair {
                "no event could be made for these: what stands behind each of them says why"
            } else {
                "--repair makes a new event for each of them, and a relay brings it in"
            };
            Err(Failure::failed(anyhow::anyhow!("{left} documents are not as their rows say"), hint))
        }
    }
}

fn shown(verified: Verified) -> String {
    let Verified { rows, documents, in_flight, findings, repaired } = verified;
    let [rows, documents, in_flight] = [rows, documents, in_flight].map(HumanCount);
    format!(
        "{rows} rows, {documents} documents compared, {in_flight} whose events wait in the outbox, {findings} differ, {repaired} repaired"
    )
}

fn print(lines: &mut Lines, finding: &Finding, json: bool) -> std::io::Result<()> {
    let (name, detail) = match &finding.kind {
        FindingKind::Missing => ("missing", None),
        FindingKind::Behind { stored } => ("behind", stored.map(|version| format!("has version {version}"))),
        FindingKind::Ahead { stored } => ("ahead", Some(format!("has version {stored}"))),
        FindingKind::Differs => ("differs", None),
        FindingKind::Held => ("held", Some("waits for `feedmill outbox retry` or `skip`".to_owned())),
        FindingKind::Unfit(why) => ("unfit", Some(why.clone())),
        FindingKind::Stray => ("stray", Some("has no row".to_owned())),
    };
    if json {
        let Finding { table, key, repaired, .. } = finding;
        return lines.print(&Line { table, document: key, finding: name, detail, repaired: *repaired });
    }
    let repaired = if finding.repaired { ", repaired" } else { "" };
    let detail = detail.map_or(String::new(), |detail| format!(": {detail}"));
    lines.print_text(format!("{} {} {name}{detail}{repaired}", finding.table, finding.key).as_bytes())
}
