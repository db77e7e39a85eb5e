//! Takes a batch of events, in the order of their keys.
//!
//! An event may be taken by whoever has locked its row and those of all events of its key that wait before it. So a key with
//! an event in flight, waiting for a retry or dead is not overtaken; and a relay that dies loses its locks with its
//! connection, without any claim to expire. No lock is waited for, so relays and operators cannot stop each other.

use std::sync::atomic::{AtomicBool, Ordering};

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
    /// The same, of the keys that are dealt to this relay.
    oldest_own: String,
    waits_behind: String,
    next_keys: [String; 2],
    of_keys: String,
    one_of: OneOf,
    few_keys: AtomicBool,
    /// The last key that was found in the order of keys.
    last: Mutex<Option<String>>,
}

/// Which of how many relays that share what waits.
///
/// Where keys are many each takes what lies together, which costs the server least. Where they are few it would find only what
/// waits behind what the others hold. Then keys are dealt out among them, and what a relay's own do not fill up it takes from all.
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
        let OneOf { number, relays } = one_of;
        let dealt = format!("AND (hashtextextended(o.{partition_key}::text, 0) & 2147483647) % {relays} = {number}");
        let oldest = |dealt: &str| {
            format!(
                "WITH oldest AS MATERIALIZED (SELECT ARRAY(
                 SELECT e.{id} FROM {name} AS e WHERE e.{processed_at} IS NULL ORDER BY e.{id} LIMIT $3) AS ids)
             {in_order} FROM (
                 SELECT {event} FROM {name} AS o
                 WHERE {ready} {dealt} AND o.{id} >= (SELECT ids[1] FROM oldest)
                   AND o.{id} <= (SELECT ids[cardinality(ids)] FROM oldest)
                 ORDER BY o.{id} LIMIT $2 FOR UPDATE OF o SKIP LOCKED) AS mine
             ORDER BY mine.key, mine.position"
            )
        };
        let waits_behind =
            format!("SELECT EXISTS (SELECT FROM {name} AS e WHERE e.{processed_at} IS NULL ORDER BY e.{id} OFFSET $1)");
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
        Self {
            oldest: oldest(""),
            oldest_own: oldest(&dealt),
            waits_behind,
            next_keys,
            of_keys,
            one_of,
            few_keys: AtomicBool::new(true),
            last: Mutex::default(),
        }
    }

    /// Locks events and returns those that may be taken, each key's in order. The locks last until the transaction of
    /// `connection` ends.
    ///
    /// First of what waits longest. Where little of that may be taken (others have it, or it waits itself) and there is more,
    /// more in the order of keys, each time behind those of the time before.
    pub(crate) async fn take(
        &self,
        connection: &mut PgConnection,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<Vec<Event>, Error> {
        let rows = rows_max as usize;
        let dealt = self.one_of.relays > 1 && self.few_keys.load(Ordering::Relaxed);
        let (mut taken, locked) = self.take_oldest(connection, dealt, now_seconds, rows_max).await?;
        if !dealt && locked < rows && !self.is_more_than_looked_at(connection, rows_max).await? {
            return Ok(taken.events);
        }
        if !dealt && taken.events.is_empty() && self.one_of.relays > 1 {
            (taken, _) = self.take_oldest(connection, true, now_seconds, rows_max).await?;
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
        // Fewer than nine keys among ten events.
        self.few_keys.store(10 * taken.keys.len() < 9 * taken.events.len(), Ordering::Relaxed);
        Ok(taken.events)
    }

    /// What may be taken of the oldest events, and how many were locked to find that out.
    async fn take_oldest(
        &self,
        connection: &mut PgConnection,
        dealt: bool,
        now_seconds: f64,
        rows_max: u32,
    ) -> Result<(Taken, usize), Error> {
        let statement = if dealt { &self.oldest_own } else { &self.oldest };
        let locked = sqlx::query(AssertSqlSafe(statement.as_str()))
            .bind(now_seconds)
            .bind(i64::from(rows_max))
            .bind(self.looked_at(rows_max))
            .fetch_all(&mut *connection)
            .await
            .attempted(|| "claim the oldest events".to_owned())?;
        let mut taken = Taken::default();
        taken.take(&locked)?;
        if taken.events.is_empty() && !locked.is_empty() {
            // Whoever has the events before these wants these next.
            let unlock = sqlx::raw_sql("ROLLBACK TO SAVEPOINT claim").execute(&mut *connection).await;
            unlock.attempted(|| "unlock events that may not be taken".to_owned())?;
        }
        Ok((taken, locked.len()))
    }

    /// How many of the oldest events are looked at.
    fn looked_at(&self, rows_max: u32) -> i64 {
        (f64::from(rows_max) * f64::from(self.one_of.relays) * OLDEST_ROWS).ceil() as i64
    }

    async fn is_more_than_looked_at(&self, connection: &mut PgConnection, rows_max: u32) -> Result<bool, Error> {
        sqlx::query_scalar(AssertSqlSafe(self.waits_behind.as_str()))
            .bind(self.looked_at(rows_max))
            .fetch_one(connection)
            .await
            .attempted(|| "look whether more events wait".to_owned())
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
