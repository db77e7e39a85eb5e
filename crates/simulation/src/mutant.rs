use feedmill_documents::containers::{AUTHOR_POSTS, FOLLOWS};
use feedmill_engine::Protection;

use crate::Scale;

/// A rule of the promise that can be switched off, to see that the worlds notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What is switched off, in words.
    pub name: &'static str,
    rule: Rule,
    /// Where it shows.
    pub scale: Scale,
    /// It shows within so many seeds, whichever is the first.
    pub seeds_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    OfEngine(Protection),
    /// The other side is listed from the container whose own feed drives it.
    OtherSideFromItsDriver,
    /// Whoever outlives the store is shown only what survives a power cut.
    ShownWhatSurvives,
}

/// What is wrong with the store itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flaws {
    /// Containers whose lists come from a copy that lags behind, instead of from themselves.
    pub(crate) copied: &'static [&'static str],
    /// It shows what a power cut may still take away.
    pub(crate) shows_unsynced: bool,
}

const fn tiny(name: &'static str, rule: Protection, seeds_max: u64) -> Mutant {
    Mutant { name, rule: Rule::OfEngine(rule), scale: Scale::Tiny, seeds_max }
}

const fn full(name: &'static str, rule: Protection, seeds_max: u64) -> Mutant {
    Mutant { name, rule: Rule::OfEngine(rule), scale: Scale::Full, seeds_max }
}

const fn in_world(scale: Scale, name: &'static str, rule: Protection, seeds_max: u64) -> Mutant {
    Mutant { name, rule: Rule::OfEngine(rule), scale, seeds_max }
}

impl Mutant {
    pub const ALL: [Self; 24] = [
        tiny("write condition", Protection::WriteCondition, 1_000),
        tiny("target read before sources", Protection::TargetBeforeSources, 2_000),
        tiny("exact skip rule", Protection::ExactSkip, 10_000),
        tiny("tombstone where nothing was", Protection::TombstoneWhereNothingWas, 500),
        Self {
            name: "other side listed from its driving container",
            rule: Rule::OtherSideFromItsDriver,
            scale: Scale::Tiny,
            seeds_max: 500,
        },
        tiny("quorum read", Protection::QuorumRead, 2_000),
        tiny("asOf", Protection::AsOf, 5_000),
        tiny("rev", Protection::Revision, 1_000),
        tiny("settle_max", Protection::SettleMax, 10_000),
        tiny("person's fields", Protection::PersonsFields, 1_000),
        full("stored start position", Protection::StoredStart, 100),
        full("page end before the first gap", Protection::FirstGap, 100),
        full("parts before removing the whole", Protection::PartsBeforeRemoval, 100),
        full("still-time only while own heartbeats succeed", Protection::OwnHeartbeats, 200),
        full("read-back after an ambiguous 409 or 412", Protection::ReadBack, 200),
        full("begun divisions are completed", Protection::BegunDivisions, 100),
        full("the worker's deadline", Protection::Deadline, 200),
        full("a refusal that could not be read back stays in doubt", Protection::LastingDoubt, 1_000),
        in_world(Scale::Opening, "hosts that make the first leases agree", Protection::AgreedRanges, 2_000),
        in_world(Scale::Return, "who has a lease that was written since is back", Protection::BackAtWork, 1_000),
        in_world(Scale::Return, "what is given before one comes back is taken anew", Protection::TakenAnew, 2_000),
        full("no delivery begins behind the deadline", Protection::DeadlineOfDeliveries, 2_000),
        tiny("sources of what is there are read fresh", Protection::FreshOverTargets, 150_000),
        Self {
            name: "answers that survive a power cut",
            rule: Rule::ShownWhatSurvives,
            scale: Scale::Full,
            seeds_max: 100,
        },
    ];

    /// Plays with this rule switched off.
    pub(crate) fn switched_off<T>(self, work: impl FnOnce() -> T) -> T {
        match self.rule {
            Rule::OfEngine(protection) => protection.switched_off(work),
            Rule::OtherSideFromItsDriver | Rule::ShownWhatSurvives => work(),
        }
    }

    pub(crate) fn flaws(self) -> Flaws {
        let sound = Flaws::default();
        match self.rule {
            Rule::OfEngine(_) => sound,
            Rule::OtherSideFromItsDriver => Flaws { copied: &[AUTHOR_POSTS, FOLLOWS], ..sound },
            Rule::ShownWhatSurvives => Flaws { shows_unsynced: true, ..sound },
        }
    }
}
