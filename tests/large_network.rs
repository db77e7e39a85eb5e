//! The large real network through chunks, against answers that nobody here chose, at every checkpoint.
//!
//! Whole it is fifteen million feed items. So unless `FEEDMILL_SNB_LOAD_PEOPLE` says of how many people the answers are checked
//! (`all` for everybody), they are those of few, and only what these are made of is loaded: what the people and their friends
//! wrote, for all followers of these, and what was done to the people's own posts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use feedmill_clock::{Entropy, SystemClock};
use feedmill_documents::containers::{self, FOLLOWS, POSTS, PUBLIC_PROFILES, REACTIONS};
use feedmill_documents::fan_out::Chunk;
use feedmill_documents::{Follow, Post, Reaction, id};
use feedmill_engine::{Engine, Lifetime, Parts, Processor, StartFrom};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{Database, PageRequest, PartitionKey, Query, ReadLevel, Scope};
use feedmill_workload::expected::{self, Expected, Sources};
use feedmill_workload::ldbc::{self, Dataset, Event};
use feedmill_workload::loader::{self, Loader};
use feedmill_workload::{SourceWrite, ic};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PEOPLE: &str = "FEEDMILL_SNB_LOAD_PEOPLE";
const PEOPLE_DEFAULT: usize = 20;
/// Who has fewer friends is not among few.
const FRIENDS_MIN: usize = 3;
const FAN_OUT_INLINE_MAX: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn snb_load_equals_the_oracle_at_every_checkpoint_though_chunks_carry_most_of_it() {
    let Some(folder) = data("snb-load") else { return };
    let dataset = Dataset::open(&folder).unwrap();
    let asked = match std::env::var(PEOPLE).as_deref() {
        Ok("all") => Asked::new(&dataset, usize::MAX),
        Ok(people) => Asked::new(&dataset, people.parse().unwrap()),
        Err(_) => Asked::new(&dataset, PEOPLE_DEFAULT),
    };
    let mut checkpoints: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for answer in lines(&folder.join("oracle_checkpoints.ndjson.gz")) {
        let of_person = checkpoints.entry(answer["at"].as_u64().unwrap()).or_default();
        if asked.people.contains(&answer["personId"].to_string()) {
            of_person.push(answer);
        }
    }
    assert_eq!(checkpoints.len(), 5);

    let mut network = Network::new().await;
    let mut events = dataset.stream(None).unwrap();
    let mut applied = 0;
    for (at, answers) in checkpoints {
        if at == 0 {
            network.load(dataset.snapshot(None).unwrap(), &asked).await;
        }
        network.replay(events.by_ref().take(usize::try_from(at - applied).unwrap()), &asked).await;
        applied = at;
        network.catch_up().await;
        let items = network.check(&answers, at).await;
        println!("at {at}: {} people, {items} items of theirs", answers.len());
    }
    assert_eq!(applied, dataset.events());
    let (in_chunks, items) = network.in_chunks(&asked).await;
    println!("{in_chunks} of {items} items came by chunks");
    assert!(2 * in_chunks > items, "{in_chunks} of {items} items came by chunks");
}

/// The folder of a data set; says that the test is skipped where there is none.
fn data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FEEDMILL_DATA").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the capture of the test harness, so that nobody takes it for a test that passed.
    let _said = writeln!(std::io::stderr().lock(), "skipped: snb_load: no data set in {}", folder.display());
    None
}

fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Who is asked for, and what their answers are made of.
struct Asked {
    people: BTreeSet<String>,
    /// They and whoever was ever their friend.
    authors: BTreeSet<String>,
    /// What they wrote themselves.
    posts: BTreeSet<String>,
}

impl Asked {
    /// So many of those with some friends whose answers are made of least; of all people where there are not so many.
    fn new(dataset: &Dataset, count: usize) -> Self {
        let (mut friends, mut wrote) =
            (BTreeMap::<String, BTreeSet<String>>::new(), BTreeMap::<String, Vec<String>>::new());
        let snapshot = dataset.snapshot(None).unwrap().map(Result::unwrap);
        for write in snapshot.chain(dataset.stream(None).unwrap().flat_map(|event| event.unwrap().writes)) {
            match write.container {
                PUBLIC_PROFILES => drop(friends.entry(write.id.into_string()).or_default()),
                FOLLOWS => {
                    let Follow { follower_id, followee_id, .. } = Follow::decode(&write.body).unwrap();
                    friends.entry(follower_id).or_default().insert(followee_id);
                }
                POSTS => {
                    let post = Post::decode(&write.body).unwrap();
                    wrote.entry(post.author_id).or_default().push(post.post_id);
                }
                _ => {}
            }
        }
        let items = |author: &String| wrote.get(author).map_or(0, Vec::len) * friends[author].len();
        let mut people: Vec<&String> = friends.keys().collect();
        if count < people.len() {
            people.retain(|person| friends[*person].len() >= FRIENDS_MIN);
            people.sort_by_cached_key(|person| friends[*person].iter().map(items).sum::<usize>());
            people.truncate(count);
        }
        let people: BTreeSet<String> = people.into_iter().cloned().collect();
        let authors = people.iter().flat_map(|person| &friends[person]).chain(&people).cloned().collect();
        let posts = people.iter().filter_map(|person| wrote.get(person)).flatten().cloned().collect();
        Self { people, authors, posts }
    }

    fn concerns(&self, write: &SourceWrite) -> bool {
        match write.container {
            FOLLOWS => self.authors.contains(&*Follow::decode(&write.body).unwrap().followee_id),
            POSTS => {
                let post = Post::decode(&write.body).unwrap();
                self.authors.contains(&*post.author_id)
                    || post.reply_to.is_some_and(|parent| self.posts.contains(&*parent))
            }
            REACTIONS => self.posts.contains(&*Reaction::decode(&write.body).unwrap().post_id),
            _ => true,
        }
    }
}

struct Network {
    database: Arc<dyn Database>,
    loader: Loader,
    /// What was loaded.
    sources: Sources,
}

impl Network {
    async fn new() -> Self {
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
        let database = store.database("feedmill").await.unwrap();
        for spec in containers::all(2) {
            database.provision(&spec).await.unwrap();
        }
        let options = loader::Options::default();
        let loader = Loader::new(Arc::clone(&database), Arc::new(SystemClock), Entropy::seeded(1), options);
        Self { database, loader, sources: Sources::default() }
    }

    async fn load(&mut self, writes: impl Iterator<Item = Result<SourceWrite, ldbc::Error>>, asked: &Asked) {
        let sources = &mut self.sources;
        let writes = writes.map(Result::unwrap).filter(|write| asked.concerns(write));
        let writes = writes.inspect(|write| sources.apply(write).unwrap());
        self.loader.load(writes.map(Ok), |_| {}).await.unwrap();
    }

    async fn replay(&mut self, events: impl Iterator<Item = Result<Event, ldbc::Error>>, asked: &Asked) {
        let sources = &mut self.sources;
        let events = events.map(|event| {
            let mut event = event?;
            event.writes.retain(|write| asked.concerns(write));
            event.writes.iter().for_each(|write| sources.apply(write).unwrap());
            Ok(event)
        });
        self.loader.replay(events, |_| {}).await.unwrap();
    }

    async fn catch_up(&self) {
        let mut engine = Engine::new(Parts {
            database: Arc::clone(&self.database),
            clock: Arc::new(SystemClock),
            entropy: Entropy::seeded(1),
            host: "one".to_owned(),
            exclusive: true,
            options: feedmill_engine::Options::default(),
        });
        for processor in processors() {
            engine.add(processor);
        }
        let quiet = CancellationToken::new();
        quiet.cancel();
        let summary = engine.run(Lifetime::UntilCaughtUp { quiet }, CancellationToken::new()).await.unwrap();
        assert!(summary.halted.is_empty(), "{:?}", summary.halted);
    }

    /// Everybody's answers. Gives how many items they have.
    async fn check(&self, answers: &[Value], at: u64) -> usize {
        let expected = Expected::new(&self.sources, expected::Options::ldbc(), Timestamp::UNIX_EPOCH);
        let mut counters = BTreeMap::new();
        for counter in self.all(containers::COUNTERS).await {
            let part = |field: &str| counter[field].as_str().unwrap().to_owned();
            counters.insert((part("subjectId"), part("name")), counter["value"].as_u64().unwrap());
        }
        let count = |subject: &str, name: &str| counters.get(&(subject.to_owned(), name.to_owned())).copied();
        let mut items = 0;
        for answer in answers {
            let person = answer["personId"].to_string();
            let context = format!("{person} at {at}");
            let feed = self.of(containers::USER_FEED, &person).await;
            let told = self.of(containers::NOTIFICATIONS, &person).await;
            let following = self.of(containers::FOLLOWING, &person).await;
            let wrote = self.of(containers::AUTHOR_POSTS, &person).await;
            let wrote: BTreeMap<&str, &Value> = wrote.iter().map(|post| (text(post, "postId"), post)).collect();

            let ic2 = ic::ic2(&feed, None).unwrap();
            assert_eq!(
                json!(ic2.iter().map(ic::Ic2Row::oracle).collect::<Vec<_>>()),
                answer["IC2"],
                "IC2 of {context}"
            );
            let ic7 = ic::ic7(&told, &following, |post| wrote.get(post).map(|&post| post.clone())).unwrap();
            assert_eq!(
                json!(ic7.iter().map(ic::Ic7Row::oracle).collect::<Vec<_>>()),
                answer["IC7"],
                "IC7 of {context}"
            );
            let ic8 = ic::ic8(&told).unwrap();
            assert_eq!(
                json!(ic8.iter().map(ic::Ic8Row::oracle).collect::<Vec<_>>()),
                answer["IC8"],
                "IC8 of {context}"
            );
            let counts = ic::counts(&person, wrote.keys().copied(), count);
            let counted = json!([counts.friends, counts.messages, counts.likes_received, counts.replies_received]);
            let known = ["friends", "messages", "likesReceived", "repliesReceived"].map(|field| &answer[field]);
            assert_eq!(counted, json!(known), "counters of {context}");

            // The oracle has the newest of each feed; the reference, which gives the oracle's answers too, has all of it.
            let shown: BTreeSet<&str> =
                feed.iter().filter(|item| is_live(item)).map(|item| text(item, "postId")).collect();
            let wanted: BTreeSet<&str> = expected.user_feed_unsorted(&person).map(|post| &*post.post_id).collect();
            assert!(shown == wanted, "feed of {context}: {} items for {}", shown.len(), wanted.len());
            items += shown.len();
        }
        items
    }

    /// Items of these people that chunks brought, and all of them. What is settled before there are chunks is in the first one.
    async fn in_chunks(&self, asked: &Asked) -> (usize, usize) {
        let mut cuts = BTreeMap::new();
        for work in self.all(containers::FAN_OUT).await {
            if let Ok(Chunk { chunk: 0, post_id, cuts: of_post, .. }) = serde_json::from_value(work) {
                cuts.insert(post_id, of_post.into_iter().next().unwrap());
            }
        }
        let (mut in_chunks, mut items) = (0, 0);
        for person in &asked.people {
            let follower = id::join([person]).unwrap();
            for item in self.of(containers::USER_FEED, person).await.iter().filter(|item| is_live(item)) {
                items += 1;
                let is_behind = |first: &String| follower.as_str() >= first.as_str();
                in_chunks += usize::from(cuts.get(text(item, "postId")).is_some_and(is_behind));
            }
        }
        (in_chunks, items)
    }

    async fn of(&self, container: &str, key: &str) -> Vec<Value> {
        self.query(container, Scope::Partition(PartitionKey::from(key))).await
    }

    async fn all(&self, container: &str) -> Vec<Value> {
        self.query(container, Scope::Container).await
    }

    async fn query(&self, container: &str, scope: Scope) -> Vec<Value> {
        let container = self.database.container(container).await.unwrap();
        let (query, mut page, mut found) = (Query::new("SELECT * FROM c"), PageRequest::first(1_000), Vec::new());
        loop {
            let read = container.query(&scope, &query, &page, &ReadLevel::Quorum).await.unwrap();
            found.extend(read.items.iter().map(|item| serde_json::from_slice::<Value>(item).unwrap()));
            page.continuation = read.continuation;
            if page.continuation.is_none() {
                return found;
            }
        }
    }
}

fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap()
}

fn is_live(document: &Value) -> bool {
    document.get("deletedAt").is_none()
}

/// As README.md of the data says: old events are told, and people's own actions too.
fn processors() -> Vec<Processor> {
    let start = StartFrom::Beginning;
    let user_feed = feedmill_user_feed::Options {
        fan_out_inline_max: FAN_OUT_INLINE_MAX.try_into().unwrap(),
        ..feedmill_user_feed::Options::default()
    };
    let notifications: feedmill_notifications::Options =
        serde_json::from_value(json!({"own_actions": true, "retention": "none"})).unwrap();
    let all = [
        feedmill_index::processors(&feedmill_index::Options::default(), start),
        feedmill_user_feed::processors(&user_feed, start),
        feedmill_counters::processors(&feedmill_counters::Options::default(), start),
        feedmill_notifications::processors(&notifications, start),
    ];
    all.into_iter().flatten().collect()
}
