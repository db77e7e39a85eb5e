//! What an operator does about events: look, try again, give up.

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, Row};

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Outbox};

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The one with this event key.
    Event(String),
    /// All that used up their retries.
    Dead,
    /// All that failed and were not relayed since, dead or not.
    Failed,
}

/// An event as an operator sees it. Times are ISO 8601 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub event_key: String,
    pub topic: String,
    pub partition_key: String,
    pub sequence: String,
    /// `pending`, `retrying`, `dead` or `done`.
    pub state: String,
    pub created_at: String,
    pub processed_at: Option<String>,
    pub next_retry_at: Option<String>,
    pub retry_count: i64,
    pub max_retries: i64,
    pub last_error: Option<String>,
    /// JSON text.
    pub payload: String,
    /// Events of its key that wait before this one.
    pub waiting_before: i64,
}

impl<'r> FromRow<'r, PgRow> for Shown {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            event_key: row.try_get("event_key")?,
            topic: row.try_get("topic")?,
            partition_key: row.try_get("partition_key")?,
            sequence: row.try_get("sequence")?,
            state: row.try_get("state")?,
            created_at: row.try_get("created_at")?,
            processed_at: row.try_get("processed_at")?,
            next_retry_at: row.try_get("next_retry_at")?,
            retry_count: row.try_get("retry_count")?,
            max_retries: row.try_get("max_retries")?,
            last_error: row.try_get("last_error")?,
            payload: row.try_get("payload")?,
            waiting_before: row.try_get("waiting_before")?,
        })
    }
}

impl Outbox {
    /// The selected events, oldest first, at most `rows_max`.
    pub async fn show(&self, selection: &Selection, rows_max: u32) -> Result<Vec<Shown>, Error> {
        let Table { name, id, event_key, topic, partition_key, sequence, payload, .. } = &*self.table;
        let Table { created_at, processed_at, retry_count, next_retry_at, max_retries, last_error, .. } = &*self.table;
        let time =
            |column: &str| format!("to_char(o.{column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
        let statement = format!(
            "SELECT o.{event_key}::text AS event_key, o.{topic}::text AS topic, o.{partition_key}::text AS partition_key,
                    o.{sequence}::text AS sequence, o.{payload}::text AS payload, {created} AS created_at,
                    {processed} AS processed_at, {next} AS next_retry_at, o.{retry_count}::int8 AS retry_count,
                    ({max_retries})::int8 AS max_retries, {error}::text AS last_error,
                    CASE WHEN o.{processed_at} IS NOT NULL THEN 'done' WHEN {dead} THEN 'dead'
                         WHEN o.{retry_count} > 0 THEN 'retrying' ELSE 'pending' END AS state,
                    (SELECT count(*) FROM {name} AS e WHERE e.{partition_key} = o.{partition_key}
                        AND e.{processed_at} IS NULL AND e.{sequence} < o.{sequence}) AS waiting_before
             FROM {name} AS o WHERE {selected} ORDER BY o.{id} LIMIT $2",
            created = time(created_at),
            processed = time(processed_at),
            next = time(next_retry_at),
            error = last_error.as_deref().unwrap_or("NULL"),
            dead = self.table.dead("o"),
            selected = self.selected(selection, true),
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(event_of(selection))
            .bind(i64::from(rows_max))
            .fetch_all(&self.pool)
            .await
            .attempted(|| "show events".to_owned())
    }

    /// Gives the selected events that are not relayed all their retries again, from now, and says how many.
    pub async fn retry(&self, selection: &Selection) -> Result<u64, Error> {
        let Table { name, retry_count, next_retry_at, .. } = &*self.table;
        let statement = format!(
            "UPDATE {name} AS o SET {retry_count} = 0, {next_retry_at} = NULL WHERE {}",
            self.selected(selection, false)
        );
        self.change(&statement, selection, "").await
    }

    /// Marks the selected events as done without relaying them, with the reason, and says how many. Later events of
    /// their keys go on.
    pub async fn skip(&self, selection: &Selection, reason: &str) -> Result<u64, Error> {
        let Table { name, processed_at, .. } = &*self.table;
        let statement = format!(
            "UPDATE {name} AS o SET {processed_at} = to_timestamp($2) {error} WHERE {selected}",
            error = self.table.set_error("'skipped: ' || $3"),
            selected = self.selected(selection, false),
        );
        self.change(&statement, selection, reason).await
    }

    async fn change(&self, statement: &str, selection: &Selection, reason: &str) -> Result<u64, Error> {
        // Every statement gets the same parameters; those it does not name are given a type here.
        let statement = format!("{statement} AND $2::float8 IS NOT NULL AND $3::text IS NOT NULL");
        let changed = sqlx::query(AssertSqlSafe(statement))
            .bind(event_of(selection))
            .bind(self.now_seconds())
            .bind(reason)
            .execute(&self.pool)
            .await
            .attempted(|| "change events of the outbox".to_owned())?
            .rows_affected();
        match selection {
            Selection::Event(event) if changed == 0 => Err(Error::NoSuchEvent(format!("{event} that is not done"))),
            _ => Ok(changed),
        }
    }

    fn selected(&self, selection: &Selection, done_too: bool) -> String {
        let Table { event_key, processed_at, retry_count, .. } = &*self.table;
        let waiting = format!("o.{processed_at} IS NULL");
        match selection {
            Selection::Event(_) if done_too => format!("o.{event_key}::text = $1"),
            Selection::Event(_) => format!("{waiting} AND o.{event_key}::text = $1"),
            Selection::Dead => format!("{waiting} AND {} AND $1::text IS NULL", self.table.dead("o")),
            Selection::Failed => format!("{waiting} AND o.{retry_count} > 0 AND $1::text IS NULL"),
        }
    }
}

fn event_of(selection: &Selection) -> Option<&str> {
    match selection {
        Selection::Event(event) => Some(event),
        Selection::Dead | Selection::Failed => None,
    }
}
