use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use feedmill_engine::{HostRecord, LeaseRecord, Operator};
use serde::Serialize;

use crate::error::Result;
use crate::operating::{failed, operator};
use crate::output::{Lines, Table};
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// How often --watch looks again.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Shows how far every processor is, who works on it and what is paused
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill status --data-dir ./store")]
pub(crate) struct Args {
    /// Shows it again every two seconds, until stopped
    #[arg(long)]
    watch: bool,

    /// Prints one JSON object a line: each processor and source, then each host
    #[arg(long)]
    json: bool,
}

/// A processor over one source.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    processor: String,
    source: String,
    paused: bool,
    leases: u64,
    /// Leases by owner.
    owners: BTreeMap<String, u64>,
    /// Leases that nobody has.
    free: u64,
    /// Commits behind the head, the sum of all leases.
    lag_changes: u64,
    /// Age of the oldest change that waits.
    lag_seconds: u64,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let operator = operator(settings).await?;
    let stop = stop_on_signals()?;
    loop {
        let leases = operator.leases().await.map_err(failed)?;
        let hosts = operator.hosts(&leases).await.map_err(failed)?;
        let shown = look(&operator, leases).await?;
        if args.json {
            json(&shown, &hosts)?;
        } else {
            table(&shown, &hosts)?;
        }
        if !args.watch || stop.run_until_cancelled(SystemClock.sleep(WATCH_INTERVAL)).await.is_none() {
            return Ok(());
        }
    }
}

async fn look(operator: &Operator, leases: Vec<LeaseRecord>) -> Result<Vec<Shown>> {
    let paused = operator.paused().await.map_err(failed)?;
    let mut shown: BTreeMap<(String, String), Shown> = BTreeMap::new();
    for lease in leases {
        let lag = operator.lag(&lease).await.map_err(failed)?;
        let entry = shown.entry((lease.processor.clone(), lease.source.clone())).or_insert_with(|| Shown {
            paused: paused.contains(&lease.processor),
            processor: lease.processor.clone(),
            source: lease.source.clone(),
            ..Shown::default()
        });
        entry.leases += 1;
        match lease.owner {
            Some(owner) => *entry.owners.entry(owner).or_default() += 1,
            None => entry.free += 1,
        }
        entry.lag_changes += lag.changes;
        entry.lag_seconds = entry.lag_seconds.max(lag.seconds);
    }
    Ok(shown.into_values().collect())
}

fn json(shown: &[Shown], hosts: &[HostRecord]) -> Result<()> {
    let mut lines = Lines::to_stdout();
    for processor in shown {
        lines.print(processor)?;
    }
    for host in hosts {
        lines.print(host)?;
    }
    Ok(lines.finish()?)
}

fn table(shown: &[Shown], hosts: &[HostRecord]) -> Result<()> {
    let columns = ["processor", "source", "leases", "owned by", "behind", "seconds behind", ""];
    let mut table = Table::new(&columns).right(&[2, 4, 5]);
    for entry in shown {
        let owners = entry.owners.iter().map(|(owner, count)| format!("{owner} {count}"));
        let free = (entry.free > 0).then(|| format!("nobody {}", entry.free));
        table.row([
            entry.processor.clone(),
            entry.source.clone(),
            entry.leases.to_string(),
            owners.chain(free).collect::<Vec<_>>().join(", "),
            entry.lag_changes.to_string(),
            entry.lag_seconds.to_string(),
            if entry.paused { "paused" } else { "" }.to_owned(),
        ]);
    }
    table.print()?;
    if hosts.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["host", "revision", "last heard of", ""]);
    for host in hosts {
        let heard = host.written_at.map_or_else(String::new, |at| at.to_string());
        let note = if host.stopped { "stopped" } else { "" };
        let revision = host.revision.clone().unwrap_or_default();
        table.row([host.host.clone(), revision, heard, note.to_owned()]);
    }
    Ok(table.print()?)
}
