use serde::{Deserialize, Serialize};

use crate::charge::ChargeOptions;

/// How a local store works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Whether an acknowledged write survives a power cut (default `true`). Off: it survives the end of the process only,
    /// and nobody waits for the disk. The memory store takes no notice.
    pub sync: bool,
    /// Bytes of the disk store's read cache (default 64 MiB).
    pub cache_bytes: u64,
    /// Bytes that each of the disk store's five tables gathers in memory before it writes them out (default 32 MiB, at least
    /// 1 MiB). More means fewer and larger writes and a longer recovery.
    pub memtable_bytes: u64,
    /// Documents that one page of a query looks at, at most, before it ends early with a continuation (default 20,000).
    /// Aggregates, GROUP BY, DISTINCT and an ORDER BY without an index look at all that is in scope.
    pub query_scan_items_max: usize,
    /// Bytes after which a page of the change feed or of a query ends, whatever its item limit (default 4 MiB, as in the
    /// service). A commit is never cut in two.
    pub page_bytes_max: usize,
    /// What requests cost.
    pub charge: ChargeOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: true,
            cache_bytes: 64 * 1024 * 1024,
            memtable_bytes: 32 * 1024 * 1024,
            query_scan_items_max: 20_000,
            page_bytes_max: 4 * 1024 * 1024,
            charge: ChargeOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_a_missing_one_has_its_default() {
        assert!(serde_json::from_str::<Options>(r#"{"snyc":false}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"sync":false,"charge":{"write_base":5}}"#).unwrap();
        assert!(!options.sync && options.charge.write_base == 5.0);
        assert_eq!(options.cache_bytes, Options::default().cache_bytes);
    }
}
