//! The change feed: positions are raw etags, and nothing is skipped whatever goes wrong.

use feedmill_store_api::{Container, ErrorKind, FeedRange, FeedStart, Position};
use jiff::Timestamp;

use crate::scripted::{Line, RID, Request, Server, answer};

fn page(items: &str) -> String {
    format!(r#"{{"_rid":"{RID}","Documents":[{items}],"_count":1}}"#)
}

fn change(id: &str, lsn: u64) -> String {
    format!(r#"{{"current":{{"id":"{id}","_etag":"\"e{lsn}\"","_ts":7}},"metadata":{{"lsn":{lsn},"crts":7}}}}"#)
}

fn unchanged(etag: &str) -> Line {
    answer(304, &[("etag", etag), ("x-ms-session-token", "0:-1#12")], "")
}

async fn asked(server: &Server, container: &dyn Container, start: FeedStart) -> Request {
    container.read_page(&FeedRange::full(), &start, 10).await.unwrap();
    let mut heard = server.heard();
    assert_eq!(heard.len(), 1, "one page is one request");
    heard.remove(0)
}

#[tokio::test]
async fn each_start_is_asked_for_as_the_protocol_has_it() {
    let server = Server::new();
    let container = server.container().await;
    server.say(vec![unchanged("\"10\""); 4]);
    let beginning = asked(&server, &*container, FeedStart::Beginning).await;
    assert_eq!((beginning.header("a-im"), beginning.header("if-none-match")), (Some("Incremental Feed"), None));
    assert_eq!(beginning.header("x-ms-max-item-count"), Some("10"));
    let now = asked(&server, &*container, FeedStart::Now).await;
    assert_eq!(now.header("if-none-match"), Some("*"));
    let time = FeedStart::Time("2025-11-21T04:40:00Z".parse::<Timestamp>().unwrap());
    let from_time = asked(&server, &*container, time).await;
    assert_eq!(from_time.header("if-modified-since"), Some("Fri, 21 Nov 2025 04:40:00 GMT"));
    let position = FeedStart::Position(Position::new("\"10\""));
    assert_eq!(asked(&server, &*container, position).await.header("if-none-match"), Some("\"10\""));
}

#[tokio::test]
async fn a_page_ends_at_its_etag_and_knows_how_far_the_partition_is() {
    let server = Server::new();
    let container = server.container().await;
    let headers = [("etag", "\"11\""), ("x-ms-session-token", "0:-1#17"), ("lsn", "11"), ("x-ms-request-charge", "2")];
    server.say([answer(200, &headers, page(&format!("{},{}", change("a", 10), change("b", 11)))), unchanged("\"11\"")]);
    let read = container.read_page(&FeedRange::full(), &FeedStart::Beginning, 10).await.unwrap();
    assert_eq!(read.changes.iter().map(|change| change.lsn).collect::<Vec<_>>(), [10, 11]);
    assert_eq!((read.position.as_str(), read.head_lsn, read.charge.units()), ("\"11\"", 17, 2.0));
    assert_eq!(read.session.0, "0:-1#17");
    let end = container.read_page(&FeedRange::full(), &FeedStart::Position(read.position), 10).await.unwrap();
    assert!(end.changes.is_empty() && end.position.as_str() == "\"11\"");
}

#[tokio::test]
async fn a_page_that_cannot_be_understood_moves_nobody_past_it() {
    let server = Server::new();
    let container = server.container().await;
    let start = FeedStart::Position(Position::new("\"10\""));
    server.say([answer(200, &[("etag", "\"20\"")], "{not json"), answer(200, &[("etag", "\"20\"")], page("{}"))]);
    for _ in 0..2 {
        let error = container.read_page(&FeedRange::full(), &start, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    server.say([answer(200, &[("etag", "\"20\"")], page(&change("a", 20)))]);
    assert_eq!(container.read_page(&FeedRange::full(), &start, 10).await.unwrap().changes.len(), 1);
    assert!(server.heard().iter().all(|request| request.header("if-none-match") == Some("\"10\"")));
}

#[tokio::test]
async fn a_split_is_reported_instead_of_followed() {
    let server = Server::new();
    let container = server.container().await;
    let start = FeedStart::Position(Position::new("\"10\""));
    server.split();
    // The client looks the ranges up again by itself and reads a child; that page is dropped.
    server.say([
        answer(410, &[("x-ms-substatus", "1002")], ""),
        answer(200, &[("etag", "\"13\"")], page(&change("a", 13))),
    ]);
    let error = container.read_page(&FeedRange::full(), &start, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
    server.heard();
    let ranges = container.feed_ranges().await.unwrap();
    assert_eq!(ranges.len(), 2);
    // Each child goes on with the parent's position.
    for (child, id) in ranges.iter().zip(["1", "2"]) {
        server.say([answer(200, &[("etag", "\"14\"")], page(&change("a", 14)))]);
        let read = container.read_page(child, &start, 10).await.unwrap();
        assert_eq!(read.position.as_str(), "\"14\"");
        let [request] = &server.heard()[..] else { panic!("one request") };
        assert_eq!(request.header("if-none-match"), Some("\"10\""));
        assert_eq!(request.header("x-ms-documentdb-partitionkeyrangeid"), Some(id));
    }
    // Whoever asks for both as one is told so, although the client would do it.
    server.say([answer(200, &[("etag", "\"13\"")], page(&change("a", 13)))]);
    let error = container.read_page(&FeedRange::full(), &FeedStart::Beginning, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
}

#[tokio::test]
async fn a_part_of_a_partition_is_asked_for_by_its_bounds() {
    let server = Server::new();
    let container = server.container().await;
    server.say([unchanged("\"3\"")]);
    let part = FeedRange::new("05", "10").unwrap();
    let read = container.read_page(&part, &FeedStart::Beginning, 10).await.unwrap();
    assert_eq!(read.position.as_str(), "\"3\"");
    let [request] = &server.heard()[..] else { panic!("one request") };
    assert_eq!((request.header("x-ms-start-epk"), request.header("x-ms-end-epk")), (Some("05"), Some("10")));
}
