//! The canonical tables of `migrations/` as the documents they are, for who recomputes from the truth instead of its copies.

use std::collections::BTreeSet;

use feedmill_store_api::{Document, ETag};
use sqlx::{AssertSqlSafe, Row};

use crate::error::Attempted;
use crate::table::Table;
use crate::{Error, Outbox, document};

/// Reads rows as the documents a relay would make of them, whether or not it has; every list is read page by page.
///
/// Ids are those of the documents: what is not a UUID as PostgreSQL writes it is nobody's and nothing's.
#[derive(Clone)]
pub struct Canon {
    outbox: Outbox,
}

/// Rows that documents are asked of, with their two ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// By author and post.
    Posts,
    /// By followee and follower.
    Follows,
    /// By the person whose document it is and the other one.
    Blocks,
}

impl Rows {
    /// The topic of their events.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Posts => "post",
            Self::Follows => "follow",
            Self::Blocks => "block",
        }
    }

    /// How a row is found by the two ids, `wanted.a` and `wanted.b`.
    fn join(self) -> &'static str {
        match self {
            Self::Posts => "posts AS canon ON canon.post_id = wanted.b AND canon.author_id = wanted.a",
            Self::Follows => "follows AS canon ON canon.followee_id = wanted.a AND canon.follower_id = wanted.b",
            Self::Blocks => {
                "block_pairs AS canon ON canon.low_id = least(wanted.a, wanted.b) AND canon.high_id = greatest(wanted.a, wanted.b)"
            }
        }
    }
}

impl Canon {
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// Of these people those of whom there is no row; who is deleted has one.
    pub async fn strangers(&self, users: &[String]) -> Result<Vec<String>, Error> {
        let asked: Vec<&String> = users.iter().filter(|user| is_uuid(user)).collect();
        let known: BTreeSet<String> =
            sqlx::query_scalar("SELECT user_id::text FROM users WHERE user_id = ANY($1::text[]::uuid[])")
                .bind(asked)
                .fetch_all(&self.outbox.pool)
                .await
                .map(Vec::into_iter)
                .map(Iterator::collect)
                .attempted(|| format!("look up {} users", users.len()))?;
        Ok(users.iter().filter(|user| !known.contains(*user)).cloned().collect())
    }

    /// Everybody behind `after`, in the order of ids; nobody when there are no more.
    pub async fn people(&self, after: Option<&str>) -> Result<Vec<String>, Error> {
        let behind = if after.is_some() { "user_id > $1::uuid" } else { "$1::text IS NULL" };
        let list = format!("SELECT user_id::text FROM users WHERE $3 = '' AND {behind} ORDER BY user_id");
        self.page(&list, after, "").await
    }

    /// Whom somebody follows, behind `after`, in the order of ids; withdrawn edges are left out.
    pub async fn followed(&self, follower: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
        let behind = if after.is_some() { "followee_id > $1::uuid" } else { "$1::text IS NULL" };
        let list = format!(
            "SELECT followee_id::text FROM follows
             WHERE follower_id = $3::uuid AND deleted_at IS NULL AND {behind} ORDER BY followee_id"
        );
        self.page(&list, after, follower).await
    }

    /// What somebody wrote, behind the post `after`, the newest first; withdrawn posts are left out.
    pub async fn posts_by(&self, author: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
        let behind = if after.is_some() {
            "(created_at, post_id) < (SELECT created_at, post_id FROM posts WHERE post_id = $1::uuid)"
        } else {
            "$1::text IS NULL"
        };
        let list = format!(
            "SELECT post_id::text FROM posts
             WHERE author_id = $3::uuid AND deleted_at IS NULL AND {behind} ORDER BY created_at DESC, post_id DESC"
        );
        self.page(&list, after, author).await
    }

    /// `list` names `after` as `$1` and `of` as `$3`.
    async fn page(&self, list: &str, after: Option<&str>, of: &str) -> Result<Vec<String>, Error> {
        if !of.is_empty() && !is_uuid(of) || after.is_some_and(|after| !is_uuid(after)) {
            return Ok(Vec::new());
        }
        sqlx::query_scalar(AssertSqlSafe(format!("{list} LIMIT $2")))
            .bind(after)
            .bind(i64::from(self.outbox.options.page_rows))
            .bind(of)
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(|| format!("list what the canonical tables have of {of}"))
    }

    /// The documents of these rows as they are now, in the order of `wanted`. Their etags are the rows' versions.
    pub async fn documents(&self, rows: Rows, wanted: &[(&str, &str)]) -> Result<Vec<Option<Document>>, Error> {
        let mut documents = vec![None; wanted.len()];
        let asked = wanted.iter().enumerate().filter(|(_, (a, b))| is_uuid(a) && is_uuid(b));
        let asked: Vec<(i64, &str, &str)> =
            asked.map(|(index, (a, b))| (i64::try_from(index).unwrap_or(i64::MAX), *a, *b)).collect();
        if asked.is_empty() {
            return Ok(documents);
        }
        let attempt = || format!("read {} rows as {} documents", asked.len(), rows.topic());
        let statement = format!(
            "SELECT wanted.n, event.payload::text AS payload
             FROM unnest($1::int8[], $2::text[]::uuid[], $3::text[]::uuid[]) AS wanted (n, a, b) JOIN {join}
             CROSS JOIN LATERAL outbox_events(canon) AS event WHERE event.key = {key}",
            join = rows.join(),
            // Of the two documents that a block has, the one of this side.
            key = if rows == Rows::Posts { "wanted.b::text" } else { "wanted.a || ':' || wanted.b" },
        );
        let found = sqlx::query(AssertSqlSafe(statement))
            .bind(asked.iter().map(|(n, ..)| *n).collect::<Vec<_>>())
            .bind(asked.iter().map(|(_, a, _)| *a).collect::<Vec<_>>())
            .bind(asked.iter().map(|(.., b)| *b).collect::<Vec<_>>())
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(attempt)?;
        for row in found {
            let read = || Ok::<_, sqlx::Error>((row.try_get::<i64, _>("n")?, row.try_get::<String, _>("payload")?));
            let (n, payload) = read().attempted(attempt)?;
            if let Some(slot) = usize::try_from(n).ok().and_then(|n| documents.get_mut(n)) {
                *slot = Some(self.document(rows, &payload)?);
            }
        }
        Ok(documents)
    }

    fn document(&self, rows: Rows, payload: &str) -> Result<Document, Error> {
        let topic = rows.topic();
        let unfit = |why: String| Error::Unfit { topic: topic.to_owned(), why };
        let route = self.outbox.options.routes.get(topic).ok_or_else(|| unfit("no route for its topic".to_owned()))?;
        let made = document::prepare(route, payload, 1).map_err(|why| unfit(why.to_string()))?;
        Ok(Document { etag: ETag::new(format!("\"{}\"", made.version)), body: made.body })
    }

    /// Of these partition keys of events (`topic:id`) those that have events waiting to be relayed.
    pub async fn waiting(&self, keys: &[String]) -> Result<BTreeSet<String>, Error> {
        let Table { name, partition_key, processed_at, .. } = &*self.outbox.table;
        let statement = format!(
            "SELECT key FROM unnest($1::text[]) AS key WHERE EXISTS (
                 SELECT FROM {name} AS o WHERE o.{partition_key}::text = key AND o.{processed_at} IS NULL)"
        );
        let waiting: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(keys)
            .fetch_all(&self.outbox.pool)
            .await
            .attempted(|| format!("look which of {} keys wait", keys.len()))?;
        Ok(waiting.into_iter().collect())
    }
}

/// As PostgreSQL writes it; it reads other forms too, which no document has.
fn is_uuid(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgres_writes_is_an_id() {
        assert!(is_uuid("00000000-0000-0000-0000-00000000000a"));
        for bad in ["", "17", "00000000-0000-0000-0000-00000000000A", "{0000000-0000-0000-0000-00000000000}", "é"] {
            assert!(!is_uuid(bad), "{bad}");
        }
        assert!(!is_uuid("00000000x0000-0000-0000-000000000000"));
    }
}
