use azure_core::time::OffsetDateTime;
use azure_data_cosmos::FeedScope;
use azure_data_cosmos::feed::{FeedPage as SdkPage, FeedRange as SdkRange};
use azure_data_cosmos::models::{ChangeFeedItem, EffectivePartitionKey};
use azure_data_cosmos::options::{ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint, ReadFeedRangesOptions};
use bytes::Bytes;
use feedmill_store_api::{
    Change, ChangeFeed, ETag, Error, ErrorKind, FeedPage, FeedRange, FeedStart, Position, Result, SessionToken,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::container::{CosmosContainer, session};
use crate::error::{charge, failed};
use crate::query::items;
use crate::token::{self, Ended};

impl ChangeFeed for CosmosContainer {
    fn feed_ranges(&self) -> BoxFuture<'_, Result<Vec<FeedRange>>> {
        Box::pin(async {
            let attempted = || format!("read the ranges of {}", self.spec.name);
            // What is cached may be from before a split; asking again costs one request that answers 304.
            let options = ReadFeedRangesOptions::default().with_force_refresh(true);
            let ranges = Box::pin(self.client.read_feed_ranges(Some(options))).await;
            ranges.map_err(|error| failed(attempted, error))?.iter().map(our_range).collect()
        })
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(async move {
            let attempted = || format!("read the feed of {} {range}", self.spec.name);
            let (from, token) = match start {
                FeedStart::Beginning => (ChangeFeedStartFrom::Beginning, None),
                FeedStart::Now => (ChangeFeedStartFrom::Now, None),
                FeedStart::Time(time) => {
                    let time = OffsetDateTime::from_unix_timestamp(time.as_second())
                        .map_err(|error| Error::new(ErrorKind::Invalid, attempted()).with_source(error))?;
                    (ChangeFeedStartFrom::PointInTime(time), None)
                }
                // Beginning, because what else is given here would go out with every request that the token does not name.
                FeedStart::Position(position) => {
                    (ChangeFeedStartFrom::Beginning, Some(token::of_position(&self.rid, range, position, None)))
                }
                FeedStart::PositionSince { position, since } => {
                    let token = token::of_position(&self.rid, range, position, Some(*since));
                    (ChangeFeedStartFrom::Beginning, Some(token))
                }
            };
            let mut options =
                ChangeFeedOptions::default().with_max_item_count(MaxItemCountHint::Limit(items(items_max)));
            options.feed.continuation_token = token;
            let scope = FeedScope::range(sdk_range(range)?);
            let pages = Box::pin(self.client.query_change_feed::<Box<RawValue>>(scope, from, Some(options))).await;
            let mut pages = pages.map_err(|error| failed(attempted, error))?;
            let page = match pages.next().await {
                Some(page) => page.map_err(|error| failed(attempted, error))?,
                None => return Err(Error::new(ErrorKind::Unavailable, attempted())),
            };
            // Only now: the token of a page that could not be delivered points behind it.
            let token = pages.to_continuation_token().map_err(|error| failed(attempted, error))?;
            match token::position_of(&token, range) {
                Ended::At(position) => self.page(page, position),
                Ended::InParts => {
                    Err(Error::new(ErrorKind::Gone, format!("{}: it is several partitions by now", attempted())))
                }
                Ended::Unreadable => {
                    let text = format!("{}: the client's token cannot be understood", attempted());
                    Err(Error::new(ErrorKind::Corrupt, text))
                }
            }
        })
    }
}

impl CosmosContainer {
    fn page(&self, page: SdkPage<ChangeFeedItem<Box<RawValue>>>, position: Position) -> Result<FeedPage> {
        let session = session(page.headers());
        let charge = charge(&page.diagnostics());
        let lsn = page.headers().lsn();
        let changes = page.into_items().iter().map(change).collect::<Result<Vec<_>>>()?;
        // The token says how far the partition is; the header of the same name, on some servers, how far the page is.
        let newest = changes.iter().map(|change| change.lsn).max();
        let head_lsn = session_lsn(&session).max(newest).or(lsn).unwrap_or(0);
        Ok(FeedPage { changes, position, session, head_lsn, charge })
    }
}

fn change(item: &ChangeFeedItem<Box<RawValue>>) -> Result<Change> {
    #[derive(Deserialize)]
    struct Head {
        _etag: ETag,
        _ts: i64,
        _lsn: Option<u64>,
    }
    let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, format!("read a change: {what}"));
    let current = item.current().ok_or_else(|| corrupt("it has no document"))?.get();
    let head: Head = serde_json::from_str(current)
        .map_err(|error| corrupt("its document lacks the store's own fields").with_source(error))?;
    let metadata = item.metadata().and_then(|metadata| metadata.lsn());
    let lsn = metadata.and_then(|lsn| u64::try_from(lsn.value()).ok()).or(head._lsn);
    Ok(Change {
        lsn: lsn.ok_or_else(|| corrupt("it has no LSN"))?,
        timestamp_seconds: head._ts,
        etag: head._etag,
        body: Bytes::copy_from_slice(current.as_bytes()),
    })
}

/// The LSN in `{range}:{version}#{lsn}#{region}={local}` or `{range}:{lsn}`.
fn session_lsn(SessionToken(token): &SessionToken) -> Option<u64> {
    let (_, vector) = token.split_once(':')?;
    let mut parts = vector.split('#');
    let first = parts.next()?;
    parts.next().unwrap_or(first).parse().ok()
}

fn our_range(range: &SdkRange) -> Result<FeedRange> {
    FeedRange::new(range.min_inclusive().to_hex(), range.max_exclusive().to_hex())
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read a range of the container").with_source(error))
}

fn sdk_range(range: &FeedRange) -> Result<SdkRange> {
    let invalid = |error| Error::new(ErrorKind::Invalid, format!("read the range {range}")).with_source(error);
    let bound = |text: &str| EffectivePartitionKey::try_from(text).map_err(invalid);
    SdkRange::new(bound(range.min())?, bound(range.max())?).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_token_says_how_far_the_partition_is() {
        for (token, lsn) in [
            ("0:-1#10", Some(10)),
            ("3:2#417#1=400#2=1", Some(417)),
            ("0:12", Some(12)),
            ("", None),
            ("0", None),
            ("0:x#y", None),
        ] {
            assert_eq!(session_lsn(&SessionToken(token.to_owned())), lsn, "{token}");
        }
    }

    #[test]
    fn a_change_comes_with_or_without_its_envelope() {
        let document = r#"{"_etag":"\"e\"","_ts":7,"id":"a"}"#;
        let enveloped = format!(r#"{{"current":{document},"metadata":{{"lsn":5,"crts":7}}}}"#);
        let change = change(&serde_json::from_str(&enveloped).unwrap()).unwrap();
        assert_eq!((change.lsn, change.timestamp_seconds, change.etag.as_str()), (5, 7, "\"e\""));
        let bare = r#"{"_etag":"\"e\"","_lsn":9,"_ts":7,"id":"a"}"#;
        assert_eq!(super::change(&serde_json::from_str(bare).unwrap()).unwrap().lsn, 9);
        for poison in ["{}", "[]", "7", r#"{"current":{"id":"a"}}"#, document] {
            let error = super::change(&serde_json::from_str(poison).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{poison}");
        }
    }

    #[test]
    fn ranges_go_to_the_client_and_come_back() {
        for (min, max) in [("", "FF"), ("", "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"), ("05C1", "3FFFFFFFFFFFFFFF")] {
            let range = FeedRange::new(min, max).unwrap();
            assert_eq!(our_range(&sdk_range(&range).unwrap()).unwrap(), range);
        }
    }
}
