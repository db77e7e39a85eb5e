//! From PostgreSQL to projections: relays and processors at work on one store at the same time, while rows change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_documents::containers;
use feedmill_engine::{Engine, Parts, StartFrom};
use feedmill_local_store::LocalStore;
use feedmill_outbox::{Audit, Lifetime, Outbox, PgPool, Relays};
use feedmill_store_api::{Database, FeedStart};
use feedmill_test_servers::Postgres;
use feedmill_workload::expected::{self, Expected, Sources, visible};
use feedmill_workload::{canon, generate};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

const DERIVED: [&str; 4] =
    [containers::USER_FEED, containers::COUNTERS, containers::NOTIFICATIONS, containers::PUBLIC_PROFILES];

fn engine(database: &Arc<dyn Database>) -> Engine {
    let mut engine = Engine::new(Parts {
        database: Arc::clone(database),
        clock: Arc::new(SystemClock),
        entropy: Entropy::seeded(1),
        host: "test".to_owned(),
        exclusive: true,
        options: feedmill_engine::Options::default(),
    });
    let start = StartFrom::Beginning;
    let all = [
        feedmill_index::processors(&Default::default(), start),
        feedmill_user_feed::processors(&Default::default(), start),
        feedmill_counters::processors(&Default::default(), start),
        feedmill_notifications::processors(&Default::default(), start),
    ];
    for processor in all.into_iter().flatten() {
        engine.add(processor);
    }
    engine
}

async fn sql(pool: &PgPool, statements: &str) {
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await {
        panic!("{statements}: {error}");
    }
}

/// A network, and everything that people do to it later.
async fn write(pool: &PgPool) {
    const ROUNDS: usize = 10;
    let options = generate::Options { users: 30, follows_mean: 8, posts: 300, likes: 500, ..Default::default() };
    let network = generate::Network::new(&options, SystemClock.now());
    let rows: Vec<String> = network.writes().map(|write| canon::insert(&write)).collect();
    for (round, part) in rows.chunks(rows.len().div_ceil(ROUNDS)).enumerate() {
        sql(pool, &part.concat()).await;
        sql(
            pool,
            &format!(
                "UPDATE posts SET body = 'edited {round}' WHERE hashtext(post_id::text) % 5 = {round} % 5;
                 UPDATE posts SET deleted_at = now() WHERE hashtext(post_id::text) % 23 = {round} AND deleted_at IS NULL;
                 UPDATE posts SET status = CASE status WHEN 'hidden' THEN 'published' ELSE 'hidden' END
                     WHERE hashtext(post_id::text) % 7 = {round};
                 UPDATE follows SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
                     WHERE hashtext(followee_id::text || follower_id::text) % 11 = {round};
                 UPDATE reactions SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
                     WHERE hashtext(post_id::text || user_id::text) % 11 = {round};
                 INSERT INTO mutes (user_id, muted_id) SELECT follower_id, followee_id FROM follows
                     WHERE hashtext(followee_id::text || follower_id::text) % 13 = {round} ON CONFLICT DO NOTHING;
                 DELETE FROM mutes WHERE hashtext(muted_id::text) % 3 = {round} % 3;
                 INSERT INTO blocks (blocker_id, blocked_id) SELECT follower_id, followee_id FROM follows
                     WHERE hashtext(followee_id::text || follower_id::text) % 17 = {round} ON CONFLICT DO NOTHING;
                 DELETE FROM blocks WHERE hashtext(blocked_id::text) % 7 = {round} % 7"
            ),
        )
        .await;
    }
}

async fn sources(pool: &PgPool) -> Sources {
    let rows: Vec<(String, String)> = sqlx::query_as(canon::SOURCES).fetch_all(pool).await.unwrap();
    let mut sources = Sources::default();
    for (container, document) in rows {
        sources.put(&container, &document.into()).unwrap();
    }
    sources
}

/// What a reader sees of a container, by id.
async fn stored(database: &dyn Database, container: &str) -> BTreeMap<String, Value> {
    let container = database.container(container).await.unwrap();
    let mut documents = BTreeMap::new();
    for range in container.feed_ranges().await.unwrap() {
        let mut start = FeedStart::Beginning;
        loop {
            let page = container.read_page(&range, &start, 1_000).await.unwrap();
            if page.changes.is_empty() {
                break;
            }
            for change in &page.changes {
                let document: Value = serde_json::from_slice(&change.body).unwrap();
                let id = document["id"].as_str().unwrap().to_owned();
                documents.insert(id, document);
            }
            start = FeedStart::Position(page.position);
        }
    }
    let seen = |(id, document): (String, Value)| Some((id, visible(&document, SystemClock.now())?));
    documents.into_iter().filter_map(seen).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_change_while_relays_and_processors_run_end_as_the_expected_projections() {
    let test = "rows_that_change_while_relays_and_processors_run_end_as_the_expected_projections";
    let Some(postgres) = Postgres::shared(test) else { return };
    let pool = feedmill_outbox::connect(&postgres.database(), 12).await.unwrap();
    feedmill_outbox::migrate(&pool).await.unwrap();
    let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
    let database = store.database("test").await.unwrap();
    for spec in containers::all(2) {
        database.provision(&spec).await.unwrap();
    }

    let poll = Duration::from_millis(20);
    let options = feedmill_outbox::Options { relays: 3, batch_rows_max: 50, poll, ..Default::default() };
    let outbox = Outbox::open(pool.clone(), options, Arc::new(SystemClock)).await.unwrap();
    let relays = |seed| Relays::new(&outbox, &database, &Entropy::seeded(seed));
    let (stop, quiet) = (CancellationToken::new(), CancellationToken::new());
    let relaying = tokio::spawn(relays(2).run(Lifetime::UntilStopped, stop.clone()));
    let lifetime = feedmill_engine::Lifetime::UntilCaughtUp { quiet: quiet.clone() };
    let projecting = tokio::spawn(engine(&database).run(lifetime, CancellationToken::new()));
    write(&pool).await;
    relays(3).run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    stop.cancel();
    assert!(relaying.await.unwrap().unwrap().total.relayed > 0);
    quiet.cancel();
    let summary = projecting.await.unwrap().unwrap();
    assert_eq!((summary.dead_letters, summary.halted.len()), (0, 0));

    let audit = Audit::new(outbox, Arc::clone(&database));
    let verified = audit.run(false, &CancellationToken::new(), |finding| panic!("{finding:?}"), |_| {}).await.unwrap();
    assert!(verified.in_flight == 0 && verified.documents > 800, "{verified:?}");
    let sources = sources(&pool).await;
    let expected = Expected::new(&sources, expected::Options::default(), SystemClock.now());
    for container in DERIVED {
        // A count of nothing is 0, whether or not somebody wrote it down.
        let counts = |document: &Value| container != containers::COUNTERS || document["value"] != 0;
        let found = stored(&*database, container).await.into_iter().filter(|(_, document)| counts(document));
        let expected = expected.documents(container).filter(|(_, document)| counts(document));
        let (found, expected): (BTreeMap<_, _>, BTreeMap<_, _>) = (found.collect(), expected.collect());
        assert!(expected.len() > 20, "{container}: {} documents prove nothing", expected.len());
        for (id, document) in &expected {
            assert_eq!(found.get(id), Some(document), "{container}: {id}");
        }
        assert_eq!(found.len(), expected.len(), "{container} has more than it should");
    }
}
