use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Entropy, ManualClock};
use feedmill_engine::{Engine, EngineError, Lifetime, Options, Parts, Processor, StartFrom, Status, Summary};
use feedmill_store_api::Database;
use futures::FutureExt;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Plot;
use crate::gate::Gate;
use crate::host_clock::HostClock;
use crate::network::{Cut, FaultyDatabase, Link, Network, Reach};
use crate::oracle::Rules;
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;
use crate::{Failure, tiny};

const RANGES_MAX: usize = 2;
const LISTING_OFTEN: Duration = Duration::from_secs(2);

/// A process with an engine in it.
pub(super) struct Host {
    name: &'static str,
    /// What it calls the account: hosts of one fleet call it the same.
    pub(super) account: String,
    pub(super) clock: HostClock,
    gate: Gate,
    reach: Reach,
    chance: Entropy,
    rules: Rules,
    trace: Trace,
    options: Options,
    start: StartFrom,
    feeds: feedmill_user_feed::Options,
    life: Option<Life>,
    lives: u32,
}

struct Life {
    name: String,
    status: Status,
    run: AbortOnDropHandle<Result<Summary, EngineError>>,
    stop: CancellationToken,
    /// Listens to what the engine tells.
    _ear: AbortOnDropHandle<()>,
}

/// What hosts are told of the world.
pub(super) struct Setting<'a> {
    pub(super) one_fleet: bool,
    pub(super) start: StartFrom,
    pub(super) plot: Plot,
    pub(super) seed: Seed,
    pub(super) clock: &'a ManualClock,
    pub(super) rules: &'a Rules,
    pub(super) trace: &'a Trace,
}

impl Host {
    pub(super) fn new(name: &'static str, setting: &Setting<'_>) -> Self {
        let &Setting { one_fleet, start, plot, seed, clock, rules, trace } = setting;
        let (gate, chance) = (Gate::open(), seed.stream(name));
        let clock = HostClock::new(clock, &gate, &chance);
        let account = if one_fleet { "account" } else { name }.to_owned();
        // Members of a fleet have the same settings.
        let options = options(&seed.stream(&format!("options of {account}")), plot);
        let feeds = tiny::feeds(&seed.stream("feeds"));
        let (reach, rules, trace) = (Reach::default(), rules.clone(), trace.clone());
        let (life, lives) = (None, 0);
        Self { name, account, clock, gate, reach, chance, rules, trace, options, start, feeds, life, lives }
    }

    pub(super) fn start(&mut self, store: &Store, network: &Network) {
        self.lives += 1;
        let life = format!("{} {}", self.name, self.lives);
        self.trace.say(&life, || "starts".to_owned());
        self.rules.begins(&life, self.options.settle.requests_in_flight_max);
        let link = Link::new(network, &life, &self.gate, &self.reach);
        let database: Arc<dyn Database> = Arc::new(FaultyDatabase::new(&store.served, &link).called(&self.account));
        let mut engine = Engine::new(Parts {
            database,
            clock: Arc::new(self.clock.clone()),
            entropy: Entropy::seeded(self.chance.next_u64()),
            host: self.name.to_owned(),
            exclusive: false,
            options: self.options.clone(),
        });
        for mut processor in processors(&self.feeds) {
            processor.start = self.start;
            // More than there are hosts are of no use to a world of a few keys.
            processor.ranges_min = processor.ranges_min.min(RANGES_MAX);
            let at_once_max = self.options.deliveries_in_flight_max;
            engine.add(self.rules.watched(processor, &self.account, &life, at_once_max));
        }
        let (status, mut events) = (engine.status(), engine.events());
        let (name, rules, account) = (life.clone(), self.rules.clone(), self.account.clone());
        let ear = tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => rules.heard(&account, &life, &event),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let stop = CancellationToken::new();
        let run = tokio::spawn(engine.run(Lifetime::UntilStopped, stop.clone()).boxed());
        self.life =
            Some(Life { name, status, run: AbortOnDropHandle::new(run), stop, _ear: AbortOnDropHandle::new(ear) });
    }

    /// The process is gone at once; what it has sent goes its way.
    pub(super) fn crash(&mut self) {
        self.trace.say(self.name, || "crashes".to_owned());
        self.life = None;
    }

    /// As an orchestrator stops it.
    pub(super) fn stop(&self) {
        if let Some(life) = &self.life {
            self.trace.say(self.name, || "is told to stop".to_owned());
            life.stop.cancel();
        }
    }

    pub(super) fn cut_off(&self, cut: Cut) {
        self.trace.say(self.name, || format!("is cut off from {cut:?}"));
        self.reach.set(cut);
    }

    pub(super) fn freeze(&self) {
        self.trace.say(self.name, || "freezes".to_owned());
        self.gate.set_open(false);
    }

    pub(super) fn thaw(&self) {
        if self.is_frozen() {
            self.trace.say(self.name, || "wakes up".to_owned());
        }
        self.gate.set_open(true);
    }

    pub(super) fn is_frozen(&self) -> bool {
        !self.gate.is_open()
    }

    pub(super) fn is_up(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.run.is_finished())
    }

    /// What is read and not settled is no more than the options allow: less than that, and one page.
    pub(super) fn look_at_queues(&self) {
        let Some(Life { name, status, .. }) = &self.life else { return };
        let waiting_max = self.options.changes_in_flight_max - 1 + self.options.page_items_max;
        for range in status.ranges().iter().filter(|range| range.changes_waiting > waiting_max) {
            let (waiting, processor, range) = (range.changes_waiting, &range.processor, &range.range);
            self.rules
                .breach(format!("{name} has read {waiting} changes of {range} for {processor}, {waiting_max} at most"));
        }
    }

    /// An engine that ended without having been told to is told about; one that was stopped is started again by whoever
    /// looks next.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        let Some(life) = self.life.take_if(|life| life.run.is_finished()) else { return Ok(()) };
        let ended = life.run.now_or_never().expect("it is finished");
        match ended {
            Ok(Ok(_)) if life.stop.is_cancelled() => Ok(()),
            other => Err(Failure::Broken(vec![format!("the engine of {} ended by itself: {other:?}", self.name)])),
        }
    }
}

/// Every processor there is.
pub(crate) fn processors(feeds: &feedmill_user_feed::Options) -> Vec<Processor> {
    let start = StartFrom::Beginning;
    [
        feedmill_index::processors(&feedmill_index::Options::default(), start),
        feedmill_user_feed::processors(feeds, start),
        feedmill_counters::processors(&feedmill_counters::Options::default(), start),
        feedmill_notifications::processors(&feedmill_notifications::Options::default(), start),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What an operator would sanely choose.
fn options(chance: &Entropy, plot: Plot) -> Options {
    let mut options = Options {
        page_items_max: *chance.one_of(&[1, 3, 20, 1_000]),
        deliveries_in_flight_max: *chance.one_of(&[1, 4, 32]),
        changes_in_flight_max: *chance.one_of(&[2, 100, 10_000]),
        pages_in_flight_max: *chance.one_of(&[2, 10, 1_000]),
        poll_delay_max: Duration::from_secs(*chance.one_of(&[1, 5])),
        checkpoint_pages: *chance.one_of(&[1, 3, 50]),
        checkpoint_age: Duration::from_millis(*chance.one_of(&[100, 5_000])),
        ranges_per_partition: *chance.one_of(&[1, 1, 2]),
        ..Options::default()
    };
    options.settle.requests_in_flight_max = *chance.one_of(&[1, 3, 64]);
    match plot {
        // Where partitions are cut finer, leases made at different times may overlap without one containing the other.
        Plot::Opening => options.ranges_per_partition = *chance.one_of(&[1, 2, 3]),
        // Who lists for long sees late that a heartbeat failed.
        Plot::Return => options.lease_list_interval = *chance.one_of(&[options.lease_list_interval, LISTING_OFTEN]),
        Plot::Anything => {}
    }
    options
}
