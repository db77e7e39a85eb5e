use bytes::Bytes;
use feedmill_store_api::{Change, FeedPage, FeedRange, FeedStart, Position, RequestCharge, SessionToken};
use http::StatusCode;

use crate::all_versions;
use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::feed_scope::FeedScope;
use crate::headers::{self, Asked};
use crate::ranges;
use crate::reply::{Reply, listing};
use crate::router::Call;

/// Changes of a page where the client leaves it to us.
const ITEMS_DEFAULT: usize = 100;

/// One page of the change feed, in either mode.
pub(crate) struct Page {
    pub(crate) items: Vec<Bytes>,
    pub(crate) position: Position,
    pub(crate) session: SessionToken,
    pub(crate) head_lsn: u64,
    pub(crate) charge: RequestCharge,
}

/// With everything that any SDK reads in its headers: etag, session token, LSN and item count also when there is nothing new.
pub(crate) async fn read(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let mode = call.asked.text(headers::A_IM).map(str::to_lowercase);
    let has_all_versions = match mode.as_deref() {
        Some("incremental feed") => false,
        Some("full-fidelity feed") => true,
        other => {
            return Err(Fault::bad_request(format!("A-IM is {other:?}; it is Incremental Feed or Full-Fidelity Feed")));
        }
    };
    let range = range(call, entry)?;
    let start = start(call.asked)?;
    let items_max = call.asked.items_max()?.unwrap_or(ITEMS_DEFAULT);
    let page = if has_all_versions {
        all_versions::read(call, entry, &range, &start, items_max).await?
    } else {
        latest(call, entry.container.read_page(&range, &start, items_max).await?)
    };
    Ok(reply(entry, page))
}

fn latest(call: &Call<'_>, page: FeedPage) -> Page {
    let has_envelopes = call.asked.text(headers::CHANGE_FEED_FORMAT).is_some();
    let item = |change: &Change| if has_envelopes { envelope(change) } else { flat(change) };
    let items = page.changes.iter().map(item).collect();
    Page { items, position: page.position, session: page.session, head_lsn: page.head_lsn, charge: page.charge }
}

/// The part of the key space that the request is about, within one partition.
fn range(call: &Call<'_>, entry: &ContainerEntry) -> Result<FeedRange, Fault> {
    match FeedScope::asked(call, entry)? {
        FeedScope::Range(range) => Ok(range),
        FeedScope::Key(key) => Ok(feedmill_local_store::key_range(&key)),
        FeedScope::Container => match ranges::of(call.directory, entry)?.as_slice() {
            [only] => Ok(only.range.clone()),
            _ => Err(Fault::bad_request(
                "the change feed is read by partition: name one with x-ms-documentdb-partitionkeyrangeid",
            )),
        },
    }
}

fn start(asked: Asked<'_>) -> Result<FeedStart, Fault> {
    Ok(match (asked.text("if-none-match"), asked.modified_since()?) {
        (Some("*"), _) => FeedStart::Now,
        // Merged partitions are not in order of time, so whoever began at a time says so with every page.
        (Some(etag), Some(since)) => FeedStart::PositionSince { position: Position::new(quoted(etag)), since },
        (Some(etag), None) => FeedStart::Position(Position::new(quoted(etag))),
        (None, Some(time)) => FeedStart::Time(time),
        (None, None) => FeedStart::Beginning,
    })
}

/// Some SDKs take the quotes off.
fn quoted(etag: &str) -> String {
    let etag = etag.trim();
    if etag.starts_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

fn reply(entry: &ContainerEntry, page: Page) -> Reply {
    let at_end = lsn(&page.session) >= page.head_lsn;
    let status = if page.items.is_empty() && at_end { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let head = page.head_lsn.to_string();
    // How far the partition is, not the page: the difference is what SDKs estimate the lag by.
    let session = page.session.0.split_once('#').map_or(String::new(), |(range, _)| format!("{range}#{head}"));
    let reply = Reply::new(status)
        .charge(page.charge)
        .session(&SessionToken(session))
        .header("etag", page.position.as_str())
        .header(headers::LSN, &head)
        .header(headers::GLOBAL_LSN, &head)
        .items(page.items.len());
    if status == StatusCode::NOT_MODIFIED {
        return reply;
    }
    reply.body(listing(entry.rid(), "Documents", &page.items))
}

fn lsn(session: &SessionToken) -> u64 {
    session.0.split('#').nth(1).and_then(|lsn| lsn.parse().ok()).unwrap_or(0)
}

/// A document with its LSN, as clients without a wire format version want it.
fn flat(change: &Change) -> Bytes {
    let open = change.body.strip_suffix(b"}").unwrap_or(&change.body);
    Bytes::from([open, format!(",\"_lsn\":{}}}", change.lsn).as_bytes()].concat())
}

/// The document and beside it what is known of the change.
fn envelope(change: &Change) -> Bytes {
    let metadata = format!(",\"metadata\":{{\"lsn\":{},\"crts\":{}}}}}", change.lsn, change.timestamp_seconds);
    Bytes::from([b"{\"current\":", &*flat(change), metadata.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::ETag;

    use super::*;

    #[test]
    fn a_change_has_its_lsn_in_both_forms() {
        let body = Bytes::from_static(br#"{"id":"1","_ts":7}"#);
        let change = Change { lsn: 5, timestamp_seconds: 7, etag: ETag::new("\"e\""), body };
        assert_eq!(&flat(&change)[..], br#"{"id":"1","_ts":7,"_lsn":5}"#);
        let envelope: serde_json::Value = serde_json::from_slice(&envelope(&change)).unwrap();
        assert_eq!(envelope["current"]["id"], "1");
        assert_eq!((&envelope["metadata"]["lsn"], &envelope["metadata"]["crts"]), (&5.into(), &7.into()));
    }

    #[test]
    fn an_etag_may_have_lost_its_quotes() {
        assert_eq!((quoted("\"5\""), quoted("5")), ("\"5\"".to_owned(), "\"5\"".to_owned()));
    }
}
