use std::io::IsTerminal;

use feedmill_engine::{Audit, Fault, Operator, Repair};
use serde::Serialize;

use crate::error::{Failure, Result};
use crate::operating::{failed, known};
use crate::output::Lines;
use crate::settings::Settings;

/// Proves that a processor's leases cover its containers with no gap and no overlap
///
/// Says what is wrong, and what would mend it: which leases are made, moved and removed, and how much is delivered again. Positions are chosen
/// so that nothing is lost. Exits with 1 when something is wrong and was not mended. Hosts may go on meanwhile, in either lease mode: they learn
/// of it within seconds. Leases of another container of the same name, which is gone, are found too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill leases audit user-feed --repair --data-dir ./store")]
pub(super) struct Args {
    /// The processor
    #[arg(value_name = "PROCESSOR")]
    processor: String,

    /// Mends what is wrong, after asking
    #[arg(long)]
    repair: bool,

    /// Does not ask
    #[arg(long, requires = "repair")]
    yes: bool,

    /// Prints one JSON object a line: each fault, then each repair
    #[arg(long)]
    json: bool,
}

/// A fault or a repair, and where it is.
#[derive(Serialize)]
struct Entry<'a, T> {
    processor: &'a str,
    source: &'a str,
    #[serde(flatten)]
    what: &'a T,
}

pub(super) async fn run(args: &Args, operator: &Operator, settings: &Settings) -> Result<()> {
    known(settings, &args.processor)?;
    let audits = operator.audit(&args.processor).await.map_err(failed)?;
    print(&audits, args.json)?;
    let faults = count(&audits);
    if faults == 0 {
        return Ok(());
    }
    if !args.repair {
        return Err(wrong(faults, &args.processor, "--repair mends it; nothing was changed"));
    }
    if audits.iter().all(|audit| audit.repairs.is_empty()) {
        return Err(wrong(faults, &args.processor, "nothing of it can be mended from here; nothing was changed"));
    }
    if !args.yes {
        confirm()?;
    }
    for audit in &audits {
        operator.repair(audit).await.map_err(failed)?;
    }
    let left = operator.audit(&args.processor).await.map_err(failed)?;
    let faults = count(&left);
    if faults > 0 {
        for (audit, fault) in left.iter().flat_map(|audit| audit.faults.iter().map(move |fault| (audit, fault))) {
            anstream::eprintln!("still: {}", said(audit, fault));
        }
        return Err(wrong(
            faults,
            &args.processor,
            "hosts changed leases meanwhile, or it cannot be mended; the same command again",
        ));
    }
    anstream::eprintln!("the leases of {} now cover every key once", args.processor);
    Ok(())
}

fn count(audits: &[Audit]) -> usize {
    audits.iter().map(|audit| audit.faults.len()).sum()
}

fn wrong(faults: usize, processor: &str, hint: &str) -> Failure {
    Failure::failed(anyhow::anyhow!("wrong with the leases of {processor}: {faults} things"), hint)
}

fn said(audit: &Audit, fault: &Fault) -> String {
    format!("{}/{}: {fault}", audit.processor, audit.source)
}

fn print(audits: &[Audit], json: bool) -> Result<()> {
    let mut lines = Lines::to_stdout();
    for audit in audits {
        let Audit { processor, source, faults, repairs, .. } = audit;
        if json {
            for what in faults {
                lines.print(&Entry::<Fault> { processor, source, what })?;
            }
            for what in repairs {
                lines.print(&Entry::<Repair> { processor, source, what })?;
            }
            continue;
        }
        if faults.is_empty() {
            let count = audit.leases;
            let whole = match count {
                1 => "1 lease covers every key once".to_owned(),
                _ => format!("{count} leases cover every key once"),
            };
            lines.print_text(format!("{processor}/{source}: {whole}").as_bytes())?;
        }
        for fault in faults {
            lines.print_text(said(audit, fault).as_bytes())?;
        }
        for repair in repairs {
            lines.print_text(format!("  to mend it: {repair}").as_bytes())?;
        }
    }
    Ok(lines.finish()?)
}

fn confirm() -> Result<()> {
    let refused =
        |why: &'static str| Err(Failure::misuse(anyhow::anyhow!(why), "--yes does not ask; nothing was changed"));
    if !std::io::stdin().is_terminal() {
        return refused("nobody is there to be asked");
    }
    anstream::eprint!("Do this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { refused("it was not wanted") }
}
