//! Takes a batch of events, in the order of their keys.
//!
//! The first event of a key that is neither relayed nor skipped is the key's mutex: only a relay that holds its row lock
//! takes events of that key. So a key with an event in flight, waiting for a retry or dead is not overtaken; and a relay
//! that dies loses its locks with its connection, without any claim to expire.

use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, OnDead};

/// A claimed event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Which of the claimed keys it belongs to, from 0.
    pub(crate) lane: usize,
    pub(crate) id: String,
    pub(crate) event_key: String,
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) retry_count: u32,
    pub(crate) max_retries: u32,
    pub(crate) age_seconds: f64,
}

/// Rows that are looked at for the oldest keys, for each row that is wanted. Few keys may have all that waits, and then most
/// of these rows are not the first of theirs.
const OLDEST_ROWS: i64 = 4;

/// The claim's statements for one table, and where it goes on.
#[derive(Debug)]
pub(crate) struct Claim {
    oldest_keys: String,
    next_keys: [String; 2],
    rest_of_keys: String,
    /// The last key that was found in the order of keys.
    last: Mutex<Option<String>>,
}

impl Claim {
    pub(crate) fn new(table: &Table, on_dead: OnDead) -> Self {
        let Table { name, id, event_key, topic, partition_key, sequence, payload, .. } = table;
        let Table { created_at, processed_at, retry_count, next_retry_at, max_retries, partition_key_type, .. } = table;
        let dead = table.dead("o");
        // A dead event that may be passed does not count as the first of its key.
        let passed = |alias: &str| match on_dead {
            OnDead::Hold => String::new(),
            OnDead::Pass => format!("AND NOT ({})", table.dead(alias)),
        };
        // One index entry a key. What is true of the row is asked again where it is locked, because it may have changed.
        let lock_first = format!(
            "CROSS JOIN LATERAL (
                 SELECT e.{id} AS id FROM {name} AS e
                 WHERE e.{partition_key} = keys.key AND e.{processed_at} IS NULL {passed}
                 ORDER BY e.{sequence} LIMIT 1) AS first
             JOIN {name} AS o ON o.{id} = first.id
             WHERE o.{processed_at} IS NULL AND NOT ({dead})
               AND (o.{next_retry_at} IS NULL OR o.{next_retry_at} <= to_timestamp($1))",
            passed = passed("e"),
        );
        let oldest_keys = format!(
            "SELECT o.{partition_key}::text FROM (
                 SELECT waiting.key FROM (
                     SELECT e.{partition_key} AS key, row_number() OVER (ORDER BY e.{id}) AS place FROM {name} AS e
                     WHERE e.{processed_at} IS NULL ORDER BY e.{id} LIMIT $3) AS waiting
                 GROUP BY waiting.key ORDER BY min(waiting.place)) AS keys
             {lock_first} LIMIT $2 FOR UPDATE OF o SKIP LOCKED"
        );
        // From key to key through the index, so that a key costs the same whatever waits in it.
        let next = |behind: &str| {
            format!(
                "SELECT e.{partition_key} AS key FROM {name} AS e WHERE e.{processed_at} IS NULL AND {behind}
                 ORDER BY e.{partition_key} LIMIT 1"
            )
        };
        let next_keys = |first: &str| {
            format!(
                "WITH RECURSIVE keys AS (
                     ({first})
                     UNION ALL
                     SELECT next.key FROM keys CROSS JOIN LATERAL ({behind}) AS next)
                 SELECT o.{partition_key}::text FROM keys {lock_first} AND NOT (o.{partition_key}::text = ANY ($3))
                 LIMIT $2 FOR UPDATE OF o SKIP LOCKED",
                first = next(first),
                behind = next(&format!("e.{partition_key} > keys.key")),
            )
        };
        let next_keys =
            [next_keys(&format!("e.{partition_key} > $4::text::{partition_key_type}")), next_keys("$4::text IS NULL")];
        // Nobody else takes these while we have the first of their key, so they need no lock; to skip one that somebody has
        // locked, such as an operator, would be to overtake it.
        let rest_of_keys = format!(
            "SELECT (keys.lane - 1)::int8 AS lane, events.* FROM unnest($1::text[]::{partition_key_type}[])
                 WITH ORDINALITY AS keys (key, lane)
             CROSS JOIN LATERAL (
                 SELECT o.{id}::text AS id, o.{event_key}::text AS event_key, o.{topic}::text AS topic,
                        o.{payload}::text AS payload, o.{retry_count}::int8 AS retry_count,
                        ({max_retries})::int8 AS max_retries, ({dead}) AS dead,
                        (o.{next_retry_at} IS NULL OR o.{next_retry_at} <= to_timestamp($2)) AS due,
                        greatest($2 - extract(epoch FROM o.{created_at})::float8, 0) AS age_seconds,
                        o.{sequence} AS position
                 FROM {name} AS o
                 WHERE o.{partition_key} = keys.key AND o.{processed_at} IS NULL {passed_behind}
                 ORDER BY o.{sequence} LIMIT $3) AS events
             ORDER BY keys.lane, events.position",
            passed_behind = passed("o"),
        );
        Self { oldest_keys, next_keys, rest_of_keys, last: Mutex::default() }
    }

    /// Locks the first events of keys and returns theirs and those behind them, by key, each key's in order. The locks last
    /// until the transaction of `connection` ends.
    pub(crate) async fn take(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<Vec<Event>, Error> {
        let keys = self.keys(connection, now_seconds, rows_max).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows_per_key = (rows_max as usize / keys.len()).max(1);
        let rows = sqlx::query(AssertSqlSafe(self.rest_of_keys.as_str()))
            .bind(&keys)
            .bind(now_seconds)
            .bind(i64::try_from(rows_per_key).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await
            .attempted(|| format!("claim the events of {} keys", keys.len()))?;
        let mut events = Vec::with_capacity(rows.len());
        let mut closed = None;
        for row in rows {
            let (event, ready) = read(&row).attempted(|| "read a claimed event".to_owned())?;
            // What stands behind an event that must wait stays where it is.
            if closed == Some(event.lane) {
                continue;
            }
            if ready {
                events.push(event);
            } else {
                closed = Some(event.lane);
            }
        }
        Ok(events)
    }

    /// Keys whose first events can be had now: those of what waits longest, and where these are few (others have them, or
    /// they wait themselves) more in the order of keys, each time behind those of the time before.
    async fn keys(&self, connection: &mut PgConnection, now_seconds: f64, rows_max: u32) -> Result<Vec<String>, Error> {
        let rows = i64::from(rows_max);
        let mut keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(self.oldest_keys.as_str()))
            .bind(now_seconds)
            .bind(rows)
            .bind(rows.saturating_mul(OLDEST_ROWS))
            .fetch_all(&mut *connection)
            .await
            .attempted(|| "claim the first events of the oldest keys".to_owned())?;
        let [behind, from_beginning] = &self.next_keys;
        let last = self.last.lock().take();
        let turns = last.map(|last| (behind, Some(last))).into_iter().chain([(from_beginning, None)]);
        for (statement, last) in turns {
            let found = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            if 2 * found >= rows {
                break;
            }
            let more: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
                .bind(now_seconds)
                .bind(rows - found)
                .bind(&keys)
                .bind(last)
                .fetch_all(&mut *connection)
                .await
                .attempted(|| "claim the first events of more keys".to_owned())?;
            *self.last.lock() = more.last().cloned();
            keys.extend(more);
        }
        Ok(keys)
    }
}

fn read(row: &sqlx::postgres::PgRow) -> Result<(Event, bool), sqlx::Error> {
    let count = |name: &str| row.try_get::<i64, _>(name).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let event = Event {
        lane: usize::try_from(row.try_get::<i64, _>("lane")?).unwrap_or(usize::MAX),
        id: row.try_get("id")?,
        event_key: row.try_get("event_key")?,
        topic: row.try_get("topic")?,
        payload: row.try_get("payload")?,
        retry_count: count("retry_count")?,
        max_retries: count("max_retries")?,
        age_seconds: row.try_get("age_seconds")?,
    };
    Ok((event, row.try_get::<bool, _>("due")? && !row.try_get::<bool, _>("dead")?))
}
