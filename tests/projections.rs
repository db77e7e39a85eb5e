//! Whole networks through all processors, in any order of their feeds, against what must come out.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use feedmill_clock::Entropy;
use feedmill_documents::containers;
use feedmill_engine::{Processor, StartFrom};
use feedmill_testing::World;
use feedmill_workload::SourceWrite;
use feedmill_workload::expected::{self, Expected, Sources, visible};
use feedmill_workload::generate::{Network, Options};
use jiff::Timestamp;
use serde_json::Value;

/// Before the world's first moment.
pub(crate) const END: Timestamp = Timestamp::constant(1_577_836_800, 0);
const PROJECTIONS: [&str; 3] = [containers::USER_FEED, containers::COUNTERS, containers::NOTIFICATIONS];

pub(crate) fn all(fan_out_inline_max: usize) -> Vec<Processor> {
    let start = StartFrom::Beginning;
    let user_feed = feedmill_user_feed::Options {
        fan_out_inline_max: NonZeroUsize::new(fan_out_inline_max).unwrap(),
        ..feedmill_user_feed::Options::default()
    };
    let mut all = feedmill_index::processors(&feedmill_index::Options::default(), start);
    all.extend(feedmill_user_feed::processors(&user_feed, start));
    all.extend(feedmill_counters::processors(&feedmill_counters::Options::default(), start));
    all.extend(feedmill_notifications::processors(&feedmill_notifications::Options::default(), start));
    all
}

/// A network and what becomes of it, delivered in pieces by processors in an order of chance.
pub(crate) struct Life {
    pub(crate) world: World,
    sources: Sources,
    processors: Vec<Processor>,
    entropy: Entropy,
}

impl Life {
    pub(crate) async fn new(seed: u64, fan_out_inline_max: usize) -> Self {
        let entropy = Entropy::seeded(seed);
        let (world, processors) = (World::new().await, all(fan_out_inline_max));
        Self { world, sources: Sources::default(), processors, entropy }
    }

    pub(crate) async fn write(&mut self, writes: impl IntoIterator<Item = SourceWrite>) {
        for (number, write) in writes.into_iter().enumerate() {
            self.sources.apply(&write).unwrap();
            self.world.put(write.container, serde_json::from_slice(&write.body).unwrap()).await;
            if number % 50 == 49 {
                let one = self.entropy.below(0..self.processors.len() as u64) as usize;
                assert_eq!(self.world.deliver(&self.processors[one..=one]).await, [""; 0]);
            }
        }
    }

    /// Until nothing moves any more.
    pub(crate) async fn catch_up(&mut self) {
        loop {
            let written = self.world.written();
            assert_eq!(self.world.deliver(&self.processors).await, [""; 0]);
            if self.world.written() == written {
                return;
            }
        }
    }

    pub(crate) async fn check(&self, context: &str) {
        let now = "2020-01-01T12:00:00Z".parse().unwrap();
        let expected = Expected::new(&self.sources, expected::Options::default(), now);
        for container in PROJECTIONS {
            let found = self.world.documents(container).await;
            let found = found.into_iter().filter_map(|(id, document)| Some((id, visible(&document, now)?)));
            let found: BTreeMap<String, Value> = found.filter(|(_, document)| document["value"] != 0).collect();
            let wanted: BTreeMap<String, Value> = expected.documents(container).collect();
            assert!(!wanted.is_empty(), "{context}: nothing is expected in {container}");
            for (id, document) in &wanted {
                assert_eq!(found.get(id), Some(document), "{context}: {id} of {container}");
            }
            let extra: Vec<_> = found.keys().filter(|id| !wanted.contains_key(*id)).collect();
            assert!(extra.is_empty(), "{context}: {extra:?} of {container}");
        }
    }
}

pub(crate) fn small(seed: u64) -> Options {
    Options { seed, users: 40, follows_mean: 8, posts: 120, likes: 200, changes: 300, ..Options::default() }
}

#[tokio::test]
async fn whatever_becomes_of_a_network_its_projections_are_the_function_of_its_sources() {
    for (seed, fan_out_inline_max) in [(1, 10_000), (2, 1), (3, 3), (4, 7)] {
        let context = format!("seed {seed}, {fan_out_inline_max} inline");
        let options = small(seed);
        let network = Network::new(&options, END);
        let mut life = Life::new(seed, fan_out_inline_max).await;
        life.write(network.writes()).await;
        life.catch_up().await;
        life.check(&context).await;
        life.write(network.changes(&options, END)).await;
        life.catch_up().await;
        life.check(&context).await;
    }
}

#[tokio::test]
async fn a_replay_of_everything_writes_nothing_chunks_included() {
    let options = small(5);
    let network = Network::new(&options, END);
    let mut life = Life::new(5, 3).await;
    life.write(network.writes()).await;
    life.write(network.changes(&options, END)).await;
    life.catch_up().await;
    let chunks = life.world.documents(containers::FAN_OUT).await;
    assert!(chunks.len() > 50, "{} documents of work", chunks.len());
    assert!(chunks.values().all(|chunk| chunk["state"] != "todo"));
    let written = life.world.written();
    life.world.rewind();
    life.catch_up().await;
    assert_eq!(life.world.written(), written);
    life.check("after a replay").await;
}
