//! Somebody with very many followers writes a post, while others, with few, write theirs: how long do these wait for their
//! items, who does the work, and what becomes of it when a host dies in the middle?
//!
//! Everything is counted on the simulated clock: a request takes its time, and a container answers no more a second than it
//! has request units for (`supply.rs`). Nothing is lost or late here; that is for the other worlds.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use feedmill_documents::containers::{self, AUTHOR_POSTS, FOLLOWS, LEASES, POSTS};
use feedmill_documents::time;
use feedmill_engine::{Engine, Lifetime, Options, Parts, StartFrom, Waiting};
use feedmill_store_api::{DocumentId, Operation, PartitionKey};
use futures::FutureExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::full::processors;
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::supply::Supply;
use crate::{BEGINNING, stage};

/// Authors with few followers, each with as many of those that the one with many has.
const OTHERS: usize = 200;
const FOLLOWERS_OF_OTHERS: usize = 10;
const POSTS_TO_WAKE: usize = 100;
const STAR: &str = "star";
const CELEBRATED: &str = "celebrated";
/// Enough for hosts to find each other, make their leases and share them.
const OPENING: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const LOOK: Duration = Duration::from_millis(50);

/// What is played.
#[derive(Clone, Debug)]
pub struct Audience {
    pub seed: u64,
    /// Of the one who has very many.
    pub followers: usize,
    pub fan_out_inline_max: NonZeroUsize,
    pub hosts: usize,
    /// Physical partitions of each container.
    pub partitions: u32,
    /// Of the hosts.
    pub options: Options,
    /// What each container has to give.
    pub units_per_second: f64,
    /// How often one of the others writes a post, on average.
    pub pause: Duration,
    /// Their posts before the one to very many.
    pub posts_alone: usize,
    /// Whether one of the hosts dies when half of the audience has the post.
    pub crash: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How long each post of the others took, from its write to its last item, while nothing else went on.
    pub alone: Vec<Duration>,
    /// While the audience was served.
    pub beside: Vec<Duration>,
    /// Until the whole audience had its post.
    pub took: Duration,
    /// Until that post no longer held up the lease of its range: a position behind it was stored.
    pub passed: Duration,
    /// Items of that post that each host has made.
    pub by_host: BTreeMap<String, usize>,
    /// Items of that post that somebody asked for once more.
    pub again: usize,
    /// Requests under way at the same time, of all hosts.
    pub in_flight_max: usize,
    /// Documents that were read and held in memory at the same time, by all hosts.
    pub held_max: usize,
    /// Requests that were refused because the second's units were spent.
    pub throttled: u64,
}

impl Audience {
    /// With the defaults of feedmill, three hosts, and enough to do for everybody.
    pub fn of(followers: usize) -> Self {
        Self {
            seed: 0,
            followers,
            fan_out_inline_max: feedmill_user_feed::Options::default().fan_out_inline_max,
            hosts: 3,
            partitions: 2,
            options: Options::default(),
            units_per_second: 20_000.0,
            pause: Duration::from_millis(50),
            posts_alone: 1_000,
            crash: false,
        }
    }

    /// Plays it. The same play has the same figures every time.
    ///
    /// # Errors
    ///
    /// Where it does not come to an end: what it waits for.
    pub fn play(&self) -> Result<Figures, String> {
        let clock = ManualClock::new(BEGINNING);
        let scene = Scene::run(self.clone(), clock.clone());
        stage::play(&clock, LIMIT, scene).map_err(|stuck| stuck.to_string())
    }
}

struct Scene {
    play: Audience,
    clock: ManualClock,
    store: Store,
    supply: Supply,
    chance: Entropy,
    /// Posts of the others so far.
    count: u64,
    /// Those that nobody has asked for yet.
    written: Vec<(String, Monotonic)>,
}

impl Scene {
    async fn run(play: Audience, clock: ManualClock) -> Figures {
        let seed = Seed(play.seed);
        let store = Store::new(&clock, containers::all(play.partitions)).await;
        let supply = Supply::new(&clock, seed.stream("supply"), play.units_per_second);
        let chance = seed.stream("authors");
        let mut scene = Self { play, clock, store, supply, chance, count: 0, written: Vec::new() };
        scene.follow().await;
        let mut hosts: Vec<_> = (0..scene.play.hosts).map(|number| scene.host(seed, number)).collect();
        scene.clock.sleep(OPENING).await;
        let leases = scene.store.by_id(LEASES).await.len();
        assert!(leases > scene.play.hosts, "hosts have made no leases: {leases} documents");

        // Where nothing went on, feeds are asked for changes ever less often.
        for _ in 0..POSTS_TO_WAKE {
            scene.small_post().await;
        }
        scene.settled().await;
        for _ in 0..scene.play.posts_alone {
            scene.small_post().await;
        }
        let alone = scene.settled().await;
        let began = scene.clock.monotonic();
        scene.post(CELEBRATED, STAR).await;
        let (mut is_to_crash, mut passed) = (scene.play.crash, None);
        let landed = loop {
            scene.small_post().await;
            let landed = scene.supply.landed(CELEBRATED);
            if passed.is_none() && landed.items > 0 && scene.is_passed().await {
                passed = Some(scene.clock.monotonic().since(began));
            }
            if is_to_crash && 2 * landed.items >= scene.play.followers {
                is_to_crash = false;
                // The process is gone at once.
                drop(hosts.remove(0));
            }
            if landed.items >= scene.play.followers {
                break landed;
            }
        };
        let beside = scene.settled().await;
        while passed.is_none() {
            scene.clock.sleep(LOOK).await;
            passed = scene.is_passed().await.then(|| scene.clock.monotonic().since(began));
        }
        Figures {
            alone,
            beside,
            took: landed.last.map_or(Duration::ZERO, |last| last.since(began)),
            passed: passed.unwrap_or_default(),
            by_host: landed.by,
            again: landed.again,
            in_flight_max: scene.supply.in_flight_max(),
            held_max: scene.supply.held_max(),
            throttled: scene.supply.throttled(),
        }
    }

    /// Edges, as they were long before anybody looks.
    async fn follow(&self) {
        let follows = self.store.database.container(FOLLOWS).await.expect("it is provisioned");
        let follower = |number: usize| format!("r{number:07}");
        let star = (STAR.to_owned(), (0..self.play.followers).map(follower).collect::<Vec<_>>());
        let others = (0..OTHERS).map(|other| {
            let first = other * FOLLOWERS_OF_OTHERS;
            let number = |each| follower((first + each) % self.play.followers.max(1));
            (format!("o{other}"), (0..FOLLOWERS_OF_OTHERS).map(number).collect())
        });
        for (author, followers) in others.chain([star]) {
            for some in followers.chunks(100) {
                let edge = |follower: &String| {
                    let id = format!("{author}:{follower}");
                    let body = json!({"id": id, "followeeId": author, "followerId": follower,
                        "createdAt": time::text(BEGINNING)});
                    let id = DocumentId::new(id).expect("it is short");
                    Operation::Create { id, body: body.to_string().into() }
                };
                let key = PartitionKey::from(author.as_str());
                follows.batch(&key, some.iter().map(edge).collect()).await.expect("memory does not fail");
            }
        }
    }

    fn host(&self, seed: Seed, number: usize) -> AbortOnDropHandle<()> {
        let name = format!("host{number}");
        let mut engine = Engine::new(Parts {
            database: self.supply.of(&self.store.database, &name),
            clock: Arc::new(self.clock.clone()),
            entropy: seed.stream(&name),
            host: name,
            exclusive: false,
            options: self.play.options.clone(),
        });
        let feeds = feedmill_user_feed::Options {
            fan_out_inline_max: self.play.fan_out_inline_max,
            ..feedmill_user_feed::Options::default()
        };
        for mut processor in processors(&feeds) {
            processor.start = StartFrom::Now;
            engine.add(processor);
        }
        let run = engine.run(Lifetime::UntilStopped, CancellationToken::new()).map(|ended| {
            panic!("an engine ended by itself: {ended:?}");
        });
        AbortOnDropHandle::new(tokio::spawn(run.boxed()))
    }

    /// Whether the position that is stored of the range with the celebrated post is behind it.
    async fn is_passed(&self) -> bool {
        let is_celebrated = |body: &[u8]| {
            let post: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            post["postId"] == CELEBRATED
        };
        let (name, database) =
            (feedmill_user_feed::name(&feedmill_user_feed::Options::default()), &*self.store.database);
        let waiting = Waiting::of(database, LEASES, (&name, AUTHOR_POSTS), usize::MAX, is_celebrated).await;
        waiting.expect("memory does not fail").changes == 0
    }

    async fn small_post(&mut self) {
        self.clock.sleep(self.chance.up_to(2 * self.play.pause)).await;
        let author = format!("o{}", self.chance.below(0..OTHERS as u64));
        let id = format!("p{}", self.count);
        self.count += 1;
        self.post(&id, &author).await;
        self.written.push((id, self.clock.monotonic()));
    }

    async fn post(&self, id: &str, author: &str) {
        let posts = self.store.database.container(POSTS).await.expect("it is provisioned");
        let body = json!({"id": id, "postId": id, "authorId": author, "createdAt": time::text(self.clock.now()),
            "status": "published", "content": "what people write on such a day"});
        let operation =
            Operation::Create { id: DocumentId::new(id).expect("it is short"), body: body.to_string().into() };
        posts.write(&id.into(), operation).await.expect("memory does not fail");
    }

    /// How long each of the posts of the others took that were written since this was asked last.
    async fn settled(&mut self) -> Vec<Duration> {
        let mut took = Vec::with_capacity(self.written.len());
        for (post, written_at) in self.written.drain(..) {
            loop {
                let landed = self.supply.landed(&post);
                if let (true, Some(last)) = (landed.items >= FOLLOWERS_OF_OTHERS, landed.last) {
                    took.push(last.since(written_at));
                    break;
                }
                self.clock.sleep(LOOK).await;
            }
        }
        took
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in [("alone", &self.alone), ("beside", &self.beside)] {
            let [half, most] = [50, 99].map(|share| percentile(times, share));
            writeln!(f, "{name}: {} posts, p50 {half:.2?}, p99 {most:.2?}", times.len())?;
        }
        let Self { took, passed, by_host, again, in_flight_max, held_max, throttled, .. } = self;
        writeln!(f, "the audience was served within {took:.1?}, by {by_host:?}; {again} items were asked for again")?;
        writeln!(f, "its lease was past the post after {passed:.1?}; documents in memory at most {held_max}")?;
        write!(f, "requests under way at most {in_flight_max}, refused for want of request units {throttled}")
    }
}

/// The time that this many of a hundred stay within.
pub fn percentile(times: &[Duration], of_a_hundred: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * of_a_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
