use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Route, SourceOptions, TableOptions, route, source};

/// How the outbox is read and its events are carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Relays in one process: while one waits for Cosmos, another claims. Each has two connections to PostgreSQL.
    pub relays: u32,
    /// Events of one claim, at most. More means fewer commits and a longer wait for what is claimed behind.
    pub batch_rows_max: u32,
    /// Requests to Cosmos in flight at most, for one relay.
    pub requests_in_flight_max: u32,
    /// A batch that is not written by then is given back. Keep it below the grace period of a shutdown.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub publish_max: Duration,
    /// Channel of the NOTIFY that wakes the relay; empty: polling alone.
    pub listen: String,
    /// How often to look when nothing wakes the relay; sooner at first, when it has just found nothing.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll: Duration,
    /// Wait after the first failure of an event; each later one waits twice as long.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub retry_first: Duration,
    /// The longest wait between two attempts at one event.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub retry_max: Duration,
    /// The longest wait while PostgreSQL or Cosmos is away; such waits use up no retries.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub outage_wait_max: Duration,
    /// What a dead letter does to later events of its key.
    pub on_dead: OnDead,
    /// `ttl` of a withdrawn document. Longer than the longest outage of any processor you want to survive.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub tombstone_ttl: Duration,
    /// How long relayed events stay for inspection.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub retention: Duration,
    /// Relayed events removed by one statement.
    pub retention_rows_max: u32,
    /// How often a running relay removes what is past its retention.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub retention_every: Duration,
    /// Canonical rows that `snapshot` and `verify` read at a time.
    pub page_rows: u32,
    /// `snapshot` waits while more events than this wait to be relayed.
    pub snapshot_pending_max: u32,
    /// SQL function `(topic text, document jsonb) RETURNS boolean`: whether a document, of which it is given the fields that are
    /// neither objects nor arrays, has a canonical row; null where nobody knows. Empty: nobody looks for documents without one.
    pub has_row: String,
    /// The outbox table and its columns.
    pub table: TableOptions,
    /// By topic: which document an event is.
    pub routes: BTreeMap<String, Route>,
    /// The canonical tables that `snapshot` loads and `verify` compares.
    pub sources: Vec<SourceOptions>,
}

/// What a dead letter does to later events of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDead {
    /// They wait until an operator retries or skips it.
    Hold,
    /// They pass it. Right where every event is the whole document, because the next one repairs what this one left.
    Pass,
}

impl Default for Options {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            relays: 2,
            batch_rows_max: 500,
            requests_in_flight_max: 32,
            publish_max: Duration::from_secs(20),
            listen: "feedmill_outbox".to_owned(),
            poll: Duration::from_secs(2),
            retry_first: Duration::from_secs(MINUTE),
            retry_max: Duration::from_secs(6 * 60 * MINUTE),
            outage_wait_max: Duration::from_secs(30),
            on_dead: OnDead::Hold,
            tombstone_ttl: Duration::from_secs(14 * DAY),
            retention: Duration::from_secs(7 * DAY),
            retention_rows_max: 1_000,
            retention_every: Duration::from_secs(MINUTE),
            page_rows: 1_000,
            snapshot_pending_max: 50_000,
            has_row: "outbox_has_row".to_owned(),
            table: TableOptions::default(),
            routes: route::defaults(),
            sources: source::defaults(),
        }
    }
}

impl Options {
    /// Fails with [`Error::Settings`] and the name of the first setting that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        for (name, value) in [
            ("relays", self.relays),
            ("batch_rows_max", self.batch_rows_max),
            ("requests_in_flight_max", self.requests_in_flight_max),
            ("retention_rows_max", self.retention_rows_max),
            ("page_rows", self.page_rows),
        ] {
            if value == 0 {
                return Err(Error::Settings(format!("{name} must be at least 1")));
            }
        }
        for (name, value) in [("poll", self.poll), ("publish_max", self.publish_max)] {
            if value.is_zero() {
                return Err(Error::Settings(format!("{name} must be longer than nothing")));
            }
        }
        self.routes.iter().try_for_each(|(topic, route)| route.check(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense_and_read_back() {
        let options = Options::default();
        options.check().unwrap();
        let text = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<Options>(&text).unwrap(), options);
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        assert!(toml::from_str::<Options>("pol = \"1s\"").unwrap_err().to_string().contains("pol"));
        assert!(toml::from_str::<Options>("[table]\nnam = \"x\"").is_err());
        assert!(toml::from_str::<Options>("[routes.x]\ncontainer=\"c\"\nkey_field=\"k\"\nid=\"{k}\"\nx=1").is_err());
    }

    #[test]
    fn a_batch_of_nothing_is_refused_by_name() {
        let options = Options { batch_rows_max: 0, ..Options::default() };
        assert!(options.check().unwrap_err().to_string().contains("batch_rows_max"));
    }
}
