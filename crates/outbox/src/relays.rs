use std::sync::Arc;

use feedmill_clock::Entropy;
use feedmill_store_api::Database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::claim::OneOf;
use crate::{Error, Lifetime, Outbox, Progress, Relay, Summary, gauges};

/// The relays of one process, as many as `relays` says: while one waits for the store, another claims.
///
/// Keys are dealt out among them; of relays in other processes they know nothing but what these have locked.
pub struct Relays {
    outbox: Outbox,
    relays: Vec<Relay>,
}

impl Relays {
    pub fn new(outbox: &Outbox, database: &Arc<dyn Database>, entropy: &Entropy) -> Self {
        let relays = outbox.options.relays;
        let relay =
            |number| Relay::one_of(OneOf { number, relays }, outbox.clone(), Arc::clone(database), entropy.clone());
        Self { outbox: outbox.clone(), relays: (0..relays).map(relay).collect() }
    }

    pub fn progress(&self) -> Vec<Progress> {
        self.relays.iter().map(Relay::progress).collect()
    }

    /// Runs all of them to the end of `lifetime`, or until `stop`. The first error stops the others in order.
    pub async fn run(self, lifetime: Lifetime, stop: CancellationToken) -> Result<Summary, Error> {
        let stop = stop.child_token();
        let mut running = JoinSet::new();
        // Ends with this set, whatever ends it.
        let mut measuring = JoinSet::new();
        measuring.spawn(gauges::keep(self.outbox));
        for relay in self.relays {
            let stop = stop.clone();
            running.spawn(async move { relay.run(lifetime, stop).await });
        }
        let mut together = Ok(Summary::default());
        while let Some(ended) = running.join_next().await {
            let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            match (ended, &mut together) {
                (Ok(summary), Ok(sum)) => *sum = *sum + summary,
                (Err(error), Ok(_)) => {
                    stop.cancel();
                    together = Err(error);
                }
                (_, Err(_)) => {}
            }
        }
        together
    }
}
