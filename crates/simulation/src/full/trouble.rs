//! What happens to hosts and to the store.

use std::time::Duration;

use feedmill_clock::Clock;
use feedmill_documents::containers::{
    AUTHOR_POSTS, BLOCKS, FAN_OUT, FOLLOWING, FOLLOWS, LEASES, POST_REPLIES, POSTS, REACTIONS,
};

use super::World;
use super::host::Host;
use crate::network::{Cut, Weather};
use crate::seed::Chance;

/// Containers that are split and merged: those with feeds.
const RESHAPED: [&str; 9] = [POSTS, FOLLOWS, REACTIONS, BLOCKS, AUTHOR_POSTS, POST_REPLIES, FOLLOWING, FAN_OUT, LEASES];
/// The store is down for so long at most: longer than anybody counts as alive without a heartbeat.
const OUTAGE_MAX: Duration = Duration::from_secs(30);
/// Share of troubles that are a power cut, where the store is on a disk.
const CUT: f64 = 0.3;
/// How long the store takes at most to be there again after one.
const RESTART_MAX: Duration = Duration::from_secs(3);
/// How long the first leases take, more or less.
const MOMENT: Duration = Duration::from_millis(300);
/// Until they are made hosts look around for so long at most.
const OPENING_MAX: Duration = Duration::from_secs(60);
const OPENING_TROUBLES: u32 = 40;
const WRITTEN_BEFORE: u64 = 40;
/// A while longer than the expiry of heartbeats.
const ABSENCE_MAX: Duration = Duration::from_secs(13);
/// So long at most nothing else happens, to see what comes of it.
const LULL_MAX: Duration = Duration::from_secs(40);

impl World {
    pub(super) async fn trouble(&mut self) {
        if self.power.as_ref().is_some_and(|power| power.goes(CUT)) {
            return self.power_cut().await;
        }
        match self.chance.below(0..12) {
            0..=6 => self.disturb(),
            7 | 8 => {
                let container = *self.chance.one_of(&RESHAPED);
                let done = self.store.reshape(container, &self.chance).await;
                self.trace.say("store", || done);
            }
            9 => self.operators.act(self.writer.gone()),
            10 => {
                let weather = self.network.weather();
                self.trace.say("store", || "is down".to_owned());
                self.network.set_weather(Weather::outage());
                self.clock.sleep(self.chance.up_to(OUTAGE_MAX)).await;
                self.trace.say("store", || "is up again".to_owned());
                self.network.set_weather(weather);
            }
            _ => self.clock.sleep(self.chance.up_to(LULL_MAX)).await,
        }
    }

    /// All hosts begin within a moment of each other. While they make their leases, what they read is split and merged, and
    /// they freeze over what they have begun. Much has been written before. Returns with how many steps.
    pub(super) async fn begin_amid_splits(&mut self) -> u64 {
        for step in 0..WRITTEN_BEFORE {
            self.writer.step(step).await;
        }
        for host in &mut self.hosts {
            host.start(&self.store, &self.network);
            self.clock.sleep(self.chance.up_to(MOMENT)).await;
        }
        // What they do before takes as long as the weather likes.
        let end = self.clock.monotonic() + OPENING_MAX;
        let is_lease = |id: &str| id.contains("..");
        while self.clock.monotonic() < end && !self.store.by_id(LEASES).await.keys().any(|id| is_lease(id)) {
            self.clock.sleep(self.chance.up_to(MOMENT / 10)).await;
        }
        for _ in 0..OPENING_TROUBLES {
            let host = self.chance.one_of(&self.hosts);
            if self.chance.happens(0.3) {
                host.freeze();
            } else {
                host.thaw();
            }
            let container = *self.chance.one_of(&RESHAPED);
            let done = self.store.reshape(container, &self.chance).await;
            self.trace.say("store", || done);
            self.clock.sleep(self.chance.up_to(MOMENT)).await;
        }
        self.hosts.iter().for_each(Host::thaw);
        WRITTEN_BEFORE
    }

    /// A host is away for about as long as others need to count it as dead, and what comes of it is met by the next trouble.
    pub(super) async fn go_and_return(&mut self) {
        let index = usize::try_from(self.chance.below(0..self.hosts.len() as u64)).expect("there are few hosts");
        let host = &mut self.hosts[index];
        match self.chance.below(0..8) {
            0 if host.is_up() => host.crash(),
            1 if host.is_up() => host.stop(),
            0..=2 if !host.is_up() => host.start(&self.store, &self.network),
            3 | 4 => host.freeze(),
            5 => host.cut_off(Cut::Everything),
            _ => host.cut_off(Cut::From(LEASES)),
        }
        if self.chance.happens(0.1) {
            let done = self.store.reshape(LEASES, &self.chance).await;
            self.trace.say("store", || done);
        }
        self.clock.sleep(self.chance.up_to(ABSENCE_MAX)).await;
        if self.chance.happens(0.7) {
            let host = &self.hosts[index];
            host.thaw();
            host.cut_off(Cut::Nothing);
        }
    }

    async fn power_cut(&self) {
        let Some(power) = &self.power else { return };
        let (unsynced, kept) = power.cut();
        self.trace.say("store", || format!("loses its power: {kept} of {unsynced} unsynced commits survive"));
        if power.goes(0.5) {
            let weather = self.network.weather();
            self.network.set_weather(Weather::outage());
            self.clock.sleep(self.chance.up_to(RESTART_MAX)).await;
            self.trace.say("store", || "is up again".to_owned());
            self.network.set_weather(weather);
        }
    }

    fn disturb(&mut self) {
        let index = usize::try_from(self.chance.below(0..self.hosts.len() as u64)).expect("there are few hosts");
        let host = &mut self.hosts[index];
        match self.chance.below(0..8) {
            0 if host.is_up() => host.crash(),
            1 if host.is_up() => host.stop(),
            0..=2 if !host.is_up() => host.start(&self.store, &self.network),
            3 => host.clock.jump(&self.chance),
            4 => host.cut_off(Cut::From(LEASES)),
            5 => host.cut_off(*self.chance.one_of(&[Cut::Everything, Cut::Nothing])),
            _ if host.is_frozen() => host.thaw(),
            _ => host.freeze(),
        }
    }

    /// From now on all is well.
    pub(super) async fn end_trouble(&mut self) {
        self.trace.say("world", || "calm".to_owned());
        self.network.set_weather(Weather::calm());
        for host in &self.hosts {
            host.thaw();
            host.cut_off(Cut::Nothing);
        }
        self.operators.leave().await;
    }
}
