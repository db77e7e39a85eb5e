mod audit;
mod list;
mod rewind;
mod transfer;

use clap::Subcommand;
use feedmill_engine::LeaseRecord;

use crate::error::{Failure, Result};
use crate::operating::{name, operator};
use crate::settings::Settings;

/// Shows and moves leases: who reads which range for which processor, and how far it is
///
/// A lease is named as `list` names it, processor/source/range, or by its document's id. A fleet that runs notices a change within
/// seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill leases list --data-dir ./store")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Show(list::Show),
    Release(rewind::Release),
    Rewind(rewind::Rewind),
    Export(transfer::Export),
    Import(transfer::Import),
    Audit(audit::Args),
}

/// Which leases.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Names or ids of leases
    #[arg(value_name = "LEASE")]
    leases: Vec<String>,

    /// All leases of this processor
    #[arg(long, value_name = "NAME")]
    processor: Option<String>,
}

impl Which {
    fn of(&self, all: Vec<LeaseRecord>) -> Result<Vec<LeaseRecord>> {
        if let Some(processor) = &self.processor {
            return Ok(all.into_iter().filter(|lease| lease.processor == *processor).collect());
        }
        for wanted in &self.leases {
            if !all.iter().any(|lease| is(lease, wanted)) {
                return Err(missing(wanted));
            }
        }
        Ok(all.into_iter().filter(|lease| self.leases.iter().any(|wanted| is(lease, wanted))).collect())
    }
}

fn is(lease: &LeaseRecord, wanted: &str) -> bool {
    lease.id == wanted || name(lease) == wanted
}

fn missing(wanted: &str) -> Failure {
    Failure::failed(anyhow::anyhow!("there is no lease {wanted}"), "`feedmill leases list` shows which there are")
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let operator = operator(settings).await?;
    match &args.action {
        Action::List(args) => list::list(args, &operator).await,
        Action::Show(args) => list::show(args, &operator).await,
        Action::Release(args) => rewind::release(args, &operator).await,
        Action::Rewind(args) => rewind::rewind(args, &operator).await,
        Action::Export(_) => transfer::export(&operator).await,
        Action::Import(args) => transfer::import(args, &operator).await,
        Action::Audit(args) => audit::run(args, &operator, settings).await,
    }
}
