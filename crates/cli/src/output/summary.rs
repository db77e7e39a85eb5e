use feedmill_engine::{ContainerTally, RangeStatus, Summary};
use feedmill_store_api::{FeedRange, RequestCharge};
use indicatif::HumanCount;

use super::Table;

/// What a run did, in one line.
pub(crate) fn summary_line(summary: &Summary) -> String {
    let ContainerTally { written, skipped, conflicts, .. } = summary.tally.total();
    let dead_letters = match summary.dead_letters {
        0 => String::new(),
        some => format!(", {some} dead letters (see `feedmill export deadLetters`)"),
    };
    format!(
        "{} changes delivered, {} documents written, {} already as they should be, {} conflicts{dead_letters}",
        HumanCount(summary.delivered),
        HumanCount(written),
        HumanCount(skipped),
        HumanCount(conflicts),
    )
}

/// How far each range is and how fast it went.
pub(crate) fn ranges(ranges: &[RangeStatus]) -> Table {
    let columns = ["processor", "source", "range", "changes", "behind", "seconds behind", "changes/s", "RU"];
    let mut table = Table::new(&columns).right(&[3, 4, 5, 6, 7]);
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_by_key(|range| (&range.processor, &range.source, &range.range));
    for range in sorted {
        table.row([
            range.processor.clone(),
            range.source.clone(),
            range_shown(range),
            HumanCount(range.delivered).to_string(),
            range.lag_changes.map_or("?".to_owned(), |changes| HumanCount(changes).to_string()),
            range.lag_seconds.map_or("?".to_owned(), |seconds| format!("{seconds:.0}")),
            HumanCount(range.changes_per_second as u64).to_string(),
            units(range.charge),
        ]);
    }
    table
}

/// The first digits of a range's bounds: enough to tell the ranges of one container apart.
fn range_shown(range: &RangeStatus) -> String {
    let short = |bound: &str| bound.chars().take(4).collect::<String>();
    format!("{}-{}", short(FeedRange::min(&range.range)), short(FeedRange::max(&range.range)))
}

/// What it cost, by what it was for and in which container.
pub(crate) fn costs(summary: &Summary, loading: RequestCharge) -> Table {
    let mut table = Table::new(&["request units for", "container", "RU"]).right(&[2]);
    let mut sum = RequestCharge::ZERO;
    let mut row = |purpose: &str, container: &str, charge: RequestCharge| {
        sum += charge;
        // What was not asked for did not cost anything either: no row.
        if charge != RequestCharge::ZERO {
            table.row([purpose.to_owned(), container.to_owned(), units(charge)]);
        }
        sum
    };
    row("loading the sources", "", loading);
    let total = summary.tally.total();
    // What a range caused includes its settling, which is told apart by container below.
    let caused: f64 = summary.ranges.iter().map(|range| range.charge.units()).sum();
    let settling = (total.reads + total.writes).units();
    row("reading change feeds, checkpoints", "", RequestCharge::new((caused - settling).max(0.0)));
    for (container, tally) in &summary.tally.containers {
        row("reading documents", container, tally.reads);
        row("writing documents", container, tally.writes);
    }
    let sum = row("", "", RequestCharge::ZERO);
    table.row(["all of it".to_owned(), String::new(), units(sum)]);
    table
}

fn units(charge: RequestCharge) -> String {
    HumanCount(charge.units().round() as u64).to_string()
}
