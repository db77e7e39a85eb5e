//! Takes a batch of events, in the order of their keys.
//!
//! An event may be taken by whoever has locked its row and those of all events of its key that wait before it. So a key with
//! an event in flight, waiting for a retry or dead is not overtaken; and a relay that dies loses its locks with its
//! connection, without any claim to expire. No lock is waited for, so relays and operators cannot stop each other.

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

/// Rows that are looked at for the oldest events, for each row that all relays of the process want.
const OLDEST_ROWS: f64 = 1.5;

/// The claim's statements for one table, and where it goes on.
#[derive(Debug)]
pub(crate) struct Claim {
    oldest: String,
    next_keys: [String; 2],
    of_keys: String,
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

impl Claim {
    pub(crate) fn new(table: &Table, on_dead: OnDead, one_of: OneOf) -> Self {
        let Table { name, id, event_key, topic, partition_key, sequence, payload, .. } = table;
        let Table { created_at, processed_at, retry_count, next_retry_at, max_retries, partition_key_type, .. } = table;
        let dead = table.dead("o");
        // A dead event that may be passed holds up nothing.
        let passed = |alias: &str| match on_dead {
            OnDead::Hold => String::new(),
            OnDead::Pass => format!("AND NOT ({})", table.dead(alias)),
        };
        let event = format!(
            "o.{partition_key} AS key, o.{sequence} AS position, o.{id}::text AS id, o.{event_key}::text AS event_key,
             o.{topic}::text AS topic, o.{payload}::text AS payload, o.{retry_count}::int8 AS retry_count,
             ({max_retries})::int8 AS max_retries, greatest($1 - date_part('epoch', o.{created_at}), 0) AS age_seconds"
        );
        let ready = format!(
            "o.{processed_at} IS NULL AND NOT ({dead})
             AND (o.{next_retry_at} IS NULL OR o.{next_retry_at} <= to_timestamp($1))"
        );
        // What waits before an event is as old as the statement, its lock is newer: in between events cease to wait, and none
        // begins to. The nearest is looked for, because before the first there is nothing but the entries of all that was
        // relayed since the index was last cleaned.
        let in_order = format!(
            "SELECT mine.key::text, mine.position::text, id, event_key, topic, payload, retry_count, max_retries, age_seconds,
                 (SELECT e.{sequence}::text FROM {name} AS e
                  WHERE e.{partition_key} = mine.key AND e.{sequence} < mine.position AND e.{processed_at} IS NULL {passed}
                  ORDER BY e.{partition_key} DESC, e.{sequence} DESC LIMIT 1) AS before",
            passed = passed("e"),
        );
        let dealt = match one_of {
            OneOf { relays: 1, .. } => String::new(),
            OneOf { number, relays } => {
                format!("AND (hashtextextended(o.{partition_key}::text, 0) & 2147483647) % {relays} = {number}")
            }
        };
        let oldest = format!(
            "WITH oldest AS MATERIALIZED (SELECT ARRAY(
                 SELECT e.{id} FROM {name} AS e WHERE e.{processed_at} IS NULL ORDER BY e.{id} LIMIT $3) AS ids)
             {in_order} FROM (
                 SELECT {event} FROM {name} AS o
                 WHERE {ready} {dealt} AND o.{id} >= (SELECT ids[1] FROM oldest)
                   AND o.{id} <= (SELECT ids[cardinality(ids)] FROM oldest)
                 ORDER BY o.{id} LIMIT $2 FOR UPDATE OF o SKIP LOCKED) AS mine
             ORDER BY mine.key, mine.position"
        );
        // From key to key through the index, so that a key costs the same whatever waits in it.
        let next = |behind: &str| {
            format!(
                "SELECT e.{partition_key} AS key FROM {name} AS e WHERE e.{processed_at} IS NULL AND {behind}
                 ORDER BY e.{partition_key} LIMIT 1"
            )
        };
        // One index entry a key. What is true of the row is asked again where it is locked, because it may have changed.
        let next_keys = |first: &str| {
            format!(
                "WITH RECURSIVE keys AS (
                     ({first})
                     UNION ALL
                     SELECT next.key FROM keys CROSS JOIN LATERAL ({behind}) AS next)
                 SELECT keys.key::text FROM keys
                 CROSS JOIN LATERAL (
                     SELECT e.{id} AS id FROM {name} AS e
                     WHERE e.{partition_key} = keys.key AND e.{processed_at} IS NULL {passed}
                     ORDER BY e.{sequence} LIMIT 1) AS first
                 JOIN {name} AS o ON o.{id} = first.id
                 WHERE {ready} AND NOT (keys.key::text = ANY ($3))
                 LIMIT $2 FOR UPDATE OF o SKIP LOCKED",
                first = next(first),
                behind = next(&format!("e.{partition_key} > keys.key")),
                passed = passed("e"),
            )
        };
        let next_keys =
            [next_keys(&format!("e.{partition_key} > $4::text::{partition_key_type}")), next_keys("$4::text IS NULL")];
        let of_keys = format!(
            "{in_order} FROM unnest($2::text[]::{partition_key_type}[]) AS keys (name)
             CROSS JOIN LATERAL (
                 SELECT {event} FROM {name} AS o WHERE o.{partition_key} = keys.name AND {ready}
                 ORDER BY o.{sequence} LIMIT $3 FOR UPDATE OF o SKIP LOCKED) AS mine
             ORDER BY mine.key, mine.position"
        );
        Self { oldest, next_keys, of_keys, one_of, last: Mutex::default() }
    }

    /// Locks events and returns those that may be taken, each key's in order. The locks last until the transaction of
    /// `connection` ends.
    ///
    /// First of what waits longest, and where little of that may be taken (others have it, or it waits itself) more in the
    /// order of keys, each time behind those of the time before.
    pub(crate) async fn take(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows = rows_max as usize;
        let looked_at = f64::from(rows_max) * f64::from(self.one_of.relays) * OLDEST_ROWS;
        let oldest = sqlx::query(AssertSqlSafe(self.oldest.as_str()))
            .bind(now_seconds)
            .bind(i64::from(rows_max))
            .bind(looked_at.ceil() as i64)
            .fetch_all(&mut *connection)
            .await
            .attempted(|| "claim the oldest events".to_owned())?;
        let mut taken = Taken::default();
        taken.take(&oldest)?;
        if taken.events.is_empty() && !oldest.is_empty() {
            // Whoever has the events before these wants these next.
            let unlock = sqlx::raw_sql("ROLLBACK TO SAVEPOINT claim").execute(&mut *connection).await;
            unlock.attempted(|| "unlock events that may not be taken".to_owned())?;
        }
        let [behind, from_beginning] = &self.next_keys;
        let last = self.last.lock().clone();
        let turns = last.map(|last| (behind, Some(last))).into_iter().chain([(from_beginning, None)]);
        for (statement, last) in turns {
            let left = rows.saturating_sub(taken.events.len());
            if 2 * left <= rows {
                break;
            }
            let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
                .bind(now_seconds)
                .bind(count(left))
                .bind(&taken.keys)
                .bind(last)
                .fetch_all(&mut *connection)
                .await
                .attempted(|| "claim more keys".to_owned())?;
            *self.last.lock() = keys.last().cloned();
            if keys.is_empty() {
                continue;
            }
            let of_keys = sqlx::query(AssertSqlSafe(self.of_keys.as_str()))
                .bind(now_seconds)
                .bind(&keys)
                .bind(count(left / keys.len()))
                .fetch_all(&mut *connection)
                .await
                .attempted(|| format!("claim the events of {} keys", keys.len()))?;
            taken.take(&of_keys)?;
        }
        Ok(taken.events)
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// What may be taken of what was locked.
#[derive(Default)]
struct Taken {
    events: Vec<Event>,
    /// Their keys, by lane.
    keys: Vec<String>,
}

impl Taken {
    /// Takes those of `rows` that have nothing before them but what is taken. Rows stand in the order of keys and sequences.
    fn take(&mut self, rows: &[PgRow]) -> Result<(), Error> {
        let mut last: Option<String> = None;
        for row in rows {
            self.take_row(row, &mut last).attempted(|| "read a claimed event".to_owned())?;
        }
        Ok(())
    }

    /// `last`: the sequence of what was taken last.
    fn take_row(&mut self, row: &PgRow, last: &mut Option<String>) -> Result<(), sqlx::Error> {
        let (key, before): (&str, Option<&str>) = (row.try_get(0)?, row.try_get(9)?);
        match before {
            None => self.keys.push(key.to_owned()),
            Some(before) => {
                let follows = last.as_deref() == Some(before) && self.keys.last().is_some_and(|last| last == key);
                if !follows {
                    return Ok(());
                }
            }
        }
        *last = Some(row.try_get(1)?);
        let count = |column: usize| row.try_get::<i64, _>(column).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        self.events.push(Event {
            lane: self.keys.len() - 1,
            id: row.try_get(2)?,
            event_key: row.try_get(3)?,
            topic: row.try_get(4)?,
            payload: row.try_get(5)?,
            retry_count: count(6)?,
            max_retries: count(7)?,
            age_seconds: row.try_get(8)?,
        });
        Ok(())
    }
}
