//! Compares the source documents with the canonical tables, and repairs by re-emitting events.
//!
//! A repair touches the canonical row: its version rises, the triggers write an event like any other, and the relay brings
//! it in by the same rules, in the order of its key. Nothing else ever writes a document.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_store_api::{Database, ReadLevel};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, Row};
use tokio_util::sync::CancellationToken;

use crate::error::Attempted;
use crate::source::Source;
use crate::table::Table;
use crate::{Error, OnDead, Outbox, decide, document};

/// Looks at every canonical row and the documents it should have, and at every document and the row it should have.
pub struct Audit {
    pub(crate) outbox: Outbox,
    pub(crate) database: Arc<dyn Database>,
}

/// A document that is not as its canonical row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The canonical table; the container, where there is no row.
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
    /// An event of it failed for good, and whatever it is behind in waits for somebody to retry or skip that.
    Held,
    /// No document can be made of the row.
    Unfit(String),
    /// A live document of which there is no row, and never was as far as the database knows.
    Stray,
}

/// How far a comparison is, and what it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Canonical rows looked at.
    pub rows: u64,
    /// Documents compared.
    pub documents: u64,
    /// Not compared, because events of their key are on their way.
    pub in_flight: u64,
    pub findings: u64,
    /// Of these: repaired.
    pub repaired: u64,
}

/// What a look at one document gave.
enum Compared {
    Equal,
    /// Its events are still on their way.
    InFlight,
    Different(FindingKind),
}

struct Expected {
    row_key: Json<Value>,
    topic: String,
    key: String,
    payload: String,
    /// Whether the event that decides when the key goes on has failed for good; `None` where none waits.
    held: Option<bool>,
}

impl<'r> FromRow<'r, PgRow> for Expected {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            row_key: row.try_get("row_key")?,
            topic: row.try_get("topic")?,
            key: row.try_get("key")?,
            payload: row.try_get("payload")?,
            held: row.try_get("held")?,
        })
    }
}

impl Audit {
    pub fn new(outbox: Outbox, database: Arc<dyn Database>) -> Self {
        Self { outbox, database }
    }

    /// Compares everything, or until `stop`. With `repair` the rows of findings are touched, one transaction each, and what has
    /// no row is withdrawn by an event of its own.
    /// `found` hears of each finding, `progress` of each page.
    pub async fn run(
        &self,
        repair: bool,
        stop: &CancellationToken,
        mut found: impl FnMut(Finding),
        mut progress: impl FnMut(Verified),
    ) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        for options in &self.outbox.options.sources {
            let source = Source::new(options)?;
            let mut behind = None;
            while !stop.is_cancelled() {
                let page = self.page(&source, &behind).await?;
                let compared = page.iter().map(|expected| self.compare(expected)).collect::<Vec<_>>();
                let in_flight = self.outbox.options.requests_in_flight_max as usize;
                let compared: Vec<_> = futures::stream::iter(compared).buffered(in_flight).try_collect().await?;
                for (expected, compared) in page.iter().zip(compared) {
                    let compared = match compared {
                        Compared::Different(_) => self.look_again(&source, expected).await?,
                        compared => compared,
                    };
                    let kind = match compared {
                        Compared::InFlight => {
                            verified.in_flight += 1;
                            continue;
                        }
                        Compared::Equal => {
                            verified.documents += 1;
                            continue;
                        }
                        Compared::Different(kind) => kind,
                    };
                    let repaired = repair && self.repair(&source, expected, &kind).await?;
                    verified.documents += 1;
                    verified.findings += 1;
                    verified.repaired += u64::from(repaired);
                    let key = format!("{}:{}", expected.topic, expected.key);
                    found(Finding { table: options.table.clone(), key, kind, repaired });
                }
                let mut keys: Vec<&Value> = page.iter().map(|expected| &expected.row_key.0).collect();
                keys.dedup();
                verified.rows += keys.len() as u64;
                progress(verified);
                match keys.last() {
                    Some(last) => behind = Some(Json((*last).clone())),
                    None => break,
                }
            }
        }
        self.strays(repair, stop, &mut verified, &mut found, &mut progress).await?;
        Ok(verified)
    }

    async fn page(&self, source: &Source, behind: &Option<Json<Value>>) -> Result<Vec<Expected>, Error> {
        sqlx::query_as(AssertSqlSafe(self.expected(source, &source.page(behind.is_none()))))
            .bind(behind)
            .bind(i64::from(self.outbox.options.page_rows))
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(|| format!("read a page of {}", source.table))
    }

    /// A query of the documents that `rows` should have.
    fn expected(&self, source: &Source, rows: &str) -> String {
        let Table { name, partition_key, sequence, processed_at, .. } = &*self.outbox.table;
        // Where the dead are passed, what is behind them is on its way.
        let deciding = match self.outbox.options.on_dead {
            OnDead::Hold => "ASC",
            OnDead::Pass => "DESC",
        };
        format!(
            "WITH rows AS MATERIALIZED ({rows})
             SELECT {key} AS row_key, event.topic, event.key, event.payload::text AS payload,
                    (SELECT {dead} FROM {name} AS o WHERE o.{partition_key}::text = event.topic || ':' || event.key
                     AND o.{processed_at} IS NULL ORDER BY o.{sequence} {deciding} LIMIT 1) AS held
             FROM rows CROSS JOIN LATERAL {events}(rows.canon) AS event ORDER BY {columns}",
            dead = self.outbox.table.dead("o"),
            key = source.key_of("(rows.canon)"),
            events = source.events,
            columns = source.columns("(rows.canon)"),
        )
    }

    /// A row may have changed, and its event been relayed, between the look at it and the look at its document. Only a
    /// difference from a row that stood still is one.
    async fn look_again(&self, source: &Source, first: &Expected) -> Result<Compared, Error> {
        const LOOKS_MAX: u32 = 5;
        let mut before = first.payload.clone();
        for _ in 0..LOOKS_MAX {
            let documents: Vec<Expected> = sqlx::query_as(AssertSqlSafe(self.expected(source, &source.row())))
                .bind(&first.row_key)
                .fetch_all(&self.outbox.pool)
                .await
                .attempted(|| format!("read a row of {} again", source.table))?;
            let same = |expected: &&Expected| (&expected.topic, &expected.key) == (&first.topic, &first.key);
            let Some(now) = documents.iter().find(same) else { break };
            match self.compare(now).await? {
                Compared::Different(kind) if now.payload == before => return Ok(Compared::Different(kind)),
                Compared::Different(_) => before.clone_from(&now.payload),
                settled => return Ok(settled),
            }
        }
        Ok(Compared::InFlight)
    }

    async fn compare(&self, expected: &Expected) -> Result<Compared, Error> {
        match expected.held {
            Some(false) => Ok(Compared::InFlight),
            Some(true) => Ok(match self.compare_document(expected).await? {
                Compared::Different(_) => Compared::Different(FindingKind::Held),
                as_it_should_be => as_it_should_be,
            }),
            None => self.compare_document(expected).await,
        }
    }

    async fn compare_document(&self, expected: &Expected) -> Result<Compared, Error> {
        let unfit = |why: String| Ok(Compared::Different(FindingKind::Unfit(why)));
        let Some(route) = self.outbox.options.routes.get(&expected.topic) else {
            return unfit(format!("no route for topic {}", expected.topic));
        };
        let made = match document::prepare(route, &expected.payload, 1) {
            Ok(made) => made,
            Err(why) => return unfit(why.to_string()),
        };
        let stored = |source| Error::Store { attempt: format!("read {} of {}", made.id, made.container), source };
        let container = self.database.container(&made.container).await.map_err(stored)?;
        let (document, _) = container.read(&made.key, &made.id, &ReadLevel::Quorum).await.map_err(stored)?;
        let Some(document) = document else {
            // A withdrawn document expires; then there is nothing to be seen of it.
            return Ok(if is_withdrawn(&made.body) {
                Compared::Equal
            } else {
                Compared::Different(FindingKind::Missing)
            });
        };
        Ok(match decide::version(&document, &route.version_field).map_err(stored)? {
            Some(version) if version > made.version => Compared::Different(FindingKind::Ahead { stored: version }),
            Some(version) if version == made.version && content(&document.body) == content(&made.body) => {
                Compared::Equal
            }
            Some(version) if version == made.version => Compared::Different(FindingKind::Differs),
            stored => Compared::Different(FindingKind::Behind { stored }),
        })
    }

    async fn repair(&self, source: &Source, expected: &Expected, kind: &FindingKind) -> Result<bool, Error> {
        let floor = match kind {
            FindingKind::Held | FindingKind::Unfit(_) | FindingKind::Stray => return Ok(false),
            FindingKind::Ahead { stored } => *stored,
            FindingKind::Missing | FindingKind::Behind { .. } | FindingKind::Differs => 0,
        };
        let attempt = || format!("touch the row of {}:{}", expected.topic, expected.key);
        let mut touch = self.outbox.begin().await.attempted(attempt)?;
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
