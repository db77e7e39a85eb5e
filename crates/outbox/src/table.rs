use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::Error;
use crate::error::Attempted;

/// The outbox table. Every name is an identifier as PostgreSQL stores it (without quotes); a customer's own outbox maps
/// its columns here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// Empty: found by the search path.
    pub schema: String,
    pub name: String,
    /// Unique and roughly in order of insertion: what waits longest is claimed first.
    pub id: String,
    /// Unique; what operators name an event by.
    pub event_key: String,
    /// Chooses the route.
    pub topic: String,
    /// What order is kept within.
    pub partition_key: String,
    /// Order within a key; unique there.
    pub sequence: String,
    /// JSON of the document.
    pub payload: String,
    /// When the event was inserted, for ages and lag.
    pub created_at: String,
    /// Null until the event is relayed or skipped.
    pub processed_at: String,
    /// Failures so far, an integer.
    pub retry_count: String,
    /// Not tried before this time.
    pub next_retry_at: String,
    /// Retries of this event before it is dead; empty: the table has no such column.
    pub max_retries: String,
    /// The text of the last failure; empty: the table has no such column.
    pub last_error: String,
    /// Retries where the table has no column for them.
    pub max_retries_default: u32,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            schema: String::new(),
            name: "outbox".to_owned(),
            id: "id".to_owned(),
            event_key: "event_key".to_owned(),
            topic: "topic".to_owned(),
            partition_key: "partition_key".to_owned(),
            sequence: "sequence".to_owned(),
            payload: "payload".to_owned(),
            created_at: "created_at".to_owned(),
            processed_at: "processed_at".to_owned(),
            retry_count: "retry_count".to_owned(),
            next_retry_at: "next_retry_at".to_owned(),
            max_retries: "max_retries".to_owned(),
            last_error: "last_error".to_owned(),
            max_retries_default: 10,
        }
    }
}

/// The outbox table as it was found: names quoted, ready to stand in SQL.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) id: String,
    /// The type of `id`, to give it back as the server wrote it.
    pub(crate) id_type: String,
    pub(crate) event_key: String,
    pub(crate) topic: String,
    pub(crate) partition_key: String,
    pub(crate) partition_key_type: String,
    pub(crate) sequence: String,
    pub(crate) payload: String,
    pub(crate) created_at: String,
    pub(crate) processed_at: String,
    pub(crate) retry_count: String,
    pub(crate) next_retry_at: String,
    /// A column, or the number that stands for it.
    pub(crate) max_retries: String,
    pub(crate) last_error: Option<String>,
}

impl Table {
    /// Fails with [`Error::NoTable`] when the table is not there, with [`Error::Settings`] when one of the columns is not.
    pub(crate) async fn find(pool: &PgPool, options: &TableOptions) -> Result<Self, Error> {
        let name = qualified(&options.schema, &options.name)?;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        )
        .bind(&name)
        .fetch_all(pool)
        .await
        .attempted(|| format!("look up the columns of {name}"))?;
        if columns.is_empty() {
            return Err(Error::NoTable(name));
        }
        let types: BTreeMap<String, String> = columns.into_iter().collect();
        let type_of = |column: &str| {
            types.get(column).ok_or_else(|| Error::Settings(format!("table {name} has no column {column:?}")))
        };
        let column = |column: &str| type_of(column).and_then(|_| quoted(column));
        let optional = |name: &str| if name.is_empty() { Ok(None) } else { column(name).map(Some) };
        Ok(Self {
            id: column(&options.id)?,
            id_type: type_of(&options.id)?.clone(),
            event_key: column(&options.event_key)?,
            topic: column(&options.topic)?,
            partition_key: column(&options.partition_key)?,
            partition_key_type: type_of(&options.partition_key)?.clone(),
            sequence: column(&options.sequence)?,
            payload: column(&options.payload)?,
            created_at: column(&options.created_at)?,
            processed_at: column(&options.processed_at)?,
            retry_count: column(&options.retry_count)?,
            next_retry_at: column(&options.next_retry_at)?,
            max_retries: optional(&options.max_retries)?.unwrap_or_else(|| options.max_retries_default.to_string()),
            last_error: optional(&options.last_error)?,
            name,
        })
    }

    /// An event that failed once more than it may be retried, as a condition on the row `alias`.
    pub(crate) fn dead(&self, alias: &str) -> String {
        let max = if self.max_retries.starts_with('"') {
            format!("{alias}.{}", self.max_retries)
        } else {
            self.max_retries.clone()
        };
        format!("{alias}.{} > {max}", self.retry_count)
    }

    /// `, "last_error" = value`, or nothing where there is no such column.
    pub(crate) fn set_error(&self, value: &str) -> String {
        self.last_error.as_ref().map_or_else(String::new, |column| format!(", {column} = {value}"))
    }
}

/// Identifiers cannot be bound, so they are quoted: what is inside the quotes is never SQL.
pub(crate) fn quoted(identifier: &str) -> Result<String, Error> {
    // NAMEDATALEN - 1; the server would cut a longer one, perhaps to the name of something else.
    const IDENTIFIER_BYTES_MAX: usize = 63;
    if identifier.is_empty() || identifier.len() > IDENTIFIER_BYTES_MAX || identifier.contains('\0') {
        return Err(Error::Settings(format!("not an identifier of 1 to 63 bytes: {identifier:?}")));
    }
    Ok(format!("\"{}\"", identifier.replace('"', "\"\"")))
}

pub(crate) fn qualified(schema: &str, name: &str) -> Result<String, Error> {
    Ok(if schema.is_empty() { quoted(name)? } else { format!("{}.{}", quoted(schema)?, quoted(name)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"; DROP TABLE users; --").unwrap(), "\"a\"\"; DROP TABLE users; --\"");
        assert_eq!(qualified("S p", "t").unwrap(), "\"S p\".\"t\"");
    }

    #[test]
    fn what_the_server_would_cut_is_refused() {
        for bad in [String::new(), "x".repeat(64), "a\0b".to_owned()] {
            assert!(quoted(&bad).is_err(), "{bad:?}");
        }
    }
}
