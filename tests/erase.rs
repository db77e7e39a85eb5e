//! A person who goes: everything by and for them is taken out, and in the end no document names them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Entropy;
use feedmill_documents::containers::{
    self, BLOCKS, DEAD_LETTERS, FAN_OUT, FOLLOWS, NOTIFICATIONS, POSTS, PUBLIC_PROFILES, REACTIONS, USER_FEED,
};
use feedmill_documents::notification;
use feedmill_engine::DeadLetters;
use feedmill_erase::{Erasure, Looked, Report, names};
use feedmill_testing::World;
use feedmill_workload::generate::Network;
use serde_json::{Value, json};

use crate::projections::{END, Life, small};

const DAY_SECONDS: u64 = 24 * 60 * 60;

async fn with<T>(world: &World, work: impl AsyncFnOnce(Erasure<'_>) -> T) -> T {
    let (clock, options) = (Arc::new(world.clock.clone()), feedmill_engine::Options::default());
    let letters = DeadLetters::open(&**world.database(), &options, clock, Entropy::seeded(1)).await.unwrap();
    let erasure = Erasure {
        database: &**world.database(),
        writer: world.writer(),
        letters: &letters,
        leases: &options.leases,
        feeds: &[],
        tell: &|_| {},
    };
    work(erasure).await
}

async fn erase(world: &World, user: &str) -> Report {
    with(world, async |erasure| erasure.run(user, false).await.unwrap()).await
}

/// How many documents of each container name somebody, where any does.
async fn named(world: &World, user: &str) -> BTreeMap<String, u64> {
    let scanned = with(world, async |erasure| erasure.scan(user).await.unwrap()).await;
    assert_eq!(scanned.len(), 14);
    let some = scanned.into_iter().filter(|looked| looked.left > 0);
    some.map(|Looked { container, left, .. }| (container, left)).collect()
}

/// Withdraws every source that names somebody, as the application does when an account is deleted.
async fn withdraw(world: &World, user: &str) {
    for container in [POSTS, REACTIONS, FOLLOWS, BLOCKS, PUBLIC_PROFILES] {
        for (_, mut document) in world.documents(container).await {
            if names(container, &document, user) && document.get("deletedAt").is_none() {
                document["deletedAt"] = "2020-01-01T11:00:00.000Z".into();
                document["ttl"] = (7 * DAY_SECONDS).into();
                world.put(container, document).await;
            }
        }
    }
}

/// Somebody with followers enough for chunks, with notifications, who is a cut point too.
async fn life() -> (Life, String) {
    let options = small(21);
    let network = Network::new(&options, END);
    let mut life = Life::new(21, 2).await;
    life.write(network.writes()).await;
    life.catch_up().await;
    let work = life.world.documents(FAN_OUT).await;
    let is_cut =
        |user: &str| work.values().any(|cuts| cuts["cuts"].as_array().is_some_and(|cuts| cuts.contains(&json!(user))));
    let told = life.world.documents(NOTIFICATIONS).await;
    let is_told = |user: &str| told.values().any(|told| told["recipientId"] == user);
    let has_chunks = |user: &str| work.values().any(|chunk| chunk["authorId"] == user);
    let mut people = (0..40).map(|user| user.to_string());
    let user = people.find(|user| is_cut(user) && is_told(user) && has_chunks(user)).unwrap();
    (life, user)
}

#[tokio::test]
async fn a_person_whose_sources_are_withdrawn_is_taken_out_and_in_the_end_no_document_names_them() {
    let (mut life, user) = life().await;
    let letter = |id: &str, source: &str, document: Value| {
        json!({"id": id, "processor": "user-feed", "container": FOLLOWS, "partitionKey": "0", "sourceId": source,
            "sourceEtag": "1", "sourceLsn": 1, "range": {"min": "", "max": "FF"}, "error": "x", "document": document,
            "attempts": 1, "firstFailedAt": "2020-01-01T00:00:00Z", "lastFailedAt": "2020-01-01T00:00:00Z",
            "nextRetryAt": null, "state": "dead"})
    };
    life.world.put(DEAD_LETTERS, letter("theirs", &format!("x:{user}"), json!({}))).await;
    life.world.put(DEAD_LETTERS, letter("about", "x:y", json!({"authorId": user}))).await;
    life.world.put(DEAD_LETTERS, letter("other", "x:y", json!({"postId": user}))).await;

    // What they wish to be told is in no source.
    let preferences = notification::preferences_id(&user).unwrap().into_string();
    let wish = json!({"id": preferences, "recipientId": user, "off": ["follow"], "ttl": -1});
    life.world.put(NOTIFICATIONS, wish).await;

    withdraw(&life.world, &user).await;
    life.catch_up().await;
    assert!(life.world.documents(NOTIFICATIONS).await[&preferences].get("off").is_some());
    let report = erase(&life.world, &user).await;
    assert!(report.is_done(), "{report:?}");
    let left = life.world.documents(NOTIFICATIONS).await.remove(&preferences).unwrap_or_default();
    assert!(left.get("off").is_none(), "{left}");
    let of = |container: &str| report.containers.iter().find(|looked| looked.container == container).unwrap();
    // What others did is live and told them; the processors leave it.
    assert!(of(NOTIFICATIONS).removed > 0 && of(FAN_OUT).removed > 0, "{report:?}");
    assert_eq!((of(DEAD_LETTERS).looked, of(DEAD_LETTERS).removed), (3, 2));

    for spec in containers::all(1) {
        for (id, document) in life.world.documents(&spec.name).await {
            let gone = document.get("deletedAt").is_some();
            assert!(gone || !names(&spec.name, &document, &user), "{id} of {} is live", spec.name);
        }
    }
    let again = erase(&life.world, &user).await;
    assert_eq!((again.removed(), again.is_done()), (0, true), "{again:?}");

    // Whatever is delivered again finds tombstones; only work is made of it, which is done and goes again.
    life.world.rewind();
    life.catch_up().await;
    let after_replay = erase(&life.world, &user).await;
    let removed = after_replay.containers.iter().filter(|looked| looked.removed > 0);
    assert_eq!(removed.map(|looked| looked.container.as_str()).collect::<Vec<_>>(), [FAN_OUT]);
    assert!(after_replay.is_done());

    life.world.clock.advance(Duration::from_secs(8 * DAY_SECONDS));
    assert_eq!(named(&life.world, &user).await, BTreeMap::new());
    life.world.rewind();
    life.catch_up().await;
    assert_eq!(named(&life.world, &user).await, BTreeMap::new(), "after a replay of what is left");
}

#[tokio::test]
async fn nobody_is_erased_whose_sources_are_live() {
    let (life, user) = life().await;
    let written = life.world.written();
    let report = erase(&life.world, &user).await;
    assert!(report.live() > 0 && !report.is_done());
    assert_eq!(life.world.written(), written);
    let feeds = report.containers.iter().find(|looked| looked.container == USER_FEED).unwrap();
    assert!(feeds.removed > 0, "what would go is said: {report:?}");
}

#[tokio::test]
async fn others_lose_nothing_by_somebodys_end() {
    let (mut life, user) = life().await;
    withdraw(&life.world, &user).await;
    life.catch_up().await;
    let others = async |world: &World| {
        let mut all = BTreeMap::new();
        for container in [USER_FEED, NOTIFICATIONS, POSTS, FOLLOWS] {
            let documents = world.documents(container).await.into_iter();
            all.extend(documents.filter(|(_, document)| !names(container, document, &user)));
        }
        all
    };
    let before = others(&life.world).await;
    erase(&life.world, &user).await;
    assert_eq!(others(&life.world).await, before);
    // A post that comes after it reaches everybody it should, wherever its author's followers are cut now.
    let (author, _) = life
        .world
        .documents(FAN_OUT)
        .await
        .into_iter()
        .find_map(|(id, work)| {
            let author = id.strip_suffix(":cuts")?.to_owned();
            work.get("cuts").is_some().then_some((author, work))
        })
        .unwrap();
    let post = json!({"id": "new", "postId": "new", "authorId": author, "createdAt": "2020-01-01T11:30:00.000Z",
        "status": "published"});
    life.world.put(POSTS, post).await;
    life.catch_up().await;
    let follows = life.world.documents(FOLLOWS).await;
    let shown = follows.values().filter(|edge| {
        edge["followeeId"] == author.as_str() && edge.get("deletedAt").is_none() && edge["muted"] != true
    });
    let feeds = life.world.documents(USER_FEED).await;
    let items = feeds.values().filter(|item| item["postId"] == "new" && item.get("deletedAt").is_none());
    assert_eq!(items.count(), shown.count());
}
