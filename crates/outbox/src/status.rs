use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Outbox};

/// The rate and the lag are those of events relayed this long ago at most.
const RECENT_SECONDS: f64 = 300.0;

/// How the outbox is, in events. Counts of what waits cost in proportion to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Neither relayed nor skipped; the next three are part of it.
    pub pending: u64,
    /// Failed, and to be tried again at a time to come.
    pub retrying: u64,
    /// Used up their retries.
    pub dead: u64,
    /// Behind an event of their key that is retrying or dead. Those behind a dead one are not held when it may be passed.
    pub held: u64,
    /// Age of the oldest pending event that is not dead, in seconds: how far the documents are behind the database.
    pub replication_lag_seconds: Option<f64>,
    /// Age of the oldest pending event, dead ones included, in seconds.
    pub oldest_age_seconds: Option<f64>,
    /// Relayed in the last five minutes, a second.
    pub rate_per_second: f64,
    /// Median time from an event to its document in the last five minutes, in seconds.
    pub relay_seconds_p50: Option<f64>,
    /// The 95th percentile of it.
    pub relay_seconds_p95: Option<f64>,
}

impl Outbox {
    /// Reads how the outbox is.
    pub async fn status(&self) -> Result<Status, Error> {
        let Table { name, partition_key, sequence, created_at, processed_at, retry_count, next_retry_at, .. } =
            &*self.table;
        let (dead, dead_before) = (self.table.dead("o"), self.table.dead("e"));
        let holds = match self.options.on_dead {
            crate::OnDead::Hold => dead_before.clone(),
            crate::OnDead::Pass => "false".to_owned(),
        };
        let age = format!("$1 - extract(epoch FROM min(o.{created_at}))::float8");
        let waiting = format!(
            "SELECT count(*) AS pending, count(*) FILTER (WHERE {dead}) AS dead,
                    count(*) FILTER (WHERE NOT ({dead}) AND o.{retry_count} > 0 AND o.{next_retry_at} > to_timestamp($1)) AS retrying,
                    count(*) FILTER (WHERE held.by) AS held,
                    {age} AS oldest, {age_alive} AS lag
             FROM {name} AS o CROSS JOIN LATERAL (SELECT EXISTS (
                 SELECT FROM {name} AS e WHERE e.{partition_key} = o.{partition_key} AND e.{processed_at} IS NULL
                     AND e.{sequence} < o.{sequence}
                     AND ({holds} OR (e.{retry_count} > 0 AND NOT ({dead_before}) AND e.{next_retry_at} > to_timestamp($1)))
                 ) AS by) AS held
             WHERE o.{processed_at} IS NULL",
            age_alive = age.replace(&format!("min(o.{created_at})"), &format!("min(o.{created_at}) FILTER (WHERE NOT ({dead}))")),
        );
        let waiting = sqlx::query(AssertSqlSafe(waiting))
            .bind(self.now_seconds())
            .fetch_one(&self.pool)
            .await
            .attempted(|| "count what waits".to_owned())?;
        let took = format!("greatest(extract(epoch FROM o.{processed_at} - o.{created_at})::float8, 0)");
        let recent = format!(
            "SELECT count(*) AS relayed, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY {took}) AS seconds
             FROM {name} AS o WHERE o.{processed_at} > to_timestamp($1 - $2)"
        );
        let recent = sqlx::query(AssertSqlSafe(recent))
            .bind(self.now_seconds())
            .bind(RECENT_SECONDS)
            .fetch_one(&self.pool)
            .await
            .attempted(|| "measure what was relayed".to_owned())?;
        let read = || -> Result<Status, sqlx::Error> {
            let count = |name: &str| waiting.try_get::<i64, _>(name).map(|count| u64::try_from(count).unwrap_or(0));
            // Our clock may be a little behind the server's.
            let age = |name: &str| waiting.try_get::<Option<f64>, _>(name).map(|age| age.map(|age| age.max(0.0)));
            let seconds: Option<Vec<f64>> = recent.try_get("seconds")?;
            let [p50, p95] = [0, 1].map(|index| seconds.as_ref().and_then(|both| both.get(index).copied()));
            Ok(Status {
                pending: count("pending")?,
                retrying: count("retrying")?,
                dead: count("dead")?,
                held: count("held")?,
                replication_lag_seconds: age("lag")?,
                oldest_age_seconds: age("oldest")?,
                rate_per_second: recent.try_get::<i64, _>("relayed")? as f64 / RECENT_SECONDS,
                relay_seconds_p50: p50,
                relay_seconds_p95: p95,
            })
        };
        read().attempted(|| "read the status".to_owned())
    }
}
