//! Names and values of the protocol's headers, as far as the server reads or writes them.

use feedmill_store_api::{ReadLevel, SessionToken};
use http::HeaderMap;
use jiff::Timestamp;

use crate::fault::Fault;

pub(crate) const A_IM: &str = "a-im";
pub(crate) const ACTIVITY_ID: &str = "x-ms-activity-id";
pub(crate) const AUTOSCALE: &str = "x-ms-cosmos-offer-autopilot-settings";
pub(crate) const BATCH_ATOMIC: &str = "x-ms-cosmos-batch-atomic";
pub(crate) const CHANGE_FEED_FORMAT: &str = "x-ms-cosmos-changefeed-wire-format-version";
pub(crate) const CHARGE: &str = "x-ms-request-charge";
pub(crate) const CONSISTENCY: &str = "x-ms-consistency-level";
pub(crate) const CONTENT_ON_WRITE: &str = "x-ms-cosmos-populate-content-response-on-write";
pub(crate) const CONTINUATION: &str = "x-ms-continuation";
pub(crate) const CONTINUE_ON_ERROR: &str = "x-ms-cosmos-batch-continue-on-error";
pub(crate) const DATE: &str = "x-ms-date";
pub(crate) const END_EPK: &str = "x-ms-end-epk";
pub(crate) const GLOBAL_LSN: &str = "x-ms-global-committed-lsn";
pub(crate) const INDEX_METRICS: &str = "x-ms-cosmos-index-utilization";
pub(crate) const INTENDED_RID: &str = "x-ms-cosmos-intended-collection-rid";
pub(crate) const IS_BATCH: &str = "x-ms-cosmos-is-batch-request";
pub(crate) const IS_QUERY: &str = "x-ms-documentdb-isquery";
pub(crate) const IS_QUERY_PLAN: &str = "x-ms-cosmos-is-query-plan-request";
pub(crate) const IS_UPSERT: &str = "x-ms-documentdb-is-upsert";
pub(crate) const ITEM_LSN: &str = "x-ms-item-lsn";
pub(crate) const ITEM_COUNT: &str = "x-ms-item-count";
pub(crate) const ITEMS_MAX: &str = "x-ms-max-item-count";
pub(crate) const LSN: &str = "lsn";
pub(crate) const PARTITION_KEY: &str = "x-ms-documentdb-partitionkey";
pub(crate) const POPULATE_INDEX_METRICS: &str = "x-ms-cosmos-populateindexmetrics";
pub(crate) const POPULATE_QUERY_METRICS: &str = "x-ms-documentdb-populatequerymetrics";
pub(crate) const QUERY_FEATURES: &str = "x-ms-cosmos-supported-query-features";
pub(crate) const QUERY_METRICS: &str = "x-ms-documentdb-query-metrics";
pub(crate) const RANGE_ID: &str = "x-ms-documentdb-partitionkeyrangeid";
pub(crate) const READ_KEY_TYPE: &str = "x-ms-read-key-type";
pub(crate) const READ_STRATEGY: &str = "x-ms-cosmos-read-consistency-strategy";
pub(crate) const RETRY_AFTER_MS: &str = "x-ms-retry-after-ms";
pub(crate) const SESSION_TOKEN: &str = "x-ms-session-token";
pub(crate) const START_EPK: &str = "x-ms-start-epk";
pub(crate) const SUB_STATUS: &str = "x-ms-substatus";
pub(crate) const THROUGHPUT: &str = "x-ms-offer-throughput";

/// What a request says in its headers.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a>(pub(crate) &'a HeaderMap);

impl<'a> Asked<'a> {
    /// `None` where it is missing, or has bytes that no SDK sends.
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn is_true(self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Whether a write's reply shall have the document in it.
    pub(crate) fn wants_content(self) -> bool {
        if let Some(wanted) = self.text(CONTENT_ON_WRITE) {
            return wanted.eq_ignore_ascii_case("true");
        }
        !self.text("prefer").is_some_and(|prefer| prefer.contains("return=minimal"))
    }

    /// Every read is as fresh as can be; this is what it costs.
    pub(crate) fn read_level(self) -> ReadLevel {
        let is_quorum = match self.text(READ_STRATEGY) {
            Some(strategy) => matches!(strategy, "LatestCommitted" | "GlobalStrong"),
            None => matches!(self.text(CONSISTENCY), Some("Strong" | "BoundedStaleness")),
        };
        if is_quorum { ReadLevel::Quorum } else { ReadLevel::Session(SessionToken(String::new())) }
    }

    /// `None` leaves it to the server, and so does -1.
    pub(crate) fn items_max(self) -> Result<Option<usize>, Fault> {
        let Some(text) = self.text(ITEMS_MAX) else { return Ok(None) };
        match text.trim().parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(count) if count > 0 => Ok(usize::try_from(count).ok()),
            _ => Err(Fault::bad_request(format!("{ITEMS_MAX} is {text:?}; it is -1 or a positive whole number"))),
        }
    }

    /// Epoch seconds of `If-Modified-Since`.
    pub(crate) fn modified_since(self) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = self.text("if-modified-since") else { return Ok(None) };
        let time = jiff::fmt::rfc2822::parse(text).map(|zoned| zoned.timestamp());
        time.map(Some).map_err(|error| Fault::bad_request(format!("If-Modified-Since is {text:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_page_is_as_long_as_asked_or_as_the_server_likes() {
        let items_max = |value| Asked(&asked(ITEMS_MAX, value)).items_max();
        assert_eq!(items_max("-1"), Ok(None));
        assert_eq!(items_max("2"), Ok(Some(2)));
        for bad in ["0", "-2", "x", "1.5", ""] {
            assert!(items_max(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_read_as_http_writes_them() {
        let text = "Fri, 21 Nov 2025 04:40:00 GMT";
        let time = Asked(&asked("if-modified-since", text)).modified_since().unwrap().unwrap();
        assert_eq!(time.to_string(), "2025-11-21T04:40:00Z");
        assert!(Asked(&asked("if-modified-since", "yesterday")).modified_since().is_err());
    }
}
