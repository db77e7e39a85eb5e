use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_documents::containers::{
    self, AUTHOR_POSTS, BLOCKS, COUNTERS, FAN_OUT, FOLLOWING, FOLLOWS, NOTIFICATIONS, POSTS, REACTIONS, USER_FEED,
};
use feedmill_engine::{Processor, StartFrom};
use feedmill_store_api::{ContainerSpec, DocumentId};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::revised;
use crate::documents::{self, Source, State};
use crate::network::Network;
use crate::oracle::Projections;
use crate::seed::Chance;
use crate::store::Store;
use crate::trace::Trace;

const AUTHOR: &str = "a";
const FOLLOWERS: [&str; 2] = ["f", "g"];
const POSTS_MAX: u64 = 2;

/// Which processors are in a tiny world, and what its actors write.
#[derive(Debug)]
pub(super) struct Play {
    theme: Theme,
    /// Everything is about one target.
    narrow: bool,
    feeds: feedmill_user_feed::Options,
    /// What was written last, and whether it was live.
    last: Mutex<Option<(Subject, bool)>>,
    /// Notifications that somebody has read.
    read: Mutex<BTreeSet<String>>,
    /// Whether all hosts have the newer revision.
    upgraded: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// Posts of an author and edges to them: a target has two sources that change on their own.
    Feeds,
    Counters,
    Notifications,
    Indexes,
    /// One host has an older revision than the other.
    Revisions,
}

/// What is written about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Post(u64),
    Reaction(u64, &'static str, &'static str),
    Edge(&'static str),
    Block(&'static str),
}

/// An audience of two is large enough to be cut into chunks.
pub(crate) fn feeds(chance: &Entropy) -> feedmill_user_feed::Options {
    let all_at_once = feedmill_user_feed::Options::default();
    if chance.happens(0.7) {
        return all_at_once;
    }
    feedmill_user_feed::Options { fan_out_inline_max: NonZeroUsize::MIN, ..all_at_once }
}

impl Play {
    pub(super) fn new(chance: &Entropy) -> Self {
        use Theme::{Counters, Feeds, Indexes, Notifications, Revisions};
        let theme = *chance.one_of(&[Feeds, Feeds, Feeds, Counters, Notifications, Indexes, Revisions]);
        let (narrow, feeds) = (chance.happens(0.6), feeds(chance));
        let (last, read, upgraded) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { theme, narrow, feeds, last, read, upgraded }
    }

    pub(super) fn containers(&self) -> Vec<ContainerSpec> {
        let names: &[&str] = match self.theme {
            Theme::Feeds => &[AUTHOR_POSTS, FOLLOWS, USER_FEED, BLOCKS, FAN_OUT],
            Theme::Counters => &[REACTIONS, FOLLOWS, COUNTERS],
            Theme::Notifications => {
                &[POSTS, REACTIONS, FOLLOWS, containers::POST_REPLIES, NOTIFICATIONS, BLOCKS, FAN_OUT]
            }
            Theme::Indexes => &[POSTS, FOLLOWS, AUTHOR_POSTS, containers::POST_REPLIES, FOLLOWING],
            Theme::Revisions => &[FOLLOWS, USER_FEED],
        };
        containers::all(1).into_iter().filter(|spec| names.contains(&&*spec.name)).collect()
    }

    /// Whether a host must begin anew to have what all have from now on.
    pub(super) fn upgrade(&self) -> bool {
        self.upgraded.store(true, Ordering::Relaxed);
        self.theme == Theme::Revisions
    }

    pub(super) fn processors(&self, is_first_host: bool) -> Vec<Processor> {
        let start = StartFrom::Beginning;
        let all = match self.theme {
            Theme::Feeds => feedmill_user_feed::processors(&self.feeds, start),
            Theme::Counters => feedmill_counters::processors(&feedmill_counters::Options::default(), start),
            Theme::Notifications => {
                feedmill_notifications::processors(&feedmill_notifications::Options::default(), start)
            }
            Theme::Indexes => feedmill_index::processors(&feedmill_index::Options::default(), start),
            Theme::Revisions => {
                let is_old = is_first_host && !self.upgraded.load(Ordering::Relaxed);
                vec![revised::processor(if is_old { revised::OLD } else { revised::NEW })]
            }
        };
        let there: BTreeSet<String> = self.containers().into_iter().map(|spec| spec.name).collect();
        all.into_iter().filter(|processor| there.contains(&processor.source)).collect()
    }

    /// One of the actors does something.
    pub(super) async fn step(
        &self,
        step: u64,
        chance: &Entropy,
        clock: &ManualClock,
        store: &Store,
        network: &Network,
        trace: &Trace,
    ) {
        if self.theme == Theme::Notifications && chance.happens(0.25) {
            return self.somebody_reads(chance, store, trace).await;
        }
        self.write(self.draw(step, chance, clock.now(), 0.5), store, network, trace).await;
    }

    /// What undoes what was written last.
    pub(super) fn undone(&self, step: u64, chance: &Entropy, now: Timestamp) -> Source {
        self.draw(step, chance, now, 1.0)
    }

    pub(super) async fn write(&self, source: Source, store: &Store, network: &Network, trace: &Trace) {
        trace.say("writer", || format!("{} {}", source.container, String::from_utf8_lossy(&source.body)));
        store.put(&source).await;
        network.landings(source.container).raise();
    }

    /// So often what was written last is undone: back and forth is what simple rules take for nothing.
    fn draw(&self, step: u64, chance: &Entropy, now: Timestamp, undone: f64) -> Source {
        let last = *self.last.lock();
        let (subject, state) = match last.filter(|_| chance.happens(undone)) {
            Some((subject, true)) => (subject, State::Withdrawn(now)),
            Some((subject, false)) => (subject, State::Live),
            None => {
                let state = match chance.below(0..5) {
                    0 => State::Veiled,
                    1 | 2 => State::Withdrawn(now),
                    _ => State::Live,
                };
                (self.subject(chance), state)
            }
        };
        *self.last.lock() = Some((subject, state == State::Live));
        match subject {
            Subject::Post(number) => {
                let container = if self.theme == Theme::Feeds { AUTHOR_POSTS } else { POSTS };
                documents::post(container, number, AUTHOR, None, state, step)
            }
            Subject::Reaction(number, by, kind) => documents::reaction(&format!("p{number}"), by, kind, state, step),
            Subject::Edge(follower) => documents::follow(AUTHOR, follower, state, step),
            Subject::Block(follower) => documents::block(AUTHOR, follower, state, step),
        }
    }

    fn subject(&self, chance: &Entropy) -> Subject {
        let number = if self.narrow { 0 } else { chance.below(0..POSTS_MAX) };
        let follower = if self.narrow { FOLLOWERS[0] } else { *chance.one_of(&FOLLOWERS) };
        let kind = if self.narrow { "like" } else { *chance.one_of(&["like", "wow"]) };
        let coin = chance.happens(0.5);
        match self.theme {
            Theme::Feeds | Theme::Indexes if coin => Subject::Post(number),
            Theme::Counters if coin => Subject::Reaction(number, follower, kind),
            Theme::Notifications if chance.happens(0.4) => Subject::Reaction(number, follower, kind),
            Theme::Notifications if coin => Subject::Post(number),
            Theme::Feeds | Theme::Notifications if chance.happens(0.3) => Subject::Block(follower),
            _ => Subject::Edge(follower),
        }
    }

    async fn somebody_reads(&self, chance: &Entropy, store: &Store, trace: &Trace) {
        let all = store.by_id(NOTIFICATIONS).await;
        let ids: Vec<&String> = all.keys().collect();
        if ids.is_empty() {
            return;
        }
        let id = *chance.one_of(&ids);
        let document_id = DocumentId::new(id.as_str()).expect("it is the id of a document");
        if store.mark_as_read(NOTIFICATIONS, AUTHOR, &document_id).await {
            trace.say("reader", || format!("reads {id}"));
            self.read.lock().insert(id.clone());
        }
    }

    /// What is not as it should be now that all is quiet.
    pub(super) async fn differences(&self, store: &Store, now: Timestamp) -> Vec<String> {
        let (sources, derived, copies) = match self.theme {
            Theme::Feeds => {
                (vec![(AUTHOR_POSTS, POSTS), (FOLLOWS, FOLLOWS), (BLOCKS, BLOCKS)], vec![USER_FEED], vec![])
            }
            Theme::Counters => (vec![(REACTIONS, REACTIONS), (FOLLOWS, FOLLOWS)], vec![COUNTERS], vec![]),
            Theme::Notifications => (
                vec![(POSTS, POSTS), (REACTIONS, REACTIONS), (FOLLOWS, FOLLOWS), (BLOCKS, BLOCKS)],
                vec![NOTIFICATIONS],
                vec![],
            ),
            Theme::Indexes => (vec![], vec![], vec![(AUTHOR_POSTS, POSTS), (FOLLOWING, FOLLOWS)]),
            Theme::Revisions => return revised::differences(store).await,
        };
        let read = self.read.lock().clone();
        let mut differences = Projections { sources, derived, copies, gone: None }.differences(store, &read, now).await;
        // Counters of who follows are of another processor's index, which is not in this play.
        differences.retain(|difference| !difference.contains(":following "));
        differences
    }
}
