use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, SystemClock};
use feedmill_local_store::LocalStore;
use feedmill_outbox::{Audit, Outbox, PgPool, Relay};
use feedmill_store_api::{ContainerSpec, Database, DefaultTtl, DocumentId, PartitionKey, ReadLevel};
use feedmill_test_servers::Postgres;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use super::Faulty;

/// A migrated database and a store with the source containers.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) store: Faulty,
    /// Stands still: the time of retries and retention.
    pub(crate) manual: ManualClock,
    _store: LocalStore,
}

impl World {
    /// `None` where there is no PostgreSQL.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        Some(Self::on(Postgres::shared(test)?).await)
    }

    pub(crate) async fn on(server: &Postgres) -> Self {
        let url = server.database();
        let pool = feedmill_outbox::connect(&url, 20).await.expect("the new database answers");
        feedmill_outbox::migrate(&pool).await.expect("migrations apply to an empty database");
        let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
        let database = store.database("test").await.expect("a new database");
        for (name, key) in [
            ("posts_v2", "/postId"),
            ("reactions", "/postId"),
            ("follows", "/followeeId"),
            ("blocks", "/userId"),
            ("publicProfiles", "/userId"),
        ] {
            let spec = ContainerSpec::new(name, key).ttl(DefaultTtl::Forever);
            database.provision(&spec).await.expect("a new container");
        }
        let manual = ManualClock::new(SystemClock.now());
        Self { url, pool, store: Faulty::new(database), manual, _store: store }
    }

    pub(crate) async fn sql(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
    }

    /// The error's text of a statement that must fail.
    pub(crate) async fn refused(&self, statement: &str) -> String {
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await {
            Ok(_) => panic!("{statement}: was not refused"),
            Err(error) => error.to_string(),
        }
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        let number = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await;
        number.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Options whose waits suit a test.
    pub(crate) fn options(&self) -> feedmill_outbox::Options {
        let short = Duration::from_millis(20);
        feedmill_outbox::Options { poll: short, outage_wait_max: short, ..Default::default() }
    }

    pub(crate) async fn outbox_with(&self, options: feedmill_outbox::Options, clock: Arc<dyn Clock>) -> Outbox {
        Outbox::open(self.pool.clone(), options, clock).await.expect("an outbox as migrated")
    }

    /// An outbox whose clock stands still.
    pub(crate) async fn outbox(&self) -> Outbox {
        self.outbox_with(self.options(), Arc::new(self.manual.clone())).await
    }

    pub(crate) fn relay(&self, outbox: &Outbox) -> Relay {
        Relay::new(outbox.clone(), Arc::new(self.store.clone()), Entropy::seeded(7))
    }

    /// A relay on the machine's clock, for tests that let it run.
    pub(crate) async fn running_relay(&self) -> Relay {
        let outbox = self.outbox_with(self.options(), Arc::new(SystemClock)).await;
        self.relay(&outbox)
    }

    /// Steps until nothing more can be claimed now.
    pub(crate) async fn settle(&self, relay: &Relay) {
        while relay.step().await.expect("a step").claimed > 0 {}
    }

    pub(crate) async fn document(&self, container: &str, key: &str, id: &str) -> Option<Value> {
        let container = self.store.container(container).await.expect("a container that was provisioned");
        let (key, id) = (PartitionKey::from(key), DocumentId::new(id).expect("a legal id"));
        let (document, _) = container.read(&key, &id, &ReadLevel::Quorum).await.expect("a read");
        document.map(|document| document.parse().expect("JSON"))
    }

    /// Every canonical row has the document it should have.
    pub(crate) async fn assert_documents_are_right(&self) {
        let audit = Audit::new(self.outbox().await, Arc::new(self.store.clone()));
        let found = |finding| panic!("{finding:?}");
        let verified = audit.run(false, &CancellationToken::new(), found, |_| {}).await.expect("a comparison");
        assert_eq!(verified.in_flight, 0);
        assert!(verified.documents > 0, "nothing was compared");
    }

    /// Users 1 to `count`.
    pub(crate) async fn users(&self, count: u32) {
        self.sql(&format!(
            "INSERT INTO users (user_id, email, provider)
             SELECT lpad(n::text, 32, '0')::uuid, n || '@example.org', 'google' FROM generate_series(1, {count}) AS n"
        ))
        .await;
    }
}

/// Number `n` as every test writes ids.
pub(crate) fn uuid(n: u32) -> String {
    format!("00000000-0000-0000-0000-{n:012}")
}

/// A statement that inserts post `n` of user 1.
pub(crate) fn post(n: u32) -> String {
    format!("INSERT INTO posts (post_id, author_id, body) VALUES ('{}', '{}', 'text');", uuid(n), uuid(1))
}
