use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Clock;
use jiff::Timestamp;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Options};

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
    /// Fails with [`Error::Settings`] when the table or a mapped column is not there.
    pub async fn open(pool: PgPool, options: Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        options.check()?;
        let table = Table::find(&pool, &options.table).await?;
        Ok(Self { pool, table: Arc::new(table), options: Arc::new(options), clock })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The clock's time as PostgreSQL's `to_timestamp` takes it.
    pub(crate) fn now_seconds(&self) -> f64 {
        seconds(self.clock.now())
    }
}

/// Connections to a database, made when first needed. A relay holds one for its claim and one to listen.
pub async fn connect(url: &str, connections_max: u32) -> Result<PgPool, Error> {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(10))
        .connect(url)
        .await
        .attempted(|| "connect to PostgreSQL".to_owned())
}

pub(crate) fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}
