use std::io::{self, Write};

use feedmill_engine::Summary;
use feedmill_store_api::{Database, PageRequest, Query, ReadLevel, Scope};
use indicatif::HumanCount;
use serde_json::Value;

use super::network::Loaded;
use super::person::worth_showing;
use crate::commands::{counters, feed, notifications};
use crate::error::Result;
use crate::names::Names;
use crate::output::{Table, costs, excerpt, ranges, summary_line};
use crate::settings::Settings;
use crate::store;

const ITEMS: usize = 5;

/// What a person would want to see of it, on stdout.
pub(super) async fn all(
    settings: &Settings,
    database: &dyn Database,
    summary: &Summary,
    loaded: &Loaded,
    seconds: f64,
) -> Result<()> {
    let mut out = io::stdout();
    let person = worth_showing(database, settings).await?;
    if let Some(person) = &person {
        let name = Names::of(database).await?.shown(person).await?;
        writeln!(out, "feed of {name}")?;
        feed::show(database, settings, person, ITEMS).await?;
        writeln!(out, "\ncounters of {name}")?;
        counters::show(database, settings, person).await?;
        writeln!(out, "\nnotifications of {name}")?;
        notifications::show(database, person, ITEMS).await?;
        writeln!(out)?;
    }
    ranges(&summary.ranges).print()?;
    writeln!(out)?;
    costs(summary, loaded.charge).print()?;
    writeln!(out)?;
    writeln!(
        out,
        "{} writes of source documents, {} of them needed; caught up after {seconds:.1} s",
        HumanCount(loaded.writes),
        HumanCount(loaded.written),
    )?;
    writeln!(out, "{}", summary_line(summary))?;
    if summary.dead_letters > 0 {
        dead_letters(database, settings).await?;
    }
    try_next(settings, person.as_deref().unwrap_or("USER"))
}

async fn dead_letters(database: &dyn Database, settings: &Settings) -> Result<()> {
    let container = store::container(database, &settings.engine.dead_letters).await?;
    let query = Query::new("SELECT * FROM c WHERE c.state != 'closed'");
    let page = container.query(&Scope::Container, &query, &PageRequest::first(ITEMS), &ReadLevel::Quorum).await?;
    let mut table = Table::new(&["dead letter", "error"]);
    for body in page.items {
        let letter: Value = serde_json::from_slice(&body).unwrap_or_default();
        let field = |name: &str| excerpt(letter[name].as_str().unwrap_or_default());
        table.row([field("id"), field("error")]);
    }
    Ok(table.print()?)
}

/// Commands that work on what is there now; for a store in memory, after a demo that keeps it.
fn try_next(settings: &Settings, person: &str) -> Result<()> {
    let mut out = io::stdout();
    // As it was called: from a fresh build the command is not on the path.
    let feedmill = std::env::args().next().unwrap_or_else(|| "feedmill".to_owned());
    let Some(folder) = store::folder(settings) else {
        writeln!(out, "\ntry next, because this store is gone now\n  {feedmill} demo --data-dir store")?;
        return Ok(());
    };
    let store = format!("--data-dir {}", folder.display());
    writeln!(out, "\ntry next")?;
    for command in [
        format!("feed {person} --limit 50 {store}"),
        format!("notifications {person} --json {store}"),
        format!("counters {person} {store}"),
        format!("export userFeed {store}"),
        format!("run --until-caught-up {store}"),
    ] {
        writeln!(out, "  {feedmill} {command}")?;
    }
    Ok(())
}
