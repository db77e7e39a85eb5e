use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_counters::Measure;
use feedmill_documents::{Post, containers, counter};
use feedmill_store_api::{Database, ErrorKind, PartitionKey, Query, ReadLevel};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::output::{Lines, Table};
use crate::settings::Settings;
use crate::store;

/// Shows the counters of a person or a post
///
/// A counter that is not stored is unknown, not zero, because its time to live may have taken it: it is counted at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill counters 17 --data-dir ./store")]
pub(crate) struct Args {
    /// Id of the person or the post
    subject: String,

    /// Prints at most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Prints what comes after the counter of this name
    #[arg(long, value_name = "NAME")]
    before: Option<String>,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// One number about the subject, as it is shown.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    subject_id: String,
    name: String,
    value: u64,
    /// Container and position of the last change it was counted for; of one that was counted now there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_of: Option<serde_json::Value>,
    /// It was not stored.
    #[serde(default)]
    counted_now: bool,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
    let all = counters_of(&*database, settings, &args.subject).await?;
    let after = |shown: &&Shown| args.before.as_ref().is_none_or(|before| shown.name > *before);
    let shown: Vec<_> = all.values().filter(after).take(args.limit).collect();
    if args.json {
        let mut lines = Lines::to_stdout();
        for counter in shown {
            lines.print(counter)?;
        }
        return Ok(lines.finish()?);
    }
    print(&shown)
}

/// All of them, for the demo.
pub(crate) async fn show(database: &dyn Database, settings: &Settings, subject: &str) -> Result<()> {
    print(&counters_of(database, settings, subject).await?.values().collect::<Vec<_>>())
}

fn print(counters: &[&Shown]) -> Result<()> {
    let mut table = Table::new(&["counter", "value", ""]).right(&[1]);
    for counter in counters {
        let note = if counter.counted_now { "counted now" } else { "" };
        table.row([counter.name.clone(), counter.value.to_string(), note.to_owned()]);
    }
    Ok(table.print()?)
}

/// By name: what is stored, and of what is not what it is now.
async fn counters_of(database: &dyn Database, settings: &Settings, subject: &str) -> Result<BTreeMap<String, Shown>> {
    let container = store::container(database, &settings.counters.container).await?;
    let stored = Query::new("SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt)");
    let mut shown = BTreeMap::new();
    for body in store::query_all(&*container, subject.into(), &stored).await? {
        if let Ok(counter) = serde_json::from_slice::<Shown>(&body) {
            shown.insert(counter.name.clone(), counter);
        }
    }
    let is_post = is_post(database, subject).await?;
    for measure in Measure::ALL {
        if shown.contains_key(measure.counter().unwrap_or(counter::LIKES)) {
            continue;
        }
        let about_posts = matches!(measure, Measure::Reactions | Measure::Replies);
        for (name, value) in count(database, measure, subject).await? {
            // One id may be a person's and a post's; a person has no likes and a post no followers, so those zeros say nothing.
            if (value > 0 || about_posts == is_post) && !shown.contains_key(&name) {
                let counter =
                    Shown { subject_id: subject.to_owned(), name: name.clone(), value, as_of: None, counted_now: true };
                shown.insert(name, counter);
            }
        }
    }
    Ok(shown)
}

/// The values as they are now; a count of nothing is 0.
async fn count(database: &dyn Database, measure: Measure, subject: &str) -> Result<BTreeMap<String, u64>> {
    let container = store::container(database, measure.container()).await?;
    let results = store::query_all(&*container, subject.into(), &measure.query()).await?;
    let corrupt = |error| {
        let text = format!("count the documents of {subject} in {}", measure.container());
        feedmill_store_api::Error::new(ErrorKind::Corrupt, text).with_source(error)
    };
    let mut values = measure.values(&results).map_err(corrupt)?;
    values.entry(measure.counter().unwrap_or(counter::LIKES).to_owned()).or_default();
    Ok(values)
}

async fn is_post(database: &dyn Database, subject: &str) -> Result<bool> {
    let Ok(id) = Post::id(subject) else { return Ok(false) };
    let posts = store::container(database, containers::POSTS).await?;
    let (found, _) = posts.read(&PartitionKey::from(subject), &id, &ReadLevel::Quorum).await?;
    Ok(found.is_some())
}
