use feedmill_outbox::Status;

use crate::error::Result;
use crate::output::{Lines, Table};
use crate::settings::Settings;

/// Shows what waits, what failed, how old it is, and how fast it goes
///
/// Counting what waits costs in proportion to it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let status = super::open(settings).await?.status().await?;
    if args.json {
        let mut lines = Lines::to_stdout();
        lines.print(&status)?;
        return Ok(lines.finish()?);
    }
    let mut table = Table::new(&["", "", ""]).right(&[1]);
    for (name, value, meaning) in rows(&status) {
        table.row([name.to_owned(), value, meaning.to_owned()]);
    }
    Ok(table.print()?)
}

fn rows(status: &Status) -> [(&'static str, String, &'static str); 9] {
    let seconds = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
    [
        ("pending", status.pending.to_string(), "neither relayed nor skipped"),
        ("retrying", status.retrying.to_string(), "failed, and tried again later by itself"),
        ("dead", status.dead.to_string(), "used up its retries: `feedmill outbox show --dead`"),
        ("held", status.held.to_string(), "behind one of these in its key"),
        (
            "replication lag",
            seconds(status.replication_lag_seconds),
            "age of the oldest pending event that is not dead",
        ),
        ("oldest", seconds(status.oldest_age_seconds), "the same, dead ones included"),
        ("rate", format!("{:.1}/s", status.rate_per_second), "relayed in the last five minutes"),
        ("median delay", seconds(status.relay_seconds_p50), "from event to document in the last five minutes"),
        ("95th percentile", seconds(status.relay_seconds_p95), ""),
    ]
}
