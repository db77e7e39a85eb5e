//! Compares the source documents with the canonical tables, and repairs by re-emitting events.
//!
//! A repair touches the canonical row: its version rises, the triggers write an event like any other, and the relay brings
//! it in by the same rules, in the order of its key. Nothing else ever writes a document.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_store_api::{Database, ReadLevel};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, Row};
use tokio_util::sync::CancellationToken;

use crate::error::Attempted;
use crate::source::Source;
use crate::table::Table;
use crate::{Error, Outbox, decide, document};

/// Looks at every canonical row and the documents it should have.
pub struct Audit {
    outbox: Outbox,
    database: Arc<dyn Database>,
}

/// A document that is not as its canonical row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub table: String,
    /// `topic:id` of the document's events.
    pub key: String,
    pub kind: FindingKind,
    /// Whether the row was touched, so that the relay will put the document right.
    pub repaired: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    Missing,
    /// An older version, and no event of the row waits.
    Behind {
        stored: Option<i64>,
    },
    /// A newer version than the canonical row has: the database was restored from a backup, or somebody else writes.
    Ahead {
        stored: i64,
    },
    /// The same version with other content.
    Differs,
    /// No document can be made of the row.
    Unfit(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Canonical rows looked at.
    pub rows: u64,
    /// Documents compared.
    pub documents: u64,
    /// Not compared, because events of their key wait in the outbox.
    pub in_flight: u64,
    pub findings: Vec<Finding>,
}

struct Expected {
    row_key: Json<Value>,
    topic: String,
    key: String,
    payload: String,
    in_flight: bool,
}

impl<'r> FromRow<'r, PgRow> for Expected {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            row_key: row.try_get("row_key")?,
            topic: row.try_get("topic")?,
            key: row.try_get("key")?,
            payload: row.try_get("payload")?,
            in_flight: row.try_get("in_flight")?,
        })
    }
}

impl Audit {
    pub fn new(outbox: Outbox, database: Arc<dyn Database>) -> Self {
        Self { outbox, database }
    }

    /// Compares everything, or until `stop`. With `repair` the rows of findings are touched, one transaction each.
    /// `progress` hears of each page.
    pub async fn run(
        &self,
        repair: bool,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Verified),
    ) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        for options in &self.outbox.options.sources {
            let source = Source::new(options)?;
            let mut behind = None;
            while !stop.is_cancelled() {
                let page = self.page(&source, &behind).await?;
                for expected in &page {
                    let Some(kind) = self.compare(expected, &mut verified).await? else { continue };
                    let repaired = repair && self.repair(&source, expected, &kind).await?;
                    let key = format!("{}:{}", expected.topic, expected.key);
                    verified.findings.push(Finding { table: options.table.clone(), key, kind, repaired });
                }
                let mut keys: Vec<&Value> = page.iter().map(|expected| &expected.row_key.0).collect();
                keys.dedup();
                verified.rows += keys.len() as u64;
                progress(&verified);
                match keys.last() {
                    Some(last) => behind = Some(Json((*last).clone())),
                    None => break,
                }
            }
        }
        Ok(verified)
    }

    async fn page(&self, source: &Source, behind: &Option<Json<Value>>) -> Result<Vec<Expected>, Error> {
        let Table { name, partition_key, processed_at, .. } = &*self.outbox.table;
        let statement = format!(
            "WITH rows AS MATERIALIZED ({rows})
             SELECT {key} AS row_key, event.topic, event.key, event.payload::text AS payload,
                    EXISTS (SELECT FROM {name} AS o WHERE o.{partition_key}::text = event.topic || ':' || event.key
                            AND o.{processed_at} IS NULL) AS in_flight
             FROM rows CROSS JOIN LATERAL {events}(rows.canon) AS event ORDER BY {columns}",
            rows = source.page(behind.is_none()),
            key = source.key_of("(rows.canon)"),
            events = source.events,
            columns = source.columns("(rows.canon)"),
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(behind)
            .bind(i64::from(self.outbox.options.page_rows))
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(|| format!("read a page of {}", source.table))
    }

    /// `None` when the document is right, or its events are still on their way.
    async fn compare(&self, expected: &Expected, verified: &mut Verified) -> Result<Option<FindingKind>, Error> {
        if expected.in_flight {
            verified.in_flight += 1;
            return Ok(None);
        }
        verified.documents += 1;
        let Some(route) = self.outbox.options.routes.get(&expected.topic) else {
            return Ok(Some(FindingKind::Unfit(format!("no route for topic {}", expected.topic))));
        };
        let made = match document::prepare(route, &expected.payload, 1) {
            Ok(made) => made,
            Err(unfit) => return Ok(Some(FindingKind::Unfit(unfit.to_string()))),
        };
        let stored = |source| Error::Store { attempt: format!("read {} of {}", made.id, made.container), source };
        let container = self.database.container(&made.container).await.map_err(stored)?;
        let read = container.read(&made.key, &made.id, &ReadLevel::Quorum).await.map_err(stored)?;
        let Some(document) = read.0 else {
            // A withdrawn document expires; then there is nothing to be seen of it.
            return Ok((!is_withdrawn(&made.body)).then_some(FindingKind::Missing));
        };
        let version = decide::version(&document, &route.version_field).map_err(stored)?;
        Ok(match version {
            Some(version) if version > made.version => Some(FindingKind::Ahead { stored: version }),
            Some(version) if version == made.version => {
                (content(&document.body) != content(&made.body)).then_some(FindingKind::Differs)
            }
            stored => Some(FindingKind::Behind { stored }),
        })
    }

    async fn repair(&self, source: &Source, expected: &Expected, kind: &FindingKind) -> Result<bool, Error> {
        let floor = match kind {
            FindingKind::Unfit(_) => return Ok(false),
            FindingKind::Ahead { stored } => *stored,
            FindingKind::Missing | FindingKind::Behind { .. } | FindingKind::Differs => 0,
        };
        let attempt = || format!("touch the row of {}:{}", expected.topic, expected.key);
        let mut touch = self.outbox.pool.begin().await.attempted(attempt)?;
        sqlx::query("SELECT set_config('feedmill.version_floor', $1, true)")
            .bind(floor.to_string())
            .execute(&mut *touch)
            .await
            .attempted(attempt)?;
        let statement = format!(
            "UPDATE {table} AS canon SET {column} = canon.{column}
             FROM jsonb_populate_record(NULL::{table}, $1) AS touched WHERE ({rows}) = ({touched})",
            table = source.table,
            column = source.first_key_column(),
            rows = source.columns("canon"),
            touched = source.columns("touched"),
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(&expected.row_key)
            .execute(&mut *touch)
            .await
            .attempted(attempt)?;
        touch.commit().await.attempted(attempt)?;
        Ok(done.rows_affected() == 1)
    }
}

fn is_withdrawn(body: &[u8]) -> bool {
    content(body).is_some_and(|fields| fields.contains_key("deletedAt"))
}

/// Without what the store adds, and without `ttl`, which depends on the relay's options.
fn content(body: &[u8]) -> Option<BTreeMap<String, Value>> {
    const NOT_CONTENT: [&str; 6] = ["_rid", "_self", "_etag", "_ts", "_attachments", "ttl"];
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(fields.into_iter().filter(|(name, _)| !NOT_CONTENT.contains(&name.as_str())).collect())
}
