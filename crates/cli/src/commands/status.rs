use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use feedmill_engine::{DeadLetters, HostRecord, LeaseRecord, LetterFilter, LetterState, Operator, Pace};
use serde::Serialize;

use crate::error::Result;
use crate::operating::{failed, open};
use crate::output::{Lines, Table};
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// How often --watch looks again.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// More dead letters than anybody counts are not counted.
const LETTERS_MAX: usize = 1_000;

/// Shows how far every processor is, who works on it, how fast, what it costs, and what is paused
///
/// Rates are those of the last ten seconds, as hosts tell them with their heartbeats.
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
    /// What its owners do at the moment; `None` where none of them says so, as those that share leases with .NET do not.
    #[serde(flatten)]
    pace: Option<Pace>,
    /// Dead letters that are not closed; [`LETTERS_MAX`] stands for as many or more.
    dead_letters: usize,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let (operator, letters) = open(settings).await?;
    let stop = stop_on_signals()?;
    loop {
        let leases = operator.leases().await.map_err(failed)?;
        let hosts = operator.hosts(&leases).await.map_err(failed)?;
        let mut shown = look(&operator, leases).await?;
        for entry in &mut shown {
            entry.pace = pace(entry, &hosts);
            entry.dead_letters = open_letters(&letters, entry).await?;
        }
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

/// The sum over those that own something: who died still says what it did last.
fn pace(entry: &Shown, hosts: &[HostRecord]) -> Option<Pace> {
    let says = hosts.iter().filter(|host| host.revision.is_some() && entry.owners.contains_key(&host.host));
    says.fold(None, |sum: Option<Pace>, host| {
        let mut sum = sum.unwrap_or_default();
        let own = host.does.iter().filter(|does| does.processor == entry.processor && does.source == entry.source);
        own.for_each(|does| sum += does.pace);
        Some(sum)
    })
}

async fn open_letters(letters: &DeadLetters, entry: &Shown) -> Result<usize> {
    let mut count = 0;
    for state in [LetterState::Retrying, LetterState::Dead] {
        let (processor, container) = (Some(entry.processor.clone()), Some(entry.source.clone()));
        let filter = LetterFilter { processor, container, state: Some(state), error: None };
        let mut continuation = None;
        loop {
            let (page, more) = letters.list(&filter, continuation).await.map_err(failed)?;
            count += page.len();
            continuation = more;
            if count >= LETTERS_MAX || continuation.is_none() {
                break;
            }
        }
    }
    Ok(count.min(LETTERS_MAX))
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
    let columns = [
        "processor",
        "source",
        "leases",
        "owned by",
        "behind",
        "seconds behind",
        "changes/s",
        "RU/hour",
        "failures/hour",
        "dead letters",
        "",
    ];
    let mut table = Table::new(&columns).right(&[2, 4, 5, 6, 7, 8, 9]);
    for entry in shown {
        let owners = entry.owners.iter().map(|(owner, count)| format!("{owner} {count}"));
        let free = (entry.free > 0).then(|| format!("nobody {}", entry.free));
        let said = |figure: &dyn Fn(&Pace) -> String| entry.pace.as_ref().map_or_else(|| "-".to_owned(), figure);
        let halted = entry.pace.map_or(0, |pace| pace.halted);
        let mut notes = Vec::from_iter(entry.paused.then(|| "paused".to_owned()));
        notes.extend((halted > 0).then(|| format!("{halted} halted")));
        table.row([
            entry.processor.clone(),
            entry.source.clone(),
            entry.leases.to_string(),
            owners.chain(free).collect::<Vec<_>>().join(", "),
            entry.lag_changes.to_string(),
            entry.lag_seconds.to_string(),
            said(&|pace| format!("{:.1}", pace.changes_per_hour as f64 / 3_600.0)),
            said(&|pace| pace.request_units_per_hour.to_string()),
            said(&|pace| pace.failures_per_hour.to_string()),
            format!("{}{}", entry.dead_letters, if entry.dead_letters == LETTERS_MAX { "+" } else { "" }),
            notes.join(", "),
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
