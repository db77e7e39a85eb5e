//! What waits, measured at a price that does not grow with it.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Outbox, metrics};

const EVERY: Duration = Duration::from_secs(15);

/// Counting more would cost more than it tells.
const PENDING_MAX: i64 = 100_000;

/// Measures now and then, for ever. An outage is the relays' to report.
pub(crate) async fn keep(outbox: Outbox) {
    loop {
        match measure(&outbox).await {
            Ok((pending, lag_seconds)) => {
                ::metrics::gauge!(metrics::PENDING).set(pending as f64);
                ::metrics::gauge!(metrics::REPLICATION_LAG).set(lag_seconds);
            }
            Err(error) => tracing::debug!(error = %error, "what waits was not measured"),
        }
        outbox.clock.sleep(EVERY).await;
    }
}

async fn measure(outbox: &Outbox) -> Result<(i64, f64), Error> {
    let Table { name, id, created_at, processed_at, .. } = &*outbox.table;
    let statement = format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {name} AS o WHERE o.{processed_at} IS NULL LIMIT $2) AS waiting),
                coalesce((SELECT greatest($1 - extract(epoch FROM o.{created_at})::float8, 0) FROM {name} AS o
                          WHERE o.{processed_at} IS NULL AND NOT ({dead}) ORDER BY o.{id} LIMIT 1), 0)",
        dead = outbox.table.dead("o"),
    );
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(outbox.now_seconds())
        .bind(PENDING_MAX)
        .fetch_one(&outbox.pool)
        .await
        .attempted(|| "measure what waits".to_owned())
}
