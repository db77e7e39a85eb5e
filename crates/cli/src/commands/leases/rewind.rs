use feedmill_engine::{LeaseRecord, Operator, RewindTo};
use feedmill_store_api::Position;

use super::{Which, list};
use crate::error::{Failure, Result};
use crate::operating::{failed, name};

/// Takes leases from whoever has them
///
/// Their ranges stop at once; what was settled and not stored is delivered again by whoever takes them next, which may be the same host.
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    #[command(flatten)]
    which: Which,

    /// Shows what would be released and changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lets leases go on from elsewhere in their feeds
///
/// Changes that are delivered again do no harm: targets are settled as they should be now. Changes that are skipped are never delivered, so
/// going anywhere but to the beginning or a time needs --yes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill leases rewind --processor user-feed --to beginning --data-dir ./store")]
pub(super) struct Rewind {
    #[command(flatten)]
    which: Which,

    /// beginning, now, a time such as 2026-01-31T12:00:00Z, or a position as `leases show` prints it
    #[arg(long, value_name = "WHERE", value_parser = to)]
    to: RewindTo,

    /// Shows what would be rewound and changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Yes, changes may be skipped
    #[arg(long)]
    yes: bool,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

fn to(text: &str) -> std::result::Result<RewindTo, String> {
    match text {
        "beginning" => Ok(RewindTo::Beginning),
        "now" => Ok(RewindTo::Now),
        etag if etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2 => {
            Ok(RewindTo::Position(Position::new(etag)))
        }
        time => time
            .parse()
            .map(RewindTo::Time)
            .map_err(|_| "wanted beginning, now, a time with its zone, or a position with its quotes".to_owned()),
    }
}

pub(super) async fn release(args: &Release, operator: &Operator) -> Result<()> {
    let wanted = args.which.of(operator.leases().await.map_err(failed)?)?;
    let held: Vec<_> = wanted.into_iter().filter(|lease| lease.owner.is_some()).collect();
    let mut changed = Vec::new();
    for lease in held {
        let after = if args.dry_run { Some(lease.clone()) } else { operator.release(&lease).await.map_err(failed)? };
        changed.push(after.ok_or_else(|| gone(&lease))?);
    }
    report(&changed, args.dry_run, args.json, "released")
}

pub(super) async fn rewind(args: &Rewind, operator: &Operator) -> Result<()> {
    let skips = matches!(args.to, RewindTo::Now | RewindTo::Position(_));
    if skips && !args.yes && !args.dry_run {
        return Err(Failure::misuse(
            anyhow::anyhow!("this may skip changes that nobody delivered"),
            "--yes says that this is wanted; --dry-run shows which leases it is about",
        ));
    }
    let wanted = args.which.of(operator.leases().await.map_err(failed)?)?;
    let mut changed = Vec::new();
    for lease in wanted {
        let after =
            if args.dry_run { Some(lease.clone()) } else { operator.rewind(&lease, &args.to).await.map_err(failed)? };
        changed.push(after.ok_or_else(|| gone(&lease))?);
    }
    report(&changed, args.dry_run, args.json, "rewound")
}

fn gone(lease: &LeaseRecord) -> Failure {
    Failure::failed(
        anyhow::anyhow!("lease {} is no more: its range was split meanwhile", name(lease)),
        "`feedmill leases list` shows its parts; the same command again with --processor takes them all",
    )
}

fn report(changed: &[LeaseRecord], dry_run: bool, json: bool, done: &str) -> Result<()> {
    list::print(&changed.iter().collect::<Vec<_>>(), json)?;
    let count = changed.len();
    let said = if dry_run { format!("{count} leases would be {done}") } else { format!("{count} leases {done}") };
    anstream::eprintln!("{said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_a_time_or_a_position_with_its_quotes() {
        assert_eq!(to("beginning"), Ok(RewindTo::Beginning));
        assert_eq!(to("now"), Ok(RewindTo::Now));
        assert_eq!(to("\"12\""), Ok(RewindTo::Position(Position::new("\"12\""))));
        assert!(matches!(to("2026-01-31T12:00:00Z"), Ok(RewindTo::Time(_))));
        for bad in ["yesterday", "12", "\"\"", "2026-01-31"] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }
}
