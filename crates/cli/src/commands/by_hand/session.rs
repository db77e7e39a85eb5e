use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_documents::{containers, id};
use feedmill_engine::{Act, Backlog, Difference, Judged, SettleError, Settler, Writer};
use feedmill_store_api::{Database, PartitionKey, Query};
use feedmill_user_feed::UserFeed;

use super::canonical::{Canonical, Origin};
use super::people::Who;
use super::report::Report;
use crate::error::{Failure, Result};
use crate::running::Running;
use crate::settings::Settings;
use crate::{store, wiring};

/// Changes of one processor and source that are looked through for what is in flight.
const IN_FLIGHT_MAX: usize = 100_000;
const PAGE_ITEMS: usize = 1_000;

type Settled = std::result::Result<Judged, SettleError>;

/// A projection that is kept person by person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    UserFeed,
    Counters,
    Notifications,
}

/// One command's work on one store.
pub(crate) struct Session {
    settings: Settings,
    running: Running,
    database: Arc<dyn Database>,
    writer: Writer,
    /// Where feeds are computed from the canonical tables.
    canonical: Option<Canonical>,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UserFeed => "user-feed",
            Self::Counters => "counters",
            Self::Notifications => "notifications",
        }
    }

    /// Name of its processors.
    fn processor(self, settings: &Settings) -> String {
        match self {
            Self::UserFeed => feedmill_user_feed::name(&settings.user_feed),
            Self::Counters => feedmill_counters::name(&settings.counters),
            Self::Notifications => feedmill_notifications::NAME.to_owned(),
        }
    }

    /// Everything of one person's: the feed, what they were told, or their counters and those of their posts.
    async fn of(self, user: &str, act: Act, session: &Session, settler: &Settler<'_>) -> Settled {
        let settings = &session.settings;
        match self {
            Self::UserFeed => {
                let feed = UserFeed::new(settings.user_feed.clone());
                match &session.canonical {
                    Some(canonical) => feed.rebuild_from(canonical, user, act, settler).await,
                    None => feed.rebuild(user, act, settler).await,
                }
            }
            Self::Notifications => feedmill_notifications::rebuild(&settings.notifications, user, act, settler).await,
            Self::Counters => {
                let mut judged = feedmill_counters::rebuild(&settings.counters, user, act, settler).await?;
                let (key, query) = (PartitionKey::from(user), Query::new("SELECT VALUE c.id FROM c"));
                let mut continuation = None;
                loop {
                    let reader = settler.reader();
                    let page = reader.query(containers::AUTHOR_POSTS, &key, &query, PAGE_ITEMS, continuation).await?;
                    for item in page.items {
                        let Ok([post]) = serde_json::from_slice::<String>(&item)
                            .map_or(Ok([String::new()]), |post| id::split(&post))
                        else {
                            continue;
                        };
                        let of_post = feedmill_counters::rebuild(&settings.counters, &post, act, settler).await?;
                        judged.targets += of_post.targets;
                        judged.differences.extend(of_post.differences);
                    }
                    continuation = page.continuation;
                    if continuation.is_none() {
                        return Ok(judged);
                    }
                }
            }
        }
    }
}

impl Session {
    pub(crate) async fn open(settings: Settings, origin: Origin) -> Result<Self> {
        let running = Running::prepare(&settings).await?;
        let canonical = match origin {
            Origin::Store => None,
            Origin::Postgres => Some(Canonical::open(&settings, running.clock.clone()).await?),
        };
        let store::Opened { database, .. } = store::open_existing(&settings, running.clock.clone()).await?;
        store::provision(&*database, &settings).await?;
        let writer = Writer::new(
            database.clone(),
            running.clock.clone(),
            running.entropy.clone(),
            settings.engine.settle.clone(),
        );
        Ok(Self { settings, running, database, writer, canonical })
    }

    /// Does this to everybody, one after the other, at no more than so many request units a second. What is not in
    /// `sample` of all people, in parts of 1, is left out.
    pub(crate) async fn act(
        &self,
        which: Which,
        who: &Who,
        act: Act,
        sample: f64,
        rate: Option<f64>,
        report: &mut Report,
    ) -> Result<()> {
        let mut people = who.people(self.canonical.as_ref()).await?;
        let bar = self.running.screen.counting(which.name());
        let (began, mut spent, mut last) = (self.running.clock.monotonic(), 0.0, None::<String>);
        loop {
            let some = people.next(&*self.database).await?;
            if some.is_empty() {
                bar.finish_and_clear();
                return Ok(());
            }
            for user in some.into_iter().filter(|user| is_in_sample(user, sample)) {
                if self.running.stop.is_cancelled() {
                    bar.finish_and_clear();
                    return Err(stopped(last));
                }
                // A count does not say from what it was made, so nothing of it may be skipped; rows decide by content.
                let repair = act == Act::Repair || which == Which::Counters || self.canonical.is_some();
                let settler = self.writer.operator(repair);
                let judged = which.of(&user, act, self, &settler).await.map_err(|error| failed(error, &user))?;
                let charge = settler.tally().total();
                spent += (charge.reads + charge.writes).units();
                report.take(which, &user, judged, charge.written);
                bar.inc(1);
                last = Some(user);
                if let Some(rate) = rate {
                    let due = Duration::try_from_secs_f64(spent / rate).unwrap_or(Duration::MAX);
                    let wait = due.saturating_sub(self.running.clock.monotonic().since(began));
                    tokio::select! {
                        biased;
                        () = self.running.stop.cancelled() => {}
                        () = self.running.clock.sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Which of these differences a change may explain that is still to be settled.
    pub(crate) async fn in_flight<'a>(
        &self,
        which: Which,
        differences: impl IntoIterator<Item = &'a Difference>,
    ) -> Result<Vec<bool>> {
        let differences: Vec<_> = differences.into_iter().collect();
        let mut waiting = vec![false; differences.len()];
        if let Some(canonical) = &self.canonical {
            waiting = canonical.waiting(&differences).await?;
        }
        let mut backlogs: BTreeMap<(String, String), Backlog> = BTreeMap::new();
        for processor in wiring::processors(&self.settings) {
            let (name, source) = (processor.name, processor.source);
            if name == which.processor(&self.settings) || name == feedmill_index::NAME {
                let leases = &self.settings.engine.leases;
                let backlog = Backlog::of(&*self.database, leases, &name, &source, IN_FLIGHT_MAX).await?;
                backlogs.insert((name, source), backlog);
            }
        }
        // A count names no sources, and what an index has yet to bring may be counted by any key.
        let index = backlogs.iter().any(|((name, _), backlog)| name == feedmill_index::NAME && !backlog.is_empty());
        let explained = |difference: &Difference| {
            which == Which::Counters && index || backlogs.values().any(|backlog| backlog.may_explain(difference))
        };
        Ok(differences.into_iter().zip(waiting).map(|(difference, waits)| waits || explained(difference)).collect())
    }

    pub(crate) fn say(&self, text: &str) {
        self.running.screen.say(text);
    }
}

fn stopped(last: Option<String>) -> Failure {
    let hint = match last {
        None => "the same command again begins anew".to_owned(),
        Some(user) => format!("the same command with --after '{user}' goes on where this one stopped"),
    };
    Failure::failed(anyhow::anyhow!("stopped before everybody was looked at"), hint)
}

fn failed(error: SettleError, user: &str) -> Failure {
    let hint = match &error {
        SettleError::Store(_) => "the same command again does what is left to do",
        SettleError::Invalid(_) => {
            "a document that cannot be understood is a dead letter too: `feedmill dead-letters list`"
        }
    };
    Failure::failed(anyhow::Error::new(error).context(format!("look at what {user} has")), hint)
}

/// The same people each time, whoever else there is.
fn is_in_sample(user: &str, sample: f64) -> bool {
    let hash = user
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The upper bits are the better mixed ones.
    (hash >> 32) as f64 / f64::from(u32::MAX) <= sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_about_the_part_that_was_asked_for_and_grows_with_it() {
        let people: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let sample = |part| people.iter().filter(|user| is_in_sample(user, part)).count();
        assert_eq!(sample(1.0), 10_000);
        assert!((50..200).contains(&sample(0.01)), "{}", sample(0.01));
        assert!((4_500..5_500).contains(&sample(0.5)), "{}", sample(0.5));
        assert!(people.iter().all(|user| !is_in_sample(user, 0.01) || is_in_sample(user, 0.5)));
    }
}
