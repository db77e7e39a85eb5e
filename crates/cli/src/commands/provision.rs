use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_cosmos::Create;
use feedmill_store_api::{Database, Difference, ErrorKind, Provisioned};
use serde::Serialize;

use crate::containers::{self, Compared};
use crate::error::{Failure, Result};
use crate::output::{Lines, Table};
use crate::settings::Settings;
use crate::{account, store};

/// Makes the database and the containers that are missing, and compares those that are there
///
/// Partition keys, times to live, composite indexes and excluded paths are compared, and request units where cosmos.throughput
/// names them. What is there is never changed: each difference is said exactly, and the command fails. Making something in an
/// account needs its key (cosmos.credential = "key"), because identities of the data plane may not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  feedmill provision --data-dir ./store\n  \
    feedmill provision --check --endpoint https://name.documents.azure.com")]
pub(crate) struct Args {
    /// Makes nothing; what is missing is a difference too
    #[arg(long)]
    check: bool,

    /// Makes nothing; says what would be made
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,

    /// Prints one JSON object a line, a container each
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    AsWanted,
    Made,
    WouldBeMade,
    Missing,
    Differs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    container: String,
    state: State,
    differences: Vec<Difference>,
}

pub(crate) async fn run(args: &Args, mut settings: Settings) -> Result<()> {
    let looks_only = args.check || args.dry_run;
    // Whoever gives this command means it.
    settings.cosmos.create = if looks_only { Create::Never } else { Create::Always };
    let database = match looks_only {
        true => existing(&settings).await?,
        false => Some(store::open_named(&settings, Arc::new(SystemClock)).await?.database),
    };
    let mut shown = Vec::new();
    for spec in containers::wanted(&settings) {
        let container = spec.name.clone();
        let (state, differences) = match &database {
            None => (missing(args), Vec::new()),
            Some(database) => {
                let spec = containers::as_it_may_be(&**database, &settings, spec).await?;
                match containers::compare(&**database, &spec, settings.cosmos.throughput).await? {
                    Compared::AsWanted => (State::AsWanted, Vec::new()),
                    Compared::Differs(differences) => (State::Differs, differences),
                    Compared::Missing if looks_only => (missing(args), Vec::new()),
                    Compared::Missing => match database.provision(&spec).await? {
                        Provisioned::Created => (State::Made, Vec::new()),
                        // Somebody was faster.
                        Provisioned::Unchanged => (State::AsWanted, Vec::new()),
                        Provisioned::Differs(differences) => (State::Differs, differences),
                    },
                }
            }
        };
        shown.push(Shown { container, state, differences });
    }
    if args.json {
        json(&shown)?;
    } else {
        table(&shown)?;
    }
    judge(&shown)
}

fn missing(args: &Args) -> State {
    if args.dry_run { State::WouldBeMade } else { State::Missing }
}

/// The database of the settings, or `None` where it is missing: looking makes none.
async fn existing(settings: &Settings) -> Result<Option<Arc<dyn Database>>> {
    if account::is_named(settings) {
        return match account::connect(settings).await?.database(&settings.store.database).await {
            Ok(database) => Ok(Some(database)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    let Some(folder) = store::folder(settings) else {
        let error = anyhow::anyhow!("no store is named");
        return Err(Failure::misuse(error, "--data-dir DIR, or --endpoint URL"));
    };
    if !folder.is_dir() {
        return Ok(None);
    }
    let whole = store::open_whole(settings, Arc::new(SystemClock))?;
    let name = &settings.store.database;
    Ok(if whole.databases()?.contains(name) { Some(whole.database(name).await?) } else { None })
}

fn judge(shown: &[Shown]) -> Result<()> {
    let names = |state| {
        let of_state = shown.iter().filter(|shown| shown.state == state);
        of_state.map(|shown| shown.container.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (missing, differing) = (names(State::Missing), names(State::Differs));
    let said = match (missing.is_empty(), differing.is_empty()) {
        (true, true) => return Ok(()),
        (false, true) => format!("missing: {missing}"),
        (true, false) => format!("not as they should be: {differing}"),
        (false, false) => format!("missing: {missing}; not as they should be: {differing}"),
    };
    let hint = match differing.is_empty() {
        true => "`feedmill provision` without --check makes what is missing",
        false => {
            "time to live, indexes and throughput can be changed in place (`az cosmosdb sql container update`, the portal); \
             a partition key cannot: make the container anew"
        }
    };
    Err(Failure::failed(anyhow::anyhow!(said), hint))
}

fn json(shown: &[Shown]) -> Result<()> {
    let mut lines = Lines::to_stdout();
    for container in shown {
        lines.print(container)?;
    }
    Ok(lines.finish()?)
}

fn table(shown: &[Shown]) -> Result<()> {
    let mut table = Table::new(&["container", "", "difference"]);
    for container in shown {
        let state = match container.state {
            State::AsWanted => "as it should be",
            State::Made => "made",
            State::WouldBeMade => "would be made",
            State::Missing => "missing",
            State::Differs => "differs",
        };
        let said: Vec<_> = container.differences.iter().map(ToString::to_string).collect();
        table.row([container.container.clone(), state.to_owned(), said.join("\n")]);
    }
    Ok(table.print()?)
}
