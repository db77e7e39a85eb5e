//! Records what became of claimed events, in the transaction that holds them.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::Error;
use crate::error::Attempted;
use crate::table::Table;

/// Longer errors are cut: the beginning says what was attempted on what.
const ERROR_CHARACTERS_MAX: usize = 4_000;

/// An event that was not relayed, and when it may be tried again.
#[derive(Debug)]
pub(crate) struct Postponed {
    pub(crate) id: String,
    /// Epoch seconds; `None` for a dead one.
    pub(crate) at_seconds: Option<f64>,
    pub(crate) error: String,
    /// Whether it uses up a retry. An outage does not.
    pub(crate) counts: bool,
}

#[derive(Debug)]
pub(crate) struct Mark {
    relayed: String,
    postponed: String,
}

impl Mark {
    pub(crate) fn new(table: &Table) -> Self {
        let Table { name, id, id_type, processed_at, retry_count, next_retry_at, .. } = table;
        let relayed = format!(
            "UPDATE {name} SET {processed_at} = to_timestamp($1), {next_retry_at} = NULL
             WHERE {id} = ANY($2::text[]::{id_type}[])"
        );
        let error = table.set_error("failed.error");
        let postponed = format!(
            "UPDATE {name} AS o SET {retry_count} = o.{retry_count} + failed.counts::int,
                 {next_retry_at} = to_timestamp(failed.at) {error}
             FROM unnest($1::text[]::{id_type}[], $2::float8[], $3::text[], $4::bool[]) AS failed (id, at, error, counts)
             WHERE o.{id} = failed.id"
        );
        Self { relayed, postponed }
    }

    pub(crate) async fn relayed(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        ids: &[String],
    ) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(AssertSqlSafe(self.relayed.as_str()))
            .bind(now_seconds)
            .bind(ids)
            .execute(connection)
            .await
            .attempted(|| format!("mark {} events as relayed", ids.len()))?;
        Ok(())
    }

    pub(crate) async fn postponed(&self, connection: &mut PgConnection, events: &[Postponed]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        // A text of PostgreSQL holds no NUL.
        let cut = |text: &str| text.chars().filter(|c| *c != '\0').take(ERROR_CHARACTERS_MAX).collect::<String>();
        sqlx::query(AssertSqlSafe(self.postponed.as_str()))
            .bind(events.iter().map(|event| event.id.clone()).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.at_seconds).collect::<Vec<_>>())
            .bind(events.iter().map(|event| cut(&event.error)).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.counts).collect::<Vec<_>>())
            .execute(connection)
            .await
            .attempted(|| format!("put off {} events", events.len()))?;
        Ok(())
    }
}
