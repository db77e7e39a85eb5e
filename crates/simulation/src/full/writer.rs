use std::collections::BTreeSet;

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_documents::containers::{BLOCKS, FOLLOWS, NOTIFICATIONS, POSTS, REACTIONS};
use feedmill_erase::names;
use feedmill_store_api::DocumentId;

use crate::documents::{self, Source, State};
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::trace::Trace;

pub(super) const PEOPLE: [&str; 4] = ["ann", "ben", "cal", "dot"];
const POSTS_MAX: u64 = 6;
const KINDS: [&str; 3] = ["like", "wow", "sad"];

/// The people of the world and their application. Its writes are not disturbed: what it writes is what counts.
pub(super) struct Writer {
    chance: Entropy,
    clock: ManualClock,
    store: Store,
    trace: Trace,
    /// Notifications that somebody has read.
    read: BTreeSet<String>,
    /// Decides who has their account deleted.
    ends: Entropy,
    /// Who has.
    gone: Option<&'static str>,
}

/// How likely a step is the end of an account, while there is none yet.
const END: f64 = 0.01;

impl Writer {
    pub(super) fn new(seed: Seed, clock: &ManualClock, store: &Store, trace: &Trace) -> Self {
        let (clock, store, trace) = (clock.clone(), store.clone(), trace.clone());
        let (chance, ends) = (seed.stream("writer"), seed.stream("ends"));
        Self { chance, clock, store, trace, read: BTreeSet::new(), ends, gone: None }
    }

    pub(super) fn gone(&self) -> Option<&'static str> {
        self.gone
    }

    pub(super) fn read(&self) -> BTreeSet<String> {
        self.read.clone()
    }

    pub(super) async fn step(&mut self, step: u64) {
        if self.gone.is_none() && self.ends.happens(END) {
            return self.somebody_goes().await;
        }
        let chance = &self.chance;
        let state = match chance.below(0..6) {
            0 => State::Veiled,
            1 | 2 => State::Withdrawn(self.clock.now()),
            _ => State::Live,
        };
        let (one, other) = (*chance.one_of(&PEOPLE), *chance.one_of(&PEOPLE));
        let (number, kind) = (chance.below(0..POSTS_MAX), chance.one_of(&KINDS));
        let source = match chance.below(0..10) {
            0..=3 => {
                // Who wrote a post, and to what it replies, never changes.
                let author = PEOPLE[usize::try_from(number).expect("it is small") % PEOPLE.len()];
                let parent = (number % 2 == 1).then(|| format!("p{}", number - 1));
                documents::post(POSTS, number, author, parent.as_deref(), state, step)
            }
            4..=6 if one != other => documents::follow(one, other, state, step),
            7 if one != other => documents::block(one, other, state, step),
            9 => return self.somebody_reads().await,
            _ => documents::reaction(&format!("p{number}"), one, kind, state, step),
        };
        if self.gone.is_some_and(|gone| names(source.container, &source.document(), gone)) {
            return;
        }
        self.trace.say("writer", || format!("{} {}", source.container, String::from_utf8_lossy(&source.body)));
        self.store.put(&source).await;
    }

    /// An account is deleted: the application withdraws whatever names its owner, one document after the other.
    async fn somebody_goes(&mut self) {
        let user = *self.ends.one_of(&PEOPLE);
        self.gone = Some(user);
        self.trace.say("writer", || format!("{user} goes"));
        for container in [POSTS, REACTIONS, FOLLOWS, BLOCKS] {
            for (_, document) in self.store.by_id(container).await {
                if names(container, &document, user) && document.get("deletedAt").is_none() {
                    self.store.put(&Source::withdrawn(container, document, self.clock.now())).await;
                }
            }
        }
    }

    async fn somebody_reads(&mut self) {
        let all = self.store.by_id(NOTIFICATIONS).await;
        let all: Vec<_> = all.into_iter().collect();
        if all.is_empty() {
            return;
        }
        let (id, document) = self.chance.one_of(&all);
        let recipient = document["recipientId"].as_str().unwrap_or_default();
        let document_id = DocumentId::new(id.as_str()).expect("it is the id of a document");
        if self.store.mark_as_read(NOTIFICATIONS, recipient, &document_id).await {
            self.trace.say("reader", || format!("reads {id}"));
            self.read.insert(id.clone());
        }
    }
}
