//! The cache against a real Redis, driven by the change feed of the local store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_cache::{Cache, Kind, OnChange, Options, Subject, processors};
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_engine::{Engine, Lifetime, Parts, StartFrom};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{Container, ContainerSpec, Database, DefaultTtl, DocumentId, Operation, PartitionKey};
use feedmill_test_servers::Redis;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(20);

struct World {
    redis: Redis,
    cache: Cache,
    database: Arc<dyn Database>,
    feeds: Arc<dyn Container>,
    counters: Arc<dyn Container>,
    _store: LocalStore,
}

impl World {
    async fn new(test: &str, on_change: OnChange) -> Option<Self> {
        let redis = Redis::own(test)?;
        let options = Options { on_change, ..Options::default() };
        let cache = Cache::open(&redis.url(), options, Entropy::from_os().expect("chance")).expect("an address");
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
        let database = store.database("test").await.expect("a new database");
        for (name, key) in
            [("userFeed", "/recipientId"), ("counters", "/subjectId"), ("leases", "/id"), ("deadLetters", "/id")]
        {
            database.provision(&ContainerSpec::new(name, key).ttl(DefaultTtl::Forever)).await.expect("a container");
        }
        let feeds = database.container(Kind::Feed.container()).await.expect("provisioned above");
        let counters = database.container(Kind::Counter.container()).await.expect("provisioned above");
        Some(Self { redis, cache, database, feeds, counters, _store: store })
    }

    /// The processors, until `stop`.
    fn start(&self, stop: &CancellationToken) -> JoinHandle<()> {
        let poll = Duration::from_millis(5);
        let options = feedmill_engine::Options {
            poll_delay_min: poll,
            poll_delay_max: poll,
            backoff_max: SHORT,
            ..Default::default()
        };
        let mut engine = Engine::new(Parts {
            database: Arc::clone(&self.database),
            clock: Arc::new(SystemClock),
            entropy: Entropy::seeded(1),
            host: "test".to_owned(),
            exclusive: true,
            options,
        });
        for processor in processors(&self.cache, StartFrom::Beginning) {
            engine.add(processor);
        }
        let stop = stop.clone();
        tokio::spawn(async move {
            engine.run(Lifetime::UntilStopped, stop).await.expect("an engine that stops in order");
        })
    }

    async fn post(&self, user: &str, n: u32) {
        let id = format!("{user}:{n}");
        let item = json!({"id": id, "recipientId": user, "postId": n.to_string(), "authorId": "a",
            "createdAt": format!("2024-01-01T00:{:02}:{:02}.000Z", n / 60 % 60, n % 60)});
        write(&*self.feeds, user, &id, &item).await;
    }

    async fn count(&self, subject: &str, likes: u32) {
        let id = format!("{subject}:likes");
        let counter = json!({"id": id, "subjectId": subject, "name": "likes", "value": likes});
        write(&*self.counters, subject, &id, &counter).await;
    }

    async fn feed(&self, user: &str) -> Vec<String> {
        let read = self.cache.read(&Subject::feed(user), &*self.feeds).await.expect("the store answers");
        let items: Vec<Value> = serde_json::from_str(&read).expect("JSON");
        items.iter().map(|item| item["postId"].as_str().expect("an id").to_owned()).collect()
    }

    async fn is_cached(&self, subject: &Subject) -> bool {
        self.cache.look_up(subject).await.expect("Redis answers").is_some()
    }
}

async fn write(container: &dyn Container, key: &str, id: &str, document: &Value) {
    let id = DocumentId::new(id).expect("a legal id");
    let operation = Operation::Upsert { id, body: Bytes::from(document.to_string()) };
    container.write(&PartitionKey::from(key), operation).await.expect("a write");
}

/// Until it is so; a test that waits for what never comes is ended by its runner.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    while !so().await {
        SystemClock.sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_change_removes_what_was_cached_of_it_and_nothing_else() {
    let test = "a_change_removes_what_was_cached_of_it_and_nothing_else";
    let Some(world) = World::new(test, OnChange::Invalidate).await else { return };
    let stop = CancellationToken::new();
    let running = world.start(&stop);
    for user in ["ann", "bob"] {
        world.post(user, 1).await;
    }
    world.count("ann", 1).await;
    let subjects = [Subject::feed("ann"), Subject::feed("bob"), Subject::counters("ann")];
    // What was written before may still remove what is read now.
    until(async || {
        world.feed("ann").await;
        world.feed("bob").await;
        world.cache.read(&subjects[2], &*world.counters).await.expect("the store answers");
        SystemClock.sleep(SHORT).await;
        let mut cached = true;
        for subject in &subjects {
            cached &= world.is_cached(subject).await;
        }
        cached
    })
    .await;
    world.post("ann", 2).await;
    until(async || !world.is_cached(&subjects[0]).await).await;
    assert_eq!(world.feed("ann").await, ["2", "1"]);
    assert!(world.is_cached(&subjects[1]).await && world.is_cached(&subjects[2]).await);
    world.count("ann", 2).await;
    until(async || !world.is_cached(&subjects[2]).await).await;
    assert_eq!(world.cache.read(&subjects[2], &*world.counters).await.unwrap(), r#"{"likes":2}"#);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_refreshed_key_has_the_new_value_and_what_nobody_read_is_not_there() {
    let test = "a_refreshed_key_has_the_new_value_and_what_nobody_read_is_not_there";
    let Some(world) = World::new(test, OnChange::Refresh).await else { return };
    world.post("ann", 1).await;
    world.feed("ann").await;
    let stop = CancellationToken::new();
    let running = world.start(&stop);
    world.post("ann", 2).await;
    world.post("bob", 1).await;
    until(async || {
        let cached = world.cache.look_up(&Subject::feed("ann")).await.expect("Redis answers");
        cached.is_some_and(|cached| cached.contains("\"postId\":\"2\""))
    })
    .await;
    assert!(!world.is_cached(&Subject::feed("bob")).await);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_was_read_before_a_change_is_not_cached_after_it() {
    let test = "what_was_read_before_a_change_is_not_cached_after_it";
    let Some(mut world) = World::new(test, OnChange::Invalidate).await else { return };
    let subject = Subject::feed("ann");
    let permit = world.cache.permit(&subject).await.unwrap();
    world.cache.remove(&subject).await.unwrap();
    assert!(!world.cache.fill(&subject, permit, b"[]").await.unwrap(), "removed since");

    let permit = world.cache.permit(&subject).await.unwrap();
    world.redis.kill();
    world.redis.start_again();
    until(async || world.cache.look_up(&subject).await.is_ok()).await;
    // Who asks after the loss has a permit of their own.
    let later = world.cache.permit(&subject).await.unwrap();
    assert!(!world.cache.fill(&subject, permit, b"[]").await.unwrap(), "from before the cache was lost");
    assert!(world.cache.fill(&subject, later, b"[1]").await.unwrap());
    assert_eq!(world.cache.look_up(&subject).await.unwrap().as_deref(), Some("[1]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_killed_in_the_middle_leaves_no_wrong_answer_behind() {
    for on_change in [OnChange::Invalidate, OnChange::Refresh] {
        let test = "redis_killed_in_the_middle_leaves_no_wrong_answer_behind";
        let Some(world) = World::new(test, on_change).await else { return };
        killed_in_the_middle(world).await;
    }
}

async fn killed_in_the_middle(mut world: World) {
    const USERS: u32 = 8;
    const POSTS: u32 = 240;
    let stop = CancellationToken::new();
    let running = world.start(&stop);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, feeds, stop) = (world.cache.clone(), Arc::clone(&world.feeds), stop.clone());
            tokio::spawn(async move {
                let mut user = 0;
                while !stop.is_cancelled() {
                    user = (user + 1) % USERS;
                    // Served all the time, by whom does not matter.
                    cache.read(&Subject::feed(user.to_string()), &*feeds).await.expect("the store answers");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for n in 0..POSTS {
        world.post(&(n % USERS).to_string(), n).await;
        match n {
            80 | 160 => world.redis.kill(),
            100 | 180 => world.redis.start_again(),
            _ => SystemClock.sleep(Duration::from_millis(1)).await,
        }
    }
    // Sooner or later every reader is given the newest post of everybody, and from then on by the cache.
    for user in 0..USERS {
        let newest = (POSTS - USERS + user).to_string();
        until(async || world.feed(&user.to_string()).await.first() == Some(&newest)).await;
    }
    stop.cancel();
    running.await.expect("an engine that stops in order");
    for reader in readers {
        reader.await.expect("no panic");
    }
    for user in 0..USERS {
        let expected: Vec<String> =
            (0..POSTS).rev().filter(|n| n % USERS == user).take(50).map(|n| n.to_string()).collect();
        assert_eq!(world.feed(&user.to_string()).await, expected);
    }
}

#[tokio::test]
async fn while_redis_is_away_no_change_is_passed_over() {
    let test = "while_redis_is_away_no_change_is_passed_over";
    let Some(world) = World::new(test, OnChange::Invalidate).await else { return };
    let stop = CancellationToken::new();
    let running = world.start(&stop);
    world.post("ann", 1).await;
    let subject = Subject::feed("ann");
    until(async || {
        world.feed("ann").await;
        SystemClock.sleep(SHORT).await;
        world.is_cached(&subject).await
    })
    .await;
    // Out of our reach, and it keeps what it has.
    world.redis.cli(&["config", "set", "requirepass", "locked"]);
    world.redis.cli(&["-a", "locked", "client", "kill", "type", "normal"]);
    until(async || world.cache.look_up(&subject).await.is_err()).await;
    world.post("ann", 2).await;
    assert_eq!(world.feed("ann").await, ["2", "1"], "the store answers");
    SystemClock.sleep(SHORT * 10).await;
    world.redis.cli(&["-a", "locked", "config", "set", "requirepass", ""]);
    until(async || world.cache.look_up(&subject).await.is_ok()).await;
    let mut looks = 0;
    until(async || {
        looks += 1;
        world.feed("ann").await == ["2", "1"] || looks > 1_000
    })
    .await;
    assert_eq!(world.feed("ann").await, ["2", "1"]);
    stop.cancel();
    running.await.unwrap();
}
