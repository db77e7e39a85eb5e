//! A subject is reacted to faster and slower: what does its counter cost?
//!
//! Counted on the simulated clock, on a store that takes the longer for an answer the more it charges (`supply.rs`), because how
//! long a count takes decides how many changes gather for the next one.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, ManualClock};
use feedmill_documents::containers::{self, COUNTERS, LEASES, REACTIONS};
use feedmill_documents::time;
use feedmill_engine::{Engine, Lifetime, Options, Parts, StartFrom};
use feedmill_store_api::{DocumentId, Operation, PartitionKey};
use futures::FutureExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::seed::Seed;
use crate::store::Store;
use crate::supply::Supply;
use crate::{BEGINNING, stage};

const SUBJECT: &str = "p";
const OPENING: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const LOOK: Duration = Duration::from_millis(100);

/// What is played.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Reactions that there are already.
    pub size: usize,
    /// Reactions that come.
    pub changes: usize,
    /// From one to the next.
    pub gap: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Of everything but leases and empty pages of feeds.
    pub units: f64,
    /// How often the subject was counted.
    pub counts: u64,
    /// From the first reaction to the counter that has them all.
    pub took: Duration,
}

impl Subject {
    /// Plays it. The same play costs the same every time.
    ///
    /// # Errors
    ///
    /// Where it does not come to an end: what it waits for.
    pub fn play(&self) -> Result<Cost, String> {
        let clock = ManualClock::new(BEGINNING);
        stage::play(&clock, LIMIT, run(self.clone(), clock.clone())).map_err(|stuck| stuck.to_string())
    }
}

async fn run(subject: Subject, clock: ManualClock) -> Cost {
    let seed = Seed(0);
    let specs = containers::all(1).into_iter();
    let store = Store::new(&clock, specs).await;
    let supply = Supply::new(&clock, seed.stream("supply"), f64::INFINITY);
    let reactions = store.database.container(REACTIONS).await.expect("it is provisioned");
    let key = PartitionKey::from(SUBJECT);
    let reaction = |number: usize| {
        let (id, user) = (format!("{SUBJECT}:u{number}"), format!("u{number}"));
        let body = json!({"id": id, "postId": SUBJECT, "userId": user, "type": "like",
            "createdAt": time::text(BEGINNING)});
        Operation::Create { id: DocumentId::new(id).expect("it is short"), body: body.to_string().into() }
    };
    for first in (0..subject.size).step_by(100) {
        let some = (first..subject.size.min(first + 100)).map(reaction).collect();
        reactions.batch(&key, some).await.expect("memory does not fail");
    }
    let mut engine = Engine::new(Parts {
        database: supply.of(&store.database, "host"),
        clock: Arc::new(clock.clone()),
        entropy: seed.stream("host"),
        host: "host".to_owned(),
        exclusive: true,
        options: Options::default(),
    });
    for processor in feedmill_counters::processors(&feedmill_counters::Options::default(), StartFrom::Now) {
        engine.add(processor);
    }
    let run = engine.run(Lifetime::UntilStopped, CancellationToken::new()).map(|ended| {
        panic!("the engine ended by itself: {ended:?}");
    });
    let _run = AbortOnDropHandle::new(tokio::spawn(run.boxed()));
    clock.sleep(OPENING).await;
    let (before, began) = (units(&supply), clock.monotonic());
    for number in 0..subject.changes {
        clock.sleep(subject.gap).await;
        reactions.write(&key, reaction(subject.size + number)).await.expect("memory does not fail");
    }
    let wanted = subject.size + subject.changes;
    loop {
        let counted = store.by_id(COUNTERS).await.remove("p:likes");
        if counted.is_some_and(|counter| counter["value"] == wanted) {
            break;
        }
        clock.sleep(LOOK).await;
    }
    let took = clock.monotonic().since(began);
    Cost { units: units(&supply) - before, counts: supply.written(COUNTERS), took }
}

fn units(supply: &Supply) -> f64 {
    supply.charged().iter().filter(|(container, _)| *container != LEASES).map(|(_, units)| units).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_fast_is_counted_together_and_what_comes_slowly_one_by_one() {
        let play = |gap| Subject { size: 100, changes: 50, gap }.play().unwrap();
        let (slow, fast) = (play(Duration::from_secs(10)), play(Duration::ZERO));
        // It is there, as 0, before it counts.
        assert_eq!(slow.counts, 1 + 50);
        assert!(fast.counts < 10, "{fast:?}");
        assert!(fast.units < slow.units / 5.0, "{fast:?} {slow:?}");
    }
}
