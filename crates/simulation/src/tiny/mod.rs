//! The tiny world: an author, two followers, two posts, two hosts that both work on everything at the same time.
//!
//! The hosts deliver to the real handlers and settle with the real settler, without leases: nobody ever owns anything
//! alone here, and effects must be exactly-once all the same. Holes that a big quiet world shows once in a million runs
//! show up here within thousands. Read `play.rs` for what is played, `host.rs` for who plays.

mod host;
mod play;

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};

use self::host::Host;
use self::play::Play;
pub(crate) use self::play::feeds;
use crate::network::{Network, NoWitness, Weather};
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;
use crate::{BEGINNING, Failure, Sink, Story, stage};

const HOSTS: [&str; 2] = ["ada", "bob"];
/// Nothing here takes longer when all is well.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it is looked whether everything is quiet.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(seed: Seed, steps: u64, sink: &Sink) -> Result<Story, Failure> {
    let clock = ManualClock::new(BEGINNING);
    let trace = Trace::new(&clock, sink);
    stage::play(&clock, LIMIT, Box::pin(World::run(seed, steps, &clock, trace)))?
}

struct World {
    clock: ManualClock,
    store: Store,
    network: Network,
    play: Play,
    hosts: Vec<Host>,
    chance: Entropy,
    trace: Trace,
}

impl World {
    async fn run(seed: Seed, steps: u64, clock: &ManualClock, trace: Trace) -> Result<Story, Failure> {
        let chance = seed.stream("world");
        let play = Play::new(&chance);
        let store = Store::new(clock, play.containers()).await;
        let weather = Weather::drawn(&chance);
        trace.say("world", || format!("{play:?} {weather:?}"));
        let network = Network::new(clock, seed.stream("network"), weather, trace.clone(), Arc::new(NoWitness));
        let hosts = HOSTS.map(|name| Host::new(name, seed, clock, &trace));
        let mut world = Self { clock: clock.clone(), store, network, play, hosts: hosts.into(), chance, trace };
        world.act(steps).await;
        world.quiet().await;
        world.judge(steps).await
    }

    async fn act(&mut self, steps: u64) {
        // Long breaks let writes settle in between, short ones make them meet.
        let pause = *self.chance.one_of(&[Duration::from_millis(3), Duration::from_millis(30), Duration::from_secs(2)]);
        for host in &mut self.hosts {
            if self.chance.happens(0.7) {
                host.start(&self.play, &self.store, &self.network);
            }
        }
        for step in 0..steps {
            self.clock.sleep(self.chance.up_to(pause)).await;
            if self.chance.happens(0.25) {
                self.disturb();
            } else {
                self.play.step(step, &self.chance, &self.clock, &self.store, &self.network, &self.trace).await;
            }
        }
    }

    fn disturb(&mut self) {
        let index = usize::from(self.chance.happens(0.5));
        let host = &mut self.hosts[index];
        match self.chance.below(0..4) {
            0 if host.is_up() => host.crash(),
            0 | 1 if !host.is_up() => host.start(&self.play, &self.store, &self.network),
            2 => host.clock.jump(&self.chance),
            _ if host.is_frozen() => host.thaw(),
            _ => host.freeze(),
        }
    }

    /// Nothing stands in the way any more; ends when both hosts have delivered everything.
    async fn quiet(&mut self) {
        self.trace.say("world", || "calm".to_owned());
        self.network.set_weather(Weather::calm());
        for host in &mut self.hosts {
            host.thaw();
            if !host.is_up() {
                host.start(&self.play, &self.store, &self.network);
            }
        }
        loop {
            self.clock.sleep(LOOK).await;
            if !self.network.is_writing() && !self.hosts.iter().any(Host::is_busy) {
                return;
            }
        }
    }

    async fn judge(&self, steps: u64) -> Result<Story, Failure> {
        let faults: Vec<String> = self.hosts.iter().flat_map(Host::faults).collect();
        if !faults.is_empty() {
            return Err(Failure::Broken(faults));
        }
        let differences = self.play.differences(&self.store, self.clock.now()).await;
        if !differences.is_empty() {
            return Err(Failure::Wrong(differences));
        }
        let lasted = self.clock.monotonic().since(Monotonic::from_origin(Duration::ZERO));
        Ok(Story { requests: self.network.requests(), steps, lasted })
    }
}
