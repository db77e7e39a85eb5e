use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How Redis is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether there is a cache. Default false.
    pub enabled: bool,
    /// File whose text is the address of Redis. Default `none`: FEEDMILL_REDIS_URL has it, which counts before the file.
    pub url_file: String,
    /// What a change does to a key. Default invalidate.
    pub on_change: OnChange,
    /// Items of a feed that are cached, the newest first. Default 50.
    pub feed_items_max: usize,
    /// How long a key stays at most. Default 10m. Bounds what a Redis that comes back with old data can say.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub ttl: Duration,
    /// How long a read that fills the cache may take. Default 10s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub fill_max: Duration,
    /// How long an answer of Redis is waited for. Default 1s. Then readers go to the store, and the processor tries again.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// The key is removed; the next reader fills it.
    Invalidate,
    /// The key is removed, and filled again at once if it was there: what nobody reads is not read for the cache either.
    Refresh,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enabled: false,
            url_file: "none".to_owned(),
            on_change: OnChange::Invalidate,
            feed_items_max: 50,
            ttl: Duration::from_secs(600),
            fill_max: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
        }
    }
}
