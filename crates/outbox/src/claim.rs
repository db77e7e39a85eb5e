//! Takes a batch of events, in the order of their keys.
//!
//! The first event of a key that is neither relayed nor skipped is the key's mutex: only a relay that holds its row lock
//! takes events of that key. So a key with an event in flight, waiting for a retry or dead is not overtaken; and a relay
//! that dies loses its locks with its connection, without any claim to expire.

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

/// The claim's statements for one table.
#[derive(Debug)]
pub(crate) struct Claim {
    first_of_keys: String,
    rest_of_keys: String,
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
        let (passed, passed_behind) = (passed("e"), passed("o"));
        // The subquery looks at one index entry a candidate. An anti-join says the same and may be planned as a hash of
        // everything that waits.
        let first_of_keys = format!(
            "SELECT o.{partition_key}::text FROM {name} AS o
             WHERE o.{processed_at} IS NULL AND NOT ({dead})
               AND (o.{next_retry_at} IS NULL OR o.{next_retry_at} <= to_timestamp($1))
               AND o.{sequence} = (
                   SELECT e.{sequence} FROM {name} AS e
                   WHERE e.{partition_key} = o.{partition_key} AND e.{processed_at} IS NULL {passed}
                   ORDER BY e.{sequence} LIMIT 1)
             ORDER BY o.{id} LIMIT $2 FOR UPDATE OF o SKIP LOCKED"
        );
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
                 ORDER BY o.{sequence} LIMIT $3 FOR UPDATE OF o SKIP LOCKED) AS events
             ORDER BY keys.lane, events.position"
        );
        Self { first_of_keys, rest_of_keys }
    }

    /// Locks and returns events until the transaction of `connection` ends, by key, each key's in order.
    pub(crate) async fn take(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<Vec<Event>, Error> {
        let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(self.first_of_keys.as_str()))
            .bind(now_seconds)
            .bind(i64::from(rows_max))
            .fetch_all(&mut *connection)
            .await
            .attempted(|| "claim the first events of keys".to_owned())?;
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
