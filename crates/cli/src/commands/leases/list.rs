use feedmill_engine::{Lag, LeaseRecord, Operator};
use serde::Serialize;

use crate::error::Result;
use crate::operating::{failed, name};
use crate::output::{Lines, Table};

/// Lists leases: who has which range, and how far it is
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of this processor only
    #[arg(long, value_name = "NAME")]
    processor: Option<String>,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Shows one lease, and how far it is behind
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its name or id
    lease: String,

    /// Prints a JSON object
    #[arg(long)]
    json: bool,
}

/// A lease and how far it is behind.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    lease: &'a LeaseRecord,
    lag: Lag,
}

pub(super) async fn list(args: &List, operator: &Operator) -> Result<()> {
    let all = operator.leases().await.map_err(failed)?;
    let wanted = |lease: &&LeaseRecord| args.processor.as_ref().is_none_or(|processor| lease.processor == *processor);
    print(&all.iter().filter(wanted).collect::<Vec<_>>(), args.json)
}

pub(super) async fn show(args: &Show, operator: &Operator) -> Result<()> {
    let all = operator.leases().await.map_err(failed)?;
    let lease = all.iter().find(|lease| super::is(lease, &args.lease)).ok_or_else(|| super::missing(&args.lease))?;
    let lag = operator.lag(lease).await.map_err(failed)?;
    if args.json {
        let mut lines = Lines::to_stdout();
        lines.print(&Shown { lease, lag })?;
        return Ok(lines.finish()?);
    }
    let mut table = Table::new(&["lease", &name(lease)]);
    let mut row = |what: &str, value: String| table.row([what.to_owned(), value]);
    row("id", lease.id.clone());
    row("owner", lease.owner.clone().unwrap_or_else(|| "nobody".to_owned()));
    row("epoch", lease.epoch.to_string());
    row("position", place(lease));
    row("last written", lease.written_at.map_or_else(|| "never while owned".to_owned(), |at| at.to_string()));
    row("behind", format!("{} commits, {} s", lag.changes, lag.seconds));
    Ok(table.print()?)
}

pub(super) fn print(leases: &[&LeaseRecord], json: bool) -> Result<()> {
    if json {
        let mut lines = Lines::to_stdout();
        for lease in leases {
            lines.print(lease)?;
        }
        return Ok(lines.finish()?);
    }
    let mut table = Table::new(&["lease", "owner", "epoch", "position"]).right(&[2]);
    for lease in leases {
        let owner = lease.owner.clone().unwrap_or_else(|| "nobody".to_owned());
        table.row([name(lease), owner, lease.epoch.to_string(), place(lease)]);
    }
    Ok(table.print()?)
}

fn place(lease: &LeaseRecord) -> String {
    lease.position.clone().or_else(|| lease.start.clone()).unwrap_or_else(|| "not begun".to_owned())
}
