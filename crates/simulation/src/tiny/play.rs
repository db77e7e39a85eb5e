use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_documents::containers::{
    self, AUTHOR_POSTS, BLOCKS, COUNTERS, FAN_OUT, FOLLOWING, FOLLOWS, NOTIFICATIONS, POSTS, REACTIONS, USER_FEED,
};
use feedmill_engine::{Processor, StartFrom};
use feedmill_store_api::{ContainerSpec, DocumentId};
use jiff::Timestamp;
use parking_lot::Mutex;

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
    feeds: feedmill_user_feed::Options,
    /// Notifications that somebody has read.
    read: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// Posts of an author and edges to them: a target has two sources that change on their own.
    Feeds,
    Counters,
    Notifications,
    Indexes,
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
        use Theme::{Counters, Feeds, Indexes, Notifications};
        let theme = *chance.one_of(&[Feeds, Feeds, Feeds, Counters, Notifications, Indexes]);
        Self { theme, feeds: feeds(chance), read: Mutex::default() }
    }

    pub(super) fn containers(&self) -> Vec<ContainerSpec> {
        let names: &[&str] = match self.theme {
            Theme::Feeds => &[AUTHOR_POSTS, FOLLOWS, USER_FEED, BLOCKS, FAN_OUT],
            Theme::Counters => &[REACTIONS, FOLLOWS, COUNTERS],
            Theme::Notifications => &[POSTS, REACTIONS, FOLLOWS, containers::POST_REPLIES, NOTIFICATIONS, BLOCKS],
            Theme::Indexes => &[POSTS, FOLLOWS, AUTHOR_POSTS, containers::POST_REPLIES, FOLLOWING],
        };
        containers::all(1).into_iter().filter(|spec| names.contains(&&*spec.name)).collect()
    }

    pub(super) fn processors(&self, _host: &str) -> Vec<Processor> {
        let start = StartFrom::Beginning;
        let all = match self.theme {
            Theme::Feeds => feedmill_user_feed::processors(&self.feeds, start),
            Theme::Counters => feedmill_counters::processors(&feedmill_counters::Options::default(), start),
            Theme::Notifications => {
                feedmill_notifications::processors(&feedmill_notifications::Options::default(), start)
            }
            Theme::Indexes => feedmill_index::processors(&feedmill_index::Options::default(), start),
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
        let source = self.draw(step, chance, clock.now());
        trace.say("writer", || format!("{} {}", source.container, String::from_utf8_lossy(&source.body)));
        store.put(&source).await;
        network.landings(source.container).raise();
    }

    fn draw(&self, step: u64, chance: &Entropy, now: Timestamp) -> Source {
        let state = match chance.below(0..5) {
            0 => State::Veiled,
            1 | 2 => State::Withdrawn(now),
            _ => State::Live,
        };
        let number = chance.below(0..POSTS_MAX);
        let follower = *chance.one_of(&FOLLOWERS);
        let post = format!("p{number}");
        let kind = *chance.one_of(&["like", "wow"]);
        let coin = chance.happens(0.5);
        match self.theme {
            Theme::Feeds if coin => documents::post(AUTHOR_POSTS, number, AUTHOR, None, state, step),
            Theme::Counters if coin => documents::reaction(&post, follower, kind, state, step),
            Theme::Notifications if chance.happens(0.4) => documents::reaction(&post, follower, kind, state, step),
            Theme::Notifications if coin => documents::post(POSTS, number, AUTHOR, None, state, step),
            Theme::Indexes if coin => documents::post(POSTS, number, AUTHOR, None, state, step),
            Theme::Feeds | Theme::Notifications if chance.happens(0.3) => {
                documents::block(AUTHOR, follower, state, step)
            }
            _ => documents::follow(AUTHOR, follower, state, step),
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
        };
        let read = self.read.lock().clone();
        let mut differences = Projections { sources, derived, copies }.differences(store, &read, now).await;
        // Counters of who follows are of another processor's index, which is not in this play.
        differences.retain(|difference| !difference.contains(":following "));
        differences
    }
}
