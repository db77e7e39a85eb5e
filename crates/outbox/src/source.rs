use serde::{Deserialize, Serialize};

use crate::Error;
use crate::table::{qualified, quoted};

/// A canonical table whose rows have documents.
///
/// A SQL function says which: `outbox_events(row)` returns `topic, key, version, payload` for each document of the row.
/// The triggers that write the outbox use the same function, so that a loaded, a live and a compared event are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceOptions {
    /// Empty: found by the search path.
    #[serde(default)]
    pub schema: String,
    pub table: String,
    /// The columns of its primary key, in the order of its index.
    pub key: Vec<String>,
    /// Takes a row of the table.
    #[serde(default = "events_function")]
    pub events: String,
}

fn events_function() -> String {
    "outbox_events".to_owned()
}

pub(crate) fn defaults() -> Vec<SourceOptions> {
    let source = |table: &str, key: &[&str]| SourceOptions {
        schema: String::new(),
        table: table.to_owned(),
        key: key.iter().map(|&column| column.to_owned()).collect(),
        events: events_function(),
    };
    vec![
        source("profiles", &["user_id"]),
        source("posts", &["post_id"]),
        source("follows", &["followee_id", "follower_id"]),
        source("block_pairs", &["low_id", "high_id"]),
        source("reactions", &["post_id", "user_id"]),
    ]
}

/// A source, ready to stand in SQL.
pub(crate) struct Source {
    pub(crate) table: String,
    pub(crate) events: String,
    key: Vec<String>,
}

impl Source {
    pub(crate) fn new(options: &SourceOptions) -> Result<Self, Error> {
        if options.key.is_empty() {
            return Err(Error::Settings(format!("source {} has no key columns", options.table)));
        }
        Ok(Self {
            table: qualified(&options.schema, &options.table)?,
            events: qualified(&options.schema, &options.events)?,
            key: options.key.iter().map(|column| quoted(column)).collect::<Result<_, _>>()?,
        })
    }

    /// A query of a page of rows, as values `canon` of the table's own type: those behind the row of which `$1` (jsonb)
    /// holds the key, from the beginning when it is null; at most `$2`.
    pub(crate) fn page(&self, from_beginning: bool) -> String {
        let Self { table, .. } = self;
        let (rows, marks) = (self.columns("canon"), self.columns("behind"));
        if from_beginning {
            return format!("SELECT canon FROM {table} AS canon WHERE $1::jsonb IS NULL ORDER BY {rows} LIMIT $2");
        }
        // The key's own types come from the table, so that one text serves every key; an OR for the first page would
        // cost the index.
        format!(
            "SELECT canon FROM jsonb_populate_record(NULL::{table}, $1) AS behind
             JOIN {table} AS canon ON ({rows}) > ({marks})
             ORDER BY {rows} LIMIT $2"
        )
    }

    /// A query of the one row of which `$1` (jsonb) holds the key.
    pub(crate) fn row(&self) -> String {
        let Self { table, .. } = self;
        let (rows, wanted) = (self.columns("canon"), self.columns("wanted"));
        format!(
            "SELECT canon FROM jsonb_populate_record(NULL::{table}, $1) AS wanted
             JOIN {table} AS canon ON ({rows}) = ({wanted})"
        )
    }

    /// The key of the row `alias` as an object.
    pub(crate) fn key_of(&self, alias: &str) -> String {
        let pairs = self.key.iter().map(|column| {
            let name = column.trim_matches('"').replace('\'', "''");
            format!("'{name}', {alias}.{column}")
        });
        format!("jsonb_build_object({})", pairs.collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn columns(&self, alias: &str) -> String {
        self.key.iter().map(|column| format!("{alias}.{column}")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn first_key_column(&self) -> &str {
        &self.key[0]
    }
}
