//! Looks at everything that a fleet needs, one finding a check, and changes nothing but one document of its own.

mod clock;
mod configuration;
mod containers;
mod finding;
mod fleet;

use std::sync::Arc;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_engine::Operator;
use feedmill_store_api::Database;

use self::finding::{Finding, Verdict};
use crate::error::{Failure, Result};
use crate::settings::Settings;
use crate::{account, store, wiring};

/// Checks everything that `run` needs, and says what to do
///
/// Configuration, reachability and credentials, containers with their indexes and times to live, permissions, this machine's
/// clock, and whether the hosts that run agree with each other. Exit code 1 where something does not work. Writes one document
/// into the container of leases, which it removes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill doctor --endpoint https://name.documents.azure.com")]
pub(crate) struct Args {
    /// Prints one JSON object a line, a finding each
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut found = configuration::look(settings);
    match open(settings).await {
        Ok(database) => found.extend(look(database, settings).await?),
        Err(finding) => found.push(finding),
    }
    finding::print(&found, args.json)?;
    match found.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::failed(
            anyhow::anyhow!("{bad} of {} findings are bad", found.len()),
            "each of them says above what to do; then `feedmill doctor` again",
        )),
    }
}

async fn open(settings: &Settings) -> std::result::Result<Arc<dyn Database>, Finding> {
    match store::open_existing(settings, Arc::new(SystemClock)).await {
        Ok(opened) => Ok(opened.database),
        Err(Failure::Failed { error, hint } | Failure::Misuse { error, hint }) => {
            Err(Finding::of_error("store", error, hint))
        }
        Err(Failure::ReaderGone) => Err(Finding::bad("store", "nobody reads what is said", "again, with a reader")),
    }
}

async fn look(database: Arc<dyn Database>, settings: &Settings) -> Result<Vec<Finding>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy = Entropy::from_os()
        .map_err(|error| Failure::failed(anyhow::Error::new(error).context("read chance"), "is /dev/urandom there?"))?;
    let name = &settings.store.database;
    let mut found = vec![Finding::good("store", format!("database {name} at {} answers", database.host()))];
    let (of_containers, complete) = containers::look(&*database, settings).await;
    found.extend(of_containers);
    found.extend(containers::permissions(&*database, settings).await);
    if account::is_named(settings) {
        found.push(Finding::unknown(
            "write regions",
            "the account's SDK does not tell how many there are; feedmill's promise needs one",
            "`az cosmosdb show --name … --resource-group … --query enableMultipleWriteLocations` must say false",
        ));
    } else {
        found.push(Finding::good("write regions", "the embedded store is one"));
    }
    if let Ok(leases) = database.container(&settings.engine.leases).await {
        found.push(clock::look(&*leases, &*clock, &entropy).await);
    }
    if complete {
        let feeds = wiring::feeds(settings);
        match Operator::open(database, clock.clone(), entropy, &settings.engine, feeds).await {
            Ok(operator) => found.extend(fleet::look(&operator, settings, clock.now()).await),
            Err(error) => found.push(Finding::of_error("fleet", error, "`feedmill provision` makes what is missing")),
        }
    }
    Ok(found)
}
