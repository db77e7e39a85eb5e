//! The full world: several hosts run the real engine with every processor, on one store, while people write and hosts
//! crash, freeze, stop and come back.
//!
//! Read `host.rs` for what a host is, `writer.rs` for what is written, `../oracle/` for what must hold meanwhile and after.

mod host;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_documents::containers;

use self::host::Host;
use self::writer::Writer;
use crate::network::{Network, Weather};
use crate::oracle::{Projections, Rules};
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
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn run(seed: Seed, steps: u64, sink: &Sink) -> Result<Story, Failure> {
    let clock = ManualClock::new(BEGINNING);
    let trace = Trace::new(&clock, sink);
    stage::play(&clock, LIMIT, Box::pin(World::run(seed, steps, &clock, trace)))?
}

struct World {
    clock: ManualClock,
    store: Store,
    network: Network,
    rules: Rules,
    writer: Writer,
    hosts: Vec<Host>,
    chance: Entropy,
    trace: Trace,
}

impl World {
    async fn run(seed: Seed, steps: u64, clock: &ManualClock, trace: Trace) -> Result<Story, Failure> {
        let chance = seed.stream("world");
        let partitions = *chance.one_of(&[1, 1, 2, 3]);
        let store = Store::new(clock, containers::all(partitions)).await;
        let rules = Rules::new(&store, trace.clone());
        let weather = Weather::drawn(&chance);
        // Hosts of one fleet share the leases; hosts that call the account differently do not, and do all work twice.
        let one_fleet = chance.happens(0.6);
        let hosts = HOSTS[..*chance.one_of(&[1, 2, 2, 3])].iter();
        let hosts: Vec<_> = hosts.map(|name| Host::new(name, one_fleet, seed, clock, &rules, &trace)).collect();
        trace.say("world", || {
            format!("{} hosts, one fleet: {one_fleet}, {partitions} partitions, {weather:?}", hosts.len())
        });
        let witness = Arc::new(rules.clone());
        let network = Network::new(clock, seed.stream("network"), weather, trace.clone(), witness);
        let writer = Writer::new(seed.stream("writer"), clock, &store, &trace);
        let mut world = Self { clock: clock.clone(), store, network, rules, writer, hosts, chance, trace };
        world.act(steps).await;
        world.settle_down().await?;
        world.judge(steps)
    }

    async fn act(&mut self, steps: u64) {
        let pause =
            *self.chance.one_of(&[Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(5)]);
        for host in &mut self.hosts {
            if self.chance.happens(0.8) {
                host.start(&self.store, &self.network);
            }
        }
        for step in 0..steps {
            self.clock.sleep(self.chance.up_to(pause)).await;
            if self.chance.happens(0.15) {
                self.disturb();
            } else {
                self.writer.step(step).await;
            }
        }
    }

    fn disturb(&mut self) {
        let index = usize::try_from(self.chance.below(0..self.hosts.len() as u64)).expect("there are few hosts");
        let host = &mut self.hosts[index];
        match self.chance.below(0..6) {
            0 if host.is_up() => host.crash(),
            1 if host.is_up() => host.stop(),
            0..=2 if !host.is_up() => host.start(&self.store, &self.network),
            3 => host.clock.jump(&self.chance),
            _ if host.is_frozen() => host.thaw(),
            _ => host.freeze(),
        }
    }

    /// Nothing stands in the way any more; ends once everything is as it should be, and stays so.
    async fn settle_down(&mut self) -> Result<(), Failure> {
        self.trace.say("world", || "calm".to_owned());
        self.network.set_weather(Weather::calm());
        for host in &self.hosts {
            host.thaw();
        }
        let end = self.clock.monotonic() + CALM_MAX;
        loop {
            self.clock.sleep(LOOK).await;
            for host in &mut self.hosts {
                host.look()?;
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
        match self.differences().await {
            differences if differences.is_empty() => Ok(()),
            differences => Err(Failure::Wrong(differences)),
        }
    }

    async fn differences(&self) -> Vec<String> {
        use containers::{
            AUTHOR_POSTS, BLOCKS, COUNTERS, FOLLOWING, FOLLOWS, NOTIFICATIONS, POSTS, REACTIONS, USER_FEED,
        };
        let projections = Projections {
            sources: vec![(POSTS, POSTS), (FOLLOWS, FOLLOWS), (REACTIONS, REACTIONS), (BLOCKS, BLOCKS)],
            derived: vec![USER_FEED, COUNTERS, NOTIFICATIONS],
            copies: vec![(AUTHOR_POSTS, POSTS), (FOLLOWING, FOLLOWS)],
        };
        projections.differences(&self.store, &self.writer.read(), self.clock.now()).await
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
