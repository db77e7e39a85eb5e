//! The full world: several hosts run the real engine with every processor, on one store, while people write, hosts crash,
//! freeze, stop and come back, partitions are split and merged, the store is down, and operators do what they do.
//!
//! Read `host.rs` for what a host is, `trouble.rs` for what happens to it, `writer.rs` for what is written, `operators.rs`
//! for who interferes, `../oracle/` for what must hold meanwhile and after.

mod host;
mod operators;
mod trouble;
mod writer;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_documents::containers;
use feedmill_engine::StartFrom;
use feedmill_erase::names;

pub(crate) use self::host::processors;
use self::host::{Host, Setting};
use self::operators::Operators;
use self::writer::Writer;
use crate::mutant::Flaws;
use crate::network::{Ground, Network, Weather};
use crate::oracle::{Projections, Rules};
use crate::power::{Power, Reader};
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;
use crate::{BEGINNING, Failure, Sink, Story, stage};

const HOSTS: [&str; 3] = ["ada", "bob", "cid"];
/// From the end of all trouble until every projection must be right. The longest wait of a sound fleet is that of a request's
/// retry (30 s) behind that of a lease (10 s); a multiple of it is no progress.
const CALM_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether everything is as it should be.
const LOOK: Duration = Duration::from_secs(2);
/// How long it must stay so.
const REST: Duration = Duration::from_secs(20);
/// Share of worlds whose store is on a disk, and has one replica.
const POWERED: f64 = 0.3;
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a world is about, where a rule shows there and hardly anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    Anything,
    /// All hosts begin at the same time, while what they read is split.
    Opening,
    /// Hosts go away for about as long as others need to count them as dead, and come back.
    Return,
}

pub(crate) fn run(seed: Seed, plot: Plot, steps: u64, flaws: Flaws, sink: &Sink) -> Result<Story, Failure> {
    let clock = ManualClock::new(BEGINNING);
    let trace = Trace::new(&clock, sink);
    stage::play(&clock.clone(), LIMIT, Box::pin(World::run(seed, plot, steps, flaws, clock, trace)))?
}

struct World {
    clock: ManualClock,
    store: Store,
    network: Network,
    rules: Rules,
    writer: Writer,
    operators: Operators,
    power: Option<Power>,
    hosts: Vec<Host>,
    chance: Entropy,
    trace: Trace,
}

impl World {
    async fn run(
        seed: Seed,
        plot: Plot,
        steps: u64,
        flaws: Flaws,
        clock: ManualClock,
        trace: Trace,
    ) -> Result<Story, Failure> {
        let (chance, clock) = (seed.stream("world"), &clock);
        let partitions = *chance.one_of(&[1, 1, 2, 3]);
        // Of a stream of its own, so that the other worlds are as they would be without.
        let power = seed.stream("power");
        let power = power.happens(POWERED).then(|| Power::new(clock, power));
        let store = match &power {
            Some(power) => {
                let reader = if flaws.shows_unsynced { Reader::World } else { Reader::Host };
                Store::on_disk(power, reader, containers::all(partitions)).await
            }
            None => Store::new(clock, containers::all(partitions)).await,
        };
        let rules = Rules::new(&store, clock, trace.clone());
        let weather = Weather::drawn(&chance);
        // Hosts of one fleet share the leases; hosts that call the account differently do not, and do all work twice.
        let one_fleet = chance.happens(0.75) || plot != Plot::Anything;
        let start = if chance.happens(0.3) && plot != Plot::Opening { StartFrom::Now } else { StartFrom::Beginning };
        let setting = Setting { one_fleet, start, plot, seed, clock, rules: &rules, trace: &trace };
        let count = *chance.one_of(if plot == Plot::Anything { &[1, 2, 2, 3] } else { &[2, 3, 3, 3] });
        let hosts: Vec<_> = HOSTS[..count].iter().map(|name| Host::new(name, &setting)).collect();
        trace.say("world", || {
            let count = hosts.len();
            let disk = if power.is_some() { ", on a disk" } else { "" };
            format!("{count} hosts{disk}, one fleet: {one_fleet}, {partitions} partitions, from {start:?}, {weather:?}")
        });
        let network = Network::new(Ground {
            clock: clock.clone(),
            entropy: seed.stream("network"),
            weather: Weather::calm(),
            trace: trace.clone(),
            replicas: store.replicas.clone(),
            truth: Arc::clone(&store.database),
            copied: flaws.copied,
            witness: Arc::new(rules.clone()),
        });
        let writer = Writer::new(seed, clock, &store, &trace);
        let mut accounts: Vec<_> = hosts.iter().map(|host| host.account.clone()).collect();
        accounts.dedup();
        let operators = Operators::new(accounts, seed, clock, &store, &network, &trace);
        let mut world =
            Self { clock: clock.clone(), store, network, rules, writer, operators, power, hosts, chance, trace };
        if start == StartFrom::Now {
            world.open().await;
        }
        world.network.set_weather(weather);
        let written = if plot == Plot::Opening { world.begin_amid_splits().await } else { 0 };
        world.act(plot, written..written + steps).await;
        world.settle_down().await?;
        world.judge(steps)
    }

    /// Where leases begin at what is now, they are made before anything is written.
    async fn open(&mut self) {
        for host in &mut self.hosts {
            host.start(&self.store, &self.network);
        }
        let mut fleets: Vec<_> = self.hosts.iter().map(|host| &host.account).collect();
        fleets.dedup();
        let markers = fleets.len() * processors(&feedmill_user_feed::Options::default()).len();
        loop {
            self.clock.sleep(LOOK).await;
            let leases = self.store.by_id(containers::LEASES).await;
            if leases.keys().filter(|id| id.ends_with(".info")).count() == markers {
                return;
            }
        }
    }

    async fn act(&mut self, plot: Plot, steps: Range<u64>) {
        let pause =
            *self.chance.one_of(&[Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(5)]);
        for host in self.hosts.iter_mut().filter(|host| !host.is_up()) {
            if self.chance.happens(0.8) {
                host.start(&self.store, &self.network);
            }
        }
        for step in steps {
            self.clock.sleep(self.chance.up_to(pause)).await;
            self.hosts.iter().for_each(Host::look_at_queues);
            if plot == Plot::Return && self.chance.happens(0.6) {
                self.go_and_return().await;
            } else if self.chance.happens(0.25) {
                self.trouble().await;
            } else {
                self.writer.step(step).await;
            }
        }
    }

    /// Nothing stands in the way any more; ends once everything is as it should be, and stays so.
    async fn settle_down(&mut self) -> Result<(), Failure> {
        self.end_trouble().await;
        let end = self.clock.monotonic() + CALM_MAX;
        loop {
            self.clock.sleep(LOOK).await;
            for host in &mut self.hosts {
                host.look()?;
                host.look_at_queues();
                if !host.is_up() {
                    host.start(&self.store, &self.network);
                }
            }
            if self.network.is_writing() {
                continue;
            }
            let differences = self.differences().await;
            if differences.is_empty() {
                break;
            }
            if self.clock.monotonic() >= end {
                return Err(Failure::Wrong(differences));
            }
        }
        self.clock.sleep(REST).await;
        if let Some(gone) = self.writer.gone() {
            self.erase(gone).await?;
            self.clock.sleep(REST).await;
        }
        match self.differences().await {
            differences if differences.is_empty() => Ok(()),
            differences => Err(Failure::Wrong(differences)),
        }
    }

    /// Who has gone is taken out, and no document that anybody is shown names the person.
    async fn erase(&self, gone: &'static str) -> Result<(), Failure> {
        let end = self.clock.monotonic() + CALM_MAX;
        // What is settled waits a while until its position is stored, and what gathers until it is counted.
        let mut left = loop {
            let left = self.operators.erase(gone).await;
            if left.is_empty() || self.clock.monotonic() >= end {
                break left;
            }
            self.clock.sleep(LOOK).await;
        };
        for spec in containers::all(1) {
            for (id, document) in self.store.by_id(&spec.name).await {
                if document.get("deletedAt").is_none() && names(&spec.name, &document, gone) {
                    left.push(format!("{id} of {} still names {gone}: {document}", spec.name));
                }
            }
        }
        if left.is_empty() { Ok(()) } else { Err(Failure::Wrong(left)) }
    }

    async fn differences(&self) -> Vec<String> {
        use containers::{
            AUTHOR_POSTS, BLOCKS, COUNTERS, FOLLOWING, FOLLOWS, NOTIFICATIONS, POSTS, REACTIONS, USER_FEED,
        };
        let projections = Projections {
            sources: vec![(POSTS, POSTS), (FOLLOWS, FOLLOWS), (REACTIONS, REACTIONS), (BLOCKS, BLOCKS)],
            derived: vec![USER_FEED, COUNTERS, NOTIFICATIONS],
            copies: vec![(AUTHOR_POSTS, POSTS), (FOLLOWING, FOLLOWS)],
            gone: self.writer.gone(),
        };
        let differences = projections.differences(&self.store, &self.writer.read(), self.clock.now()).await;
        differences.into_iter().chain(self.rules.overlaps()).collect()
    }

    fn judge(&self, steps: u64) -> Result<Story, Failure> {
        let broken = self.rules.broken();
        if !broken.is_empty() {
            return Err(Failure::Broken(broken));
        }
        let lasted = self.clock.monotonic().since(Monotonic::from_origin(Duration::ZERO));
        Ok(Story { requests: self.network.requests(), steps, lasted })
    }
}
