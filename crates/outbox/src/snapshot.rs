//! Loads what existed before the outbox did.
//!
//! An event's key names a row and its version. A row read by the page scan gets the event of the version that the scan
//! saw, unless that event is there. A change that commits meanwhile writes its own event, of a higher version, with
//! itself. So every version that is current at any time has its event exactly once, and no table is locked.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;

use crate::error::Attempted;
use crate::source::Source;
use crate::table::Table;
use crate::{Error, Outbox};

/// What a snapshot did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Canonical rows read.
    pub rows: u64,
    /// Events inserted; what had its event already is not among them.
    pub events: u64,
    /// Whether all sources were read to their end.
    pub finished: bool,
}

impl Outbox {
    /// Inserts an event for the current version of every canonical row that has none, page by page, and remembers how
    /// far it came: called again, it goes on, and after its end does nothing. `again` begins from the first row.
    ///
    /// Needs text columns for event key, topic and partition key, and defaults for those it does not name.
    ///
    /// Waits while more than `snapshot_pending_max` events wait to be relayed. `progress` hears of each page.
    pub async fn snapshot(
        &self,
        again: bool,
        stop: &CancellationToken,
        mut progress: impl FnMut(&str, Loaded),
    ) -> Result<Loaded, Error> {
        if again {
            sqlx::query("DELETE FROM outbox_snapshots")
                .execute(&self.pool)
                .await
                .attempted(|| "forget earlier snapshots".to_owned())?;
        }
        let mut loaded = Loaded::default();
        for options in &self.options.sources {
            let source = Source::new(options)?;
            loop {
                self.wait_for_room(stop).await?;
                if stop.is_cancelled() {
                    return Ok(loaded);
                }
                let page = self.load_page(&source).await?;
                loaded.rows += page.rows;
                loaded.events += page.events;
                progress(&options.table, loaded);
                if page.finished {
                    break;
                }
            }
        }
        loaded.finished = true;
        Ok(loaded)
    }

    async fn load_page(&self, source: &Source) -> Result<Loaded, Error> {
        let attempt = || format!("load a page of {}", source.table);
        let mut page = self.begin().await.attempted(attempt)?;
        sqlx::query("INSERT INTO outbox_snapshots (source) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(&source.table)
            .execute(&mut *page)
            .await
            .attempted(attempt)?;
        // The row lock makes a second snapshot of the same source take turns with this one.
        let (behind, finished): (Option<Json<Value>>, bool) = sqlx::query_as(
            "SELECT last_row, finished_at IS NOT NULL FROM outbox_snapshots WHERE source = $1 FOR UPDATE",
        )
        .bind(&source.table)
        .fetch_one(&mut *page)
        .await
        .attempted(attempt)?;
        if finished {
            return Ok(Loaded { finished, ..Loaded::default() });
        }
        let Table { name, event_key, topic, partition_key, sequence, payload, .. } = &*self.table;
        let statement = format!(
            "WITH rows AS MATERIALIZED ({rows}),
             inserted AS (
                 INSERT INTO {name} ({event_key}, {topic}, {partition_key}, {sequence}, {payload})
                 SELECT event.topic || ':' || event.key || ':' || event.version, event.topic,
                        event.topic || ':' || event.key, event.version, event.payload
                 FROM rows CROSS JOIN LATERAL {events}(rows.canon) AS event
                 ON CONFLICT DO NOTHING RETURNING 1)
             SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM inserted),
                    (SELECT {last} FROM rows ORDER BY {descending} LIMIT 1)",
            rows = source.page(behind.is_none()),
            events = source.events,
            last = source.key_of("(rows.canon)"),
            descending = source.columns("(rows.canon)").replace(", ", " DESC, ") + " DESC",
        );
        let (rows, events, last): (i64, i64, Option<Json<Value>>) = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&behind)
            .bind(i64::from(self.options.page_rows))
            .fetch_one(&mut *page)
            .await
            .attempted(attempt)?;
        let finished = rows < i64::from(self.options.page_rows);
        sqlx::query(
            "UPDATE outbox_snapshots SET last_row = coalesce($2, last_row), rows_read = rows_read + $3,
                 finished_at = CASE WHEN $4 THEN to_timestamp($5) END WHERE source = $1",
        )
        .bind(&source.table)
        .bind(&last)
        .bind(rows)
        .bind(finished)
        .bind(self.now_seconds())
        .execute(&mut *page)
        .await
        .attempted(attempt)?;
        page.commit().await.attempted(attempt)?;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok(Loaded { rows: count(rows), events: count(events), finished })
    }

    async fn wait_for_room(&self, stop: &CancellationToken) -> Result<(), Error> {
        let Table { name, processed_at, .. } = &*self.table;
        let max = i64::from(self.options.snapshot_pending_max);
        let statement =
            format!("SELECT count(*) FROM (SELECT FROM {name} WHERE {processed_at} IS NULL LIMIT $1) AS waiting");
        while !stop.is_cancelled() {
            let waiting: i64 = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
                .bind(max + 1)
                .fetch_one(&self.pool)
                .await
                .attempted(|| "count the events that wait".to_owned())?;
            if waiting <= max {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(self.options.poll) => {}
            }
        }
        Ok(())
    }
}
