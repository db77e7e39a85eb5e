//! Documents that no canonical row accounts for. Rows are withdrawn and never deleted, so somebody else wrote these, or the
//! database was restored from a backup that did not have their rows yet.

use std::collections::{BTreeMap, BTreeSet};

use feedmill_store_api::{ErrorKind, PageRequest, Query, ReadLevel, Scope};
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use crate::error::Attempted;
use crate::table::{Table, qualified};
use crate::{Audit, Error, Finding, FindingKind, Verified, document};

/// A live document.
struct Candidate {
    id: String,
    /// Those that are neither objects nor arrays, as a jsonb may hold them: enough to know a row by, and to be a tombstone.
    fields: Map<String, Value>,
}

/// What is known of a candidate that no row accounts for.
struct Stray {
    index: usize,
    /// Its events are still on their way.
    waits: bool,
}

impl Audit {
    /// Looks at every document of the routes' containers, page by page. A repair withdraws a stray document by an event like
    /// that of a row.
    pub(crate) async fn strays(
        &self,
        repair: bool,
        stop: &CancellationToken,
        verified: &mut Verified,
        found: &mut impl FnMut(Finding),
        progress: &mut impl FnMut(Verified),
    ) -> Result<(), Error> {
        if self.outbox.options.has_row.is_empty() {
            return Ok(());
        }
        let mut containers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (topic, route) in &self.outbox.options.routes {
            containers.entry(&route.container).or_default().insert(topic);
        }
        for (container, topics) in containers {
            let topics: Vec<&str> = topics.into_iter().collect();
            let mut next = Some(PageRequest::first(self.outbox.options.page_rows as usize));
            while let (Some(request), false) = (next.take(), stop.is_cancelled()) {
                let (candidates, continuation) = self.candidates(container, &request).await?;
                next = continuation.map(|continuation| PageRequest { continuation: Some(continuation), ..request });
                for Stray { index, waits } in self.without_row(&topics, &candidates).await? {
                    if waits {
                        verified.in_flight += 1;
                        continue;
                    }
                    let stray = &candidates[index];
                    // Of several topics in one container nobody knows whose it would be.
                    let topic = if let [topic] = topics[..] { Some(topic) } else { None };
                    let repaired = match topic {
                        Some(topic) if repair => self.withdraw(topic, stray).await?,
                        _ => false,
                    };
                    verified.findings += 1;
                    verified.repaired += u64::from(repaired);
                    let key = topic.map_or_else(|| stray.id.clone(), |topic| format!("{topic}:{}", stray.id));
                    found(Finding { table: container.to_owned(), key, kind: FindingKind::Stray, repaired });
                }
                progress(*verified);
            }
        }
        Ok(())
    }

    /// The live documents of a page.
    async fn candidates(
        &self,
        container: &str,
        request: &PageRequest,
    ) -> Result<(Vec<Candidate>, Option<String>), Error> {
        let failed = |source| Error::Store { attempt: format!("list the documents of {container}"), source };
        let opened = match self.database.container(container).await {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None)),
            Err(error) => return Err(failed(error)),
        };
        let query = Query::new("SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt)");
        let page = opened.query(&Scope::Container, &query, request, &ReadLevel::Quorum).await.map_err(failed)?;
        Ok((page.items.iter().filter_map(|item| Candidate::read(item)).collect(), page.continuation))
    }

    async fn without_row(&self, topics: &[&str], candidates: &[Candidate]) -> Result<Vec<Stray>, Error> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let Table { name, partition_key, processed_at, .. } = &*self.outbox.table;
        // An answer that is not known is no reason to take a document for stray.
        let statement = format!(
            "SELECT document.n, EXISTS (
                 SELECT FROM {name} AS o, unnest($3::text[]) AS its (topic)
                 WHERE o.{partition_key}::text = its.topic || ':' || (document.body ->> 'id') AND o.{processed_at} IS NULL)
             FROM unnest($1::int8[], $2::text[]::jsonb[]) AS document (n, body)
             WHERE (SELECT bool_and({has_row}(its.topic, document.body) IS FALSE) FROM unnest($3::text[]) AS its (topic))
             ORDER BY document.n",
            has_row = qualified("", &self.outbox.options.has_row)?,
        );
        let numbers: Vec<i64> = (0_i64..).take(candidates.len()).collect();
        let text = |candidate: &Candidate| Value::Object(candidate.fields.clone()).to_string();
        let found: Vec<(i64, bool)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(numbers)
            .bind(candidates.iter().map(text).collect::<Vec<_>>())
            .bind(topics)
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(|| format!("look for the rows of {} documents", candidates.len()))?;
        let stray = |(index, waits)| Some(Stray { index: usize::try_from(index).ok()?, waits });
        Ok(found.into_iter().filter_map(stray).collect())
    }

    /// Whether there is an event now that withdraws it.
    async fn withdraw(&self, topic: &str, stray: &Candidate) -> Result<bool, Error> {
        let route = &self.outbox.options.routes[topic];
        let mut payload = stray.fields.clone();
        // What may be too long is text, which leaves a withdrawn document in any case.
        let stays = |name: &str| name != "id" && name != "ttl" && !name.starts_with('_');
        payload.retain(|name, _| stays(name) && !route.characters_max.contains_key(name));
        let version = 1 + payload.get(&route.version_field).and_then(Value::as_i64).unwrap_or(0).max(0);
        let now = format!("{:.3}", self.outbox.clock.now());
        payload.insert("deletedAt".to_owned(), Value::from(now));
        payload.insert(route.version_field.clone(), Value::from(version));
        let payload = Value::Object(payload).to_string();
        // An event is of the document that its fields name. One whose id is another's is out of its reach.
        if !document::prepare(route, &payload, 1).is_ok_and(|made| made.id.as_str() == stray.id) {
            return Ok(false);
        }
        let Table { name, event_key, topic: topic_column, partition_key, sequence, payload: body, .. } =
            &*self.outbox.table;
        let statement = format!(
            "INSERT INTO {name} ({event_key}, {topic_column}, {partition_key}, {sequence}, {body})
             VALUES ($1 || ':' || $2 || ':' || $3, $1, $1 || ':' || $2, $3, $4::jsonb) ON CONFLICT DO NOTHING"
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(topic)
            .bind(&stray.id)
            .bind(version)
            .bind(payload)
            .execute(&self.outbox.pool)
            .await
            .attempted(|| format!("withdraw {topic}:{}", stray.id))?;
        Ok(done.rows_affected() == 1)
    }
}

impl Candidate {
    /// `None` for what is no document.
    fn read(item: &[u8]) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_slice(item).ok()?;
        let id = fields.get("id")?.as_str()?.to_owned();
        fields.retain(|name, value| !name.contains('\0') && !value.is_object() && !value.is_array());
        for value in fields.values_mut() {
            if let Value::String(text) = value {
                text.retain(|c| c != '\0');
            }
        }
        Some(Self { id, fields })
    }
}
