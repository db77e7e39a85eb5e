//! Takes a batch of events, in the order of their keys.
//!
//! The first event of a key that is neither relayed nor skipped is the key's mutex: only a relay that holds its row lock
//! takes events of that key. So a key with an event in flight, waiting for a retry or dead is not overtaken; and a relay
//! that dies loses its locks with its connection, without any claim to expire.

use parking_lot::Mutex;
use sqlx::postgres::PgRow;
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

/// Rows that are looked at for the oldest keys, for each row that all relays of the process want.
const OLDEST_ROWS: f64 = 1.5;

/// The claim's statements for one table, and where it goes on.
#[derive(Debug)]
pub(crate) struct Claim {
    oldest_keys: String,
    next_keys: [String; 2],
    rest_of_keys: String,
    one_of: OneOf,
    /// The last key that was found in the order of keys.
    last: Mutex<Option<String>>,
}

/// Which of how many relays that share what waits: keys are dealt out among them, so that each need not find out what the
/// others hold, and none of few keys is left without. What a relay's own keys do not fill up it takes from all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneOf {
    pub(crate) number: u32,
    pub(crate) relays: u32,
}

/// A key that is ours until the transaction ends.
struct Key {
    name: String,
    /// The sequence of its first event.
    position: String,
    first: Event,
}

impl Claim {
    pub(crate) fn new(table: &Table, on_dead: OnDead, one_of: OneOf) -> Self {
        let Table { name, id, event_key, topic, partition_key, sequence, payload, .. } = table;
        let Table { created_at, processed_at, retry_count, next_retry_at, max_retries, .. } = table;
        let Table { partition_key_type, sequence_type, .. } = table;
        let dead = table.dead("o");
        // A dead event that may be passed does not count as the first of its key.
        let passed = |alias: &str| match on_dead {
            OnDead::Hold => String::new(),
            OnDead::Pass => format!("AND NOT ({})", table.dead(alias)),
        };
        let event = format!(
            "o.{id}::text AS id, o.{event_key}::text AS event_key, o.{topic}::text AS topic, o.{payload}::text AS payload,
             o.{retry_count}::int8 AS retry_count, ({max_retries})::int8 AS max_retries,
             greatest($1 - date_part('epoch', o.{created_at}), 0) AS age_seconds"
        );
        let ready = format!(
            "o.{processed_at} IS NULL AND NOT ({dead})
             AND (o.{next_retry_at} IS NULL OR o.{next_retry_at} <= to_timestamp($1))"
        );
        let dealt = match one_of {
            OneOf { relays: 1, .. } => String::new(),
            OneOf { number, relays } => {
                format!("AND (hashtextextended(o.{partition_key}::text, 0) & 2147483647) % {relays} = {number}")
            }
        };
        // The nearest before it is looked for, because between a key's beginning and its first event lie the entries of all
        // that was relayed since the index was last cleaned.
        let oldest_keys = format!(
            "SELECT o.{partition_key}::text AS key, o.{sequence}::text AS position, {event} FROM {name} AS o
             WHERE {ready} {dealt}
               AND o.{id} <= (
                   SELECT waiting.id FROM (
                       SELECT e.{id} AS id FROM {name} AS e WHERE e.{processed_at} IS NULL ORDER BY e.{id} LIMIT $3
                   ) AS waiting ORDER BY waiting.id DESC LIMIT 1)
               AND (SELECT true FROM {name} AS e
                    WHERE e.{partition_key} = o.{partition_key} AND e.{sequence} < o.{sequence} AND e.{processed_at} IS NULL
                          {passed}
                    ORDER BY e.{partition_key} DESC, e.{sequence} DESC LIMIT 1) IS NULL
             ORDER BY o.{id} LIMIT $2 FOR UPDATE OF o SKIP LOCKED",
            passed = passed("e"),
        );
        // One index entry a key. What is true of the row is asked again where it is locked, because it may have changed.
        let lock_first = format!(
            "CROSS JOIN LATERAL (
                 SELECT e.{id} AS id FROM {name} AS e
                 WHERE e.{partition_key} = keys.key AND e.{processed_at} IS NULL {passed}
                 ORDER BY e.{sequence} LIMIT 1) AS first
             JOIN {name} AS o ON o.{id} = first.id
             WHERE {ready}",
            passed = passed("e"),
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
                 SELECT o.{partition_key}::text AS key, o.{sequence}::text AS position, {event}
                 FROM keys {lock_first} AND NOT (o.{partition_key}::text = ANY ($3))
                 LIMIT $2 FOR UPDATE OF o SKIP LOCKED",
                first = next(first),
                behind = next(&format!("e.{partition_key} > keys.key")),
            )
        };
        let next_keys =
            [next_keys(&format!("e.{partition_key} > $4::text::{partition_key_type}")), next_keys("$4::text IS NULL")];
        // Nobody else takes these while we have the first of their key, so they need no lock; to skip one that somebody has
        // locked, such as an operator, would be to overtake it. Before the first there is nothing but entries of what was
        // relayed.
        let rest_of_keys = format!(
            "SELECT (keys.lane - 1)::int8 AS lane, events.*
             FROM unnest($2::text[]::{partition_key_type}[], $3::text[]::{sequence_type}[])
                 WITH ORDINALITY AS keys (key, first, lane)
             CROSS JOIN LATERAL (
                 SELECT {event}, ({ready}) AS ready, o.{sequence} AS position FROM {name} AS o
                 WHERE o.{partition_key} = keys.key AND o.{sequence} >= keys.first AND o.{processed_at} IS NULL
                       {passed_behind}
                 ORDER BY o.{sequence} LIMIT $4) AS events
             ORDER BY keys.lane, events.position",
            passed_behind = passed("o"),
        );
        Self { oldest_keys, next_keys, rest_of_keys, one_of, last: Mutex::default() }
    }

    /// Locks the first events of keys and returns theirs and those behind them, by key, each key's in order. The locks last
    /// until the transaction of `connection` ends.
    ///
    /// First the keys of what waits longest, and where these have little (others have them, or they wait themselves) more in
    /// the order of keys, each time behind those of the time before.
    pub(crate) async fn take(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows = rows_max as usize;
        let keys = self.oldest(connection, now_seconds, rows_max).await?;
        let mut names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
        let mut events = self.events(connection, now_seconds, keys, rows, 0).await?;
        let [behind, from_beginning] = &self.next_keys;
        let last = self.last.lock().clone();
        let turns = last.map(|last| (behind, Some(last))).into_iter().chain([(from_beginning, None)]);
        for (statement, last) in turns {
            if 2 * events.len() >= rows {
                break;
            }
            let more = sqlx::query(AssertSqlSafe(statement.as_str()))
                .bind(now_seconds)
                .bind(count(rows - events.len()))
                .bind(&names)
                .bind(last)
                .fetch_all(&mut *connection)
                .await
                .attempted(|| "claim the first events of more keys".to_owned())?;
            let more = locked(&more)?;
            *self.last.lock() = more.last().map(|key| key.name.clone());
            let lanes = names.len();
            names.extend(more.iter().map(|key| key.name.clone()));
            let left = rows - events.len();
            events.extend(self.events(connection, now_seconds, more, left, lanes).await?);
        }
        Ok(events)
    }

    async fn oldest(&self, connection: &mut PgConnection, now_seconds: f64, rows_max: u32) -> Result<Vec<Key>, Error> {
        let looked_at = f64::from(rows_max) * f64::from(self.one_of.relays) * OLDEST_ROWS;
        let oldest = sqlx::query(AssertSqlSafe(self.oldest_keys.as_str()))
            .bind(now_seconds)
            .bind(i64::from(rows_max))
            .bind(looked_at.ceil() as i64)
            .fetch_all(&mut *connection)
            .await
            .attempted(|| "claim the first events of the oldest keys".to_owned())?;
        locked(&oldest)
    }

    /// The events of `keys`, as many of each, in lanes from `lane` on.
    async fn events(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        keys: Vec<Key>,
        rows_max: usize,
        lane: usize,
    ) -> Result<Vec<Event>, Error> {
        if 2 * keys.len() > rows_max || keys.is_empty() {
            let firsts = keys.into_iter().zip(lane..);
            return Ok(firsts.map(|(key, lane)| Event { lane, ..key.first }).collect());
        }
        let rows = sqlx::query(AssertSqlSafe(self.rest_of_keys.as_str()))
            .bind(now_seconds)
            .bind(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|key| key.position.as_str()).collect::<Vec<_>>())
            .bind(count(rows_max / keys.len()))
            .fetch_all(&mut *connection)
            .await
            .attempted(|| format!("claim the events of {} keys", keys.len()))?;
        let mut events = Vec::with_capacity(rows.len());
        let mut closed = None;
        for row in rows {
            let (event, ready) = behind(&row, lane).attempted(|| "read a claimed event".to_owned())?;
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

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn locked(rows: &[PgRow]) -> Result<Vec<Key>, Error> {
    let key = |row: &PgRow| {
        let (name, position) = (row.try_get("key")?, row.try_get("position")?);
        Ok::<_, sqlx::Error>(Key { name, position, first: event(row, 0)? })
    };
    rows.iter().map(key).collect::<Result<_, _>>().attempted(|| "read the first event of a key".to_owned())
}

/// An event of a key that is ours, and whether it can be had now.
fn behind(row: &PgRow, lane: usize) -> Result<(Event, bool), sqlx::Error> {
    let lane = lane.saturating_add(usize::try_from(row.try_get::<i64, _>("lane")?).unwrap_or(usize::MAX));
    Ok((event(row, lane)?, row.try_get("ready")?))
}

fn event(row: &PgRow, lane: usize) -> Result<Event, sqlx::Error> {
    let count = |name: &str| row.try_get::<i64, _>(name).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(Event {
        lane,
        id: row.try_get("id")?,
        event_key: row.try_get("event_key")?,
        topic: row.try_get("topic")?,
        payload: row.try_get("payload")?,
        retry_count: count("retry_count")?,
        max_retries: count("max_retries")?,
        age_seconds: row.try_get("age_seconds")?,
    })
}
