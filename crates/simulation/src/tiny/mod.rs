//! The tiny world: an author, two followers, two posts, two hosts that both work on everything at the same time.
//!
//! The hosts deliver to the real handlers and settle with the real settler, without leases: nobody ever owns anything
//! alone here, and effects must be exactly-once all the same. Holes that a big quiet world shows once in a million runs
//! show up here within thousands. Read `play.rs` for what is played, `host.rs` for who plays.

mod host;
mod play;
mod revised;

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};

use self::host::Host;
use self::play::Play;
pub(crate) use self::play::feeds;
use crate::mutant::Flaws;
use crate::network::{Ground, Network, NoWitness, Weather};
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;
use crate::{BEGINNING, Failure, Sink, Story, stage};

const HOSTS: [&str; 2] = ["ada", "bob"];
/// Nothing here takes longer when all is well.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// So many worlds end with a suspension: later work would mend what whoever wakes up has done.
const SLEEPY: f64 = 0.3;
/// How long a host is suspended at times: longer than tombstones live.
const SUSPENSION: Duration = Duration::from_secs(25 * 60 * 60);
/// A host that is replaced is frozen for so long at most.
const FROZEN_MAX: Duration = Duration::from_secs(5);
/// Within that time a host begins to work on what was written.
const SHORTLY: Duration = Duration::from_millis(50);
/// How often it is looked whether everything is quiet.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(seed: Seed, steps: u64, flaws: Flaws, sink: &Sink) -> Result<Story, Failure> {
    let clock = ManualClock::new(BEGINNING);
    let trace = Trace::new(&clock, sink);
    stage::play(&clock.clone(), LIMIT, Box::pin(World::run(seed, steps, flaws, clock, trace)))?
}

struct World {
    clock: ManualClock,
    store: Store,
    network: Network,
    play: Play,
    hosts: Vec<Host>,
    /// One host works at a time, as with leases: whoever is frozen or crashes is replaced, and mends nothing itself.
    in_turn: bool,
    chance: Entropy,
    trace: Trace,
}

impl World {
    async fn run(seed: Seed, steps: u64, flaws: Flaws, clock: ManualClock, trace: Trace) -> Result<Story, Failure> {
        let (chance, clock) = (seed.stream("world"), &clock);
        let play = Play::new(&chance);
        let store = Store::new(clock, play.containers()).await;
        let weather = if chance.happens(0.7) { Weather::rough(&chance) } else { Weather::drawn(&chance) };
        trace.say("world", || format!("{play:?} {weather:?}"));
        let network = Network::new(Ground {
            clock: clock.clone(),
            entropy: seed.stream("network"),
            weather,
            trace: trace.clone(),
            replicas: store.replicas.clone(),
            truth: Arc::clone(&store.database),
            copied: flaws.copied,
            witness: Arc::new(NoWitness),
        });
        let hosts = HOSTS.map(|name| Host::new(name, name == HOSTS[0], seed, clock, &trace));
        let (hosts, in_turn, clock) = (hosts.into(), chance.happens(0.6), clock.clone());
        // From a stream of its own, so that the other worlds are what they would be without it.
        let is_sleepy = seed.stream("suspensions").happens(SLEEPY);
        let in_turn = in_turn || is_sleepy;
        let mut world = Self { clock, store, network, play, hosts, in_turn, chance, trace };
        world.act(steps).await;
        if is_sleepy {
            let working = world.working().unwrap_or(0);
            world.start(working);
            world.suspend(working, steps).await;
        }
        world.quiet().await;
        world.judge(steps).await
    }

    async fn act(&mut self, steps: u64) {
        // Long breaks let writes settle in between, short ones make them meet.
        let pause = *self.chance.one_of(&[Duration::from_millis(3), Duration::from_millis(30), Duration::from_secs(2)]);
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if if self.in_turn { index == 0 } else { self.chance.happens(0.7) } {
                host.start(&self.play, &self.store, &self.network);
            }
        }
        for step in 0..steps {
            self.clock.sleep(self.chance.up_to(pause)).await;
            if self.chance.happens(0.5)
                && let Some(index) = self.waits_for_late()
            {
                self.crash(index);
            }
            if self.chance.happens(0.25) {
                self.disturb(step).await;
            } else {
                self.write(step).await;
            }
        }
    }

    async fn write(&self, step: u64) {
        self.play.step(step, &self.chance, &self.clock, &self.store, &self.network, &self.trace).await;
    }

    /// Back to what it was before the last write.
    async fn undo(&self, step: u64) {
        let source = self.play.undone(step, &self.chance, self.clock.now());
        self.play.write(source, &self.store, &self.network, &self.trace).await;
    }

    /// Whose last write is late: if it crashes now, nobody sends it again.
    fn waits_for_late(&self) -> Option<usize> {
        let name = self.network.take_waiting_for_late()?;
        self.hosts.iter().position(|host| *host.name == *name && host.is_up())
    }

    fn working(&self) -> Option<usize> {
        self.hosts.iter().position(|host| host.is_up() && !host.is_frozen())
    }

    fn start(&mut self, index: usize) {
        if !self.hosts[index].is_up() {
            self.hosts[index].start(&self.play, &self.store, &self.network);
        }
    }

    fn crash(&mut self, index: usize) {
        self.hosts[index].crash();
        if self.in_turn {
            self.hosts[1 - index].thaw();
            self.start(1 - index);
        }
    }

    /// Another one takes over from a host that is frozen; when that wakes up, it may send what it had in hand and no more.
    async fn replace(&mut self, index: usize, after: Duration, meanwhile: Duration) {
        self.hosts[index].freeze();
        self.clock.sleep(after).await;
        self.hosts[1 - index].thaw();
        self.start(1 - index);
        self.clock.sleep(meanwhile).await;
        self.hosts[index].thaw();
        if self.in_turn {
            self.clock.sleep(self.chance.up_to(SHORTLY)).await;
            self.hosts[index].crash();
        }
    }

    /// A host is suspended in the middle of its work, for longer than tombstones live, and what it worked on changes.
    async fn suspend(&mut self, index: usize, step: u64) {
        self.write(step).await;
        self.clock.sleep(self.chance.up_to(SHORTLY)).await;
        self.hosts[index].freeze();
        self.undo(step).await;
        self.replace(index, SUSPENSION / 2, SUSPENSION).await;
    }

    async fn disturb(&mut self, step: u64) {
        let drawn = usize::from(self.chance.happens(0.5));
        let index = self.working().filter(|_| self.in_turn).unwrap_or(drawn);
        if self.chance.happens(0.1) {
            return self.suspend(index, step).await;
        }
        match self.chance.below(0..4) {
            0 if self.hosts[index].is_up() => self.crash(index),
            0 | 1 if !self.hosts[index].is_up() => self.start(index),
            2 => self.hosts[index].clock.jump(&self.chance),
            _ if self.in_turn => self.replace(index, Duration::ZERO, self.chance.up_to(FROZEN_MAX)).await,
            _ if self.hosts[index].is_frozen() => self.hosts[index].thaw(),
            _ => self.hosts[index].freeze(),
        }
    }

    /// Nothing stands in the way any more; ends when everything is delivered, by both hosts or by the one that is left.
    async fn quiet(&mut self) {
        self.trace.say("world", || "calm".to_owned());
        self.network.set_weather(Weather::calm());
        let anew = self.play.upgrade();
        self.hosts.iter().for_each(Host::thaw);
        if self.in_turn || self.chance.happens(0.5) {
            // Whoever woke up may send what it had in hand. It never sees what came of it.
            self.clock.sleep(self.chance.up_to(SHORTLY)).await;
            let idle = self.hosts.iter().position(|host| !host.is_up()).filter(|_| self.in_turn);
            let drawn = usize::from(self.chance.happens(0.5));
            // The older revision goes; what only it has made would never be made anew.
            let gone = if anew { 0 } else { self.waits_for_late().or(idle).unwrap_or(drawn) };
            let mut gone = self.hosts.remove(gone);
            if gone.is_up() {
                gone.crash();
            }
        }
        for host in &mut self.hosts {
            if anew && host.is_up() {
                host.crash();
            }
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
