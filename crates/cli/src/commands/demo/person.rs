use feedmill_documents::containers::PUBLIC_PROFILES;
use feedmill_documents::counter;
use feedmill_store_api::{Container, Database, FeedStart, PartitionKey, ReadLevel, Result};
use serde::Deserialize;

use crate::line::identity;
use crate::settings::Settings;

/// People looked at to find one whose feed is worth showing.
const LOOKED_AT: usize = 300;

/// What makes a person worth showing: some of everything, rather than very much of one thing.
const ENOUGH: u64 = 30;

#[derive(Deserialize)]
struct Value {
    value: u64,
}

/// Somebody who follows some, is followed by some and has written something; `None` where there is nobody at all.
pub(super) async fn worth_showing(database: &dyn Database, settings: &Settings) -> Result<Option<String>> {
    let (profiles, counters) =
        (database.container(PUBLIC_PROFILES).await?, database.container(&settings.counters.container).await?);
    let mut best: Option<(u64, String)> = None;
    for person in some_people(&*profiles).await? {
        let mut score = 0;
        for name in [counter::FOLLOWING, counter::FOLLOWERS, counter::POSTS] {
            score += value(&*counters, &person, name).await?.min(ENOUGH);
        }
        if best.as_ref().is_none_or(|(best, _)| score > *best) {
            best = Some((score, person));
        }
    }
    Ok(best.map(|(_, person)| person))
}

async fn some_people(profiles: &dyn Container) -> Result<Vec<String>> {
    let mut people = Vec::new();
    for range in profiles.feed_ranges().await? {
        let page = profiles.read_page(&range, &FeedStart::Beginning, LOOKED_AT).await?;
        for change in page.changes.iter().take(LOOKED_AT) {
            let (_, key) = identity(&change.body, profiles.partition_key_paths())?;
            people.extend(key.as_str().map(str::to_owned));
        }
    }
    people.sort();
    people.truncate(LOOKED_AT);
    Ok(people)
}

async fn value(counters: &dyn Container, subject: &str, name: &str) -> Result<u64> {
    let Ok(id) = counter::id(subject, name) else { return Ok(0) };
    let (found, _) = counters.read(&PartitionKey::from(subject), &id, &ReadLevel::Quorum).await?;
    found.map_or(Ok(0), |counter| counter.parse::<Value>().map(|counter| counter.value))
}
