use feedmill_test_servers::Postgres;
use feedmill_workload::canon;
use feedmill_workload::expected::Sources;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::runtime::Runtime;

use super::{Ran, Store, command};

/// A database of a real server, and the command with its address.
pub(crate) struct Database {
    pub(crate) url: String,
    pool: PgPool,
    runtime: Runtime,
}

impl Database {
    /// Empty; `None` where there is no PostgreSQL.
    pub(crate) fn empty(test: &str) -> Option<Self> {
        let url = Postgres::shared(test)?.database();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = runtime.block_on(PgPool::connect(&url)).unwrap();
        Some(Self { url, pool, runtime })
    }

    pub(crate) fn migrated(test: &str) -> Option<Self> {
        let database = Self::empty(test)?;
        database.run(&["outbox", "migrate"]).succeeded();
        Some(database)
    }

    pub(crate) fn sql(&self, statements: &str) {
        let done = self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(statements)).execute(&self.pool));
        done.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    pub(crate) fn number(&self, query: &str) -> i64 {
        self.runtime.block_on(sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool)).unwrap()
    }

    /// The source documents that the canonical rows are.
    pub(crate) fn sources(&self) -> Sources {
        let rows: Vec<(String, String)> =
            self.runtime.block_on(sqlx::query_as(canon::SOURCES).fetch_all(&self.pool)).unwrap();
        let mut sources = Sources::default();
        for (container, document) in rows {
            sources.put(&container, &document.into()).unwrap();
        }
        sources
    }

    /// The command without a store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    pub(crate) fn run_on(&self, store: &Store, arguments: &[&str]) -> Ran {
        self.command(&store.arguments(arguments)).output().unwrap().into()
    }

    pub(crate) fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> std::process::Command {
        let mut command = command(arguments);
        command.env("FEEDMILL_POSTGRES_URL", &self.url);
        command
    }
}
