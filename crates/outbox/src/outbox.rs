use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, timeout};
use jiff::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Postgres, Transaction};

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Options};

/// How long to wait for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);

/// An outbox table that was found to be as the options say. Clones share the connections.
///
/// Operators' functions are methods of it (`operators.rs`, `status.rs`, `retention.rs`, `snapshot.rs`).
#[derive(Clone)]
pub struct Outbox {
    pub(crate) pool: PgPool,
    pub(crate) table: Arc<Table>,
    pub(crate) options: Arc<Options>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Outbox {
    /// Fails with [`Error::NoTable`] when the table is not there, with [`Error::Settings`] when a mapped column is not.
    pub async fn open(pool: PgPool, options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        options.check()?;
        let table = Table::find(&pool, &options.table).await?;
        Ok(Self { pool, table: Arc::new(table), options: Arc::new(options), clock })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Begins a transaction, in a task of its own: a BEGIN that is abandoned before its answer leaves its connection in a
    /// transaction that sqlx 0.9 knows nothing of, and the pool gives it to the next.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await;
        begun.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// A connection beside those of the pool, for the claims of one relay: what has been prepared and read there stays at
    /// hand, where those of a pool would take turns.
    pub(crate) async fn connect_to_claim(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.pool.connect_options();
        let connected = timeout(&*self.clock, ACQUIRE_MAX, options.connect()).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Begins a transaction, with a savepoint `claim` at its beginning, that the server ends, with its connection, once it
    /// stands still for so long.
    ///
    /// Its statements look at a few rows through indexes, whatever waits. So they are planned once and never compiled: both
    /// would take longer than they do. And the commit does not wait for the disk: marks that a crash of the server takes back
    /// are events that are relayed again.
    pub(crate) async fn begin_claim<'c>(
        &self,
        connection: &'c mut PgConnection,
        idle_max: Duration,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        let idle_max = idle_max.as_millis();
        let statements = format!(
            "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL jit = off;
             SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = {idle_max};
             SAVEPOINT claim"
        );
        connection.begin_with(AssertSqlSafe(statements)).await
    }

    /// The clock's time as PostgreSQL's `to_timestamp` takes it.
    pub(crate) fn now_seconds(&self) -> f64 {
        seconds(self.clock.now())
    }
}

/// Connections to a database that answers now. A relay holds one of them to listen, and has one more for its claims.
///
/// No error says any of `url`, which may have a password in it.
pub async fn connect(url: &str, connections_max: u32) -> Result<PgPool, Error> {
    let attempt = || "connect to PostgreSQL".to_owned();
    let options: PgConnectOptions = url.parse().attempted(attempt)?;
    let options = options.application_name("feedmill");
    // The pool would try again until its time is up, and say nothing but that.
    let tried = options.connect().await.attempted(attempt)?;
    tried.close().await.attempted(attempt)?;
    let pool = PgPoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_MAX);
    Ok(pool.connect_lazy_with(options))
}

pub(crate) fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}
