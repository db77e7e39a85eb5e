//! Rebuilding and verifying by hand: what is wrong is found and mended, what is right is left alone.

use feedmill_documents::containers::{COUNTERS, NOTIFICATIONS, USER_FEED};
use feedmill_engine::{Act, DifferenceKind, Judged};
use feedmill_testing::World;
use feedmill_user_feed::UserFeed;
use feedmill_workload::generate::Network;
use serde_json::{Value, json};

use crate::projections::{END, Life, small};

async fn life() -> Life {
    let options = small(9);
    let network = Network::new(&options, END);
    let mut life = Life::new(9, 5).await;
    life.write(network.writes()).await;
    life.write(network.changes(&options, END)).await;
    life.catch_up().await;
    life
}

async fn act(world: &World, act: Act, user: &str) -> [Judged; 3] {
    let settler = world.operator(act == Act::Repair);
    let feed = UserFeed::new(feedmill_user_feed::Options::default()).rebuild(user, act, &settler).await.unwrap();
    let options = feedmill_notifications::Options::default();
    let told = feedmill_notifications::rebuild(&options, user, act, &settler).await.unwrap();
    // A count does not say from what it was made, so nothing of it may be skipped.
    let (settler, options) = (world.operator(true), feedmill_counters::Options::default());
    let counted = feedmill_counters::rebuild(&options, user, act, &settler).await.unwrap();
    [feed, told, counted]
}

/// The first live document of a container, and whose it is.
async fn one_of(world: &World, container: &str, key: &str) -> (String, Value) {
    let live = |document: &Value| document.get("deletedAt").is_none() && document["withdrawn"] != true;
    // People are numbered from one, posts from far above.
    let of_person = |document: &Value| document[key].as_str().is_some_and(|id| id.len() < 4);
    let mut documents = world.documents(container).await.into_values();
    let document = documents.find(|document| live(document) && of_person(document)).unwrap();
    (document[key].as_str().unwrap().to_owned(), document)
}

#[tokio::test]
async fn what_is_right_is_no_difference_and_a_rebuild_of_it_writes_nothing() {
    let life = life().await;
    for user in 1..=40 {
        let user = user.to_string();
        for judged in act(&life.world, Act::Compare, &user).await {
            assert!(judged.differences.is_empty(), "{user}: {:?}", judged.differences);
        }
    }
    let written = life.world.written();
    let settler = life.world.operator(false);
    let feed = UserFeed::new(feedmill_user_feed::Options::default());
    let judged = feed.rebuild("1", Act::Settle, &settler).await.unwrap();
    assert!(judged.targets > 0);
    drop(settler);
    assert_eq!(life.world.written(), written);
}

#[tokio::test]
async fn what_somebody_wrote_over_is_found_named_and_mended() {
    let life = life().await;
    let cases = [
        (USER_FEED, "recipientId", 0, json!({"content": "forged"}), DifferenceKind::Fields(vec!["content".to_owned()])),
        (USER_FEED, "recipientId", 0, json!({"deletedAt": "2020-01-01T00:00:00.000Z"}), DifferenceKind::Missing),
        // What is put here has no time to live of its own.
        (
            NOTIFICATIONS,
            "recipientId",
            1,
            json!({"actorId": "0"}),
            DifferenceKind::Fields(vec!["actorId".to_owned(), "ttl".to_owned()]),
        ),
        (COUNTERS, "subjectId", 2, json!({"value": 12_345}), DifferenceKind::Fields(vec!["value".to_owned()])),
    ];
    for (container, key, which, forged, kind) in cases {
        let (user, mut document) = one_of(&life.world, container, key).await;
        document.as_object_mut().unwrap().extend(forged.as_object().unwrap().clone());
        life.world.put(container, document.clone()).await;
        let context = format!("{forged} in {container}");
        let found = &act(&life.world, Act::Compare, &user).await[which];
        let found: Vec<_> = found.differences.values().map(|each| (each.address.id.as_str(), &each.kind)).collect();
        assert_eq!(found, [(document["id"].as_str().unwrap(), &kind)], "{context}");
        assert_eq!(act(&life.world, Act::Repair, &user).await[which].differences.len(), 1, "{context}");
        assert!(act(&life.world, Act::Compare, &user).await[which].differences.is_empty(), "{context}");
        life.check(&context).await;
    }
}

#[tokio::test]
async fn an_item_that_nobody_should_have_is_extra_and_goes() {
    let life = life().await;
    let (user, mut item) = one_of(&life.world, USER_FEED, "recipientId").await;
    // A post of somebody whom the person does not follow.
    let id = format!("{user}:1000000000");
    item["id"] = json!(id);
    item["postId"] = json!("1000000000");
    item["authorId"] = json!("no such author");
    life.world.put(USER_FEED, item).await;
    let [found, ..] = act(&life.world, Act::Compare, &user).await;
    assert_eq!(found.differences.values().map(|each| each.kind.clone()).collect::<Vec<_>>(), [DifferenceKind::Extra]);
    act(&life.world, Act::Repair, &user).await;
    life.check("an item that nobody should have").await;
}

#[tokio::test]
async fn a_notification_of_what_never_happened_is_extra_and_goes() {
    let life = life().await;
    let (user, mut told) = one_of(&life.world, NOTIFICATIONS, "recipientId").await;
    for (field, value) in [("id", format!("{user}:follow:{user}:nobody")), ("kind", "follow".to_owned())] {
        told[field] = json!(value);
    }
    told["actorId"] = json!("nobody");
    life.world.put(NOTIFICATIONS, told).await;
    let [_, found, _] = act(&life.world, Act::Compare, &user).await;
    assert_eq!(found.differences.values().map(|each| each.kind.clone()).collect::<Vec<_>>(), [DifferenceKind::Extra]);
    act(&life.world, Act::Repair, &user).await;
    life.check("a notification of what never happened").await;
}
