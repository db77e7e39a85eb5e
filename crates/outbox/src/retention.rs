//! Removes what was relayed long ago, a few rows at a time, so that no lock and no vacuum is ever large.

use sqlx::AssertSqlSafe;

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Outbox, metrics};

impl Outbox {
    /// Removes up to `retention_rows_max` events that were relayed or skipped longer than `retention` ago, and says how
    /// many. Call again while it removes as many as it may. Several may run at once.
    pub async fn sweep(&self) -> Result<u64, Error> {
        let Table { name, id, processed_at, .. } = &*self.table;
        let statement = format!(
            "DELETE FROM {name} WHERE {id} IN (
                 SELECT o.{id} FROM {name} AS o WHERE o.{processed_at} < to_timestamp($1)
                 ORDER BY o.{processed_at} LIMIT $2 FOR UPDATE SKIP LOCKED)"
        );
        let removed = sqlx::query(AssertSqlSafe(statement))
            .bind(self.now_seconds() - self.options.retention.as_secs_f64())
            .bind(i64::from(self.options.retention_rows_max))
            .execute(&self.pool)
            .await
            .attempted(|| format!("remove relayed events from {name}"))?
            .rows_affected();
        ::metrics::counter!(metrics::REMOVED).increment(removed);
        Ok(removed)
    }
}
