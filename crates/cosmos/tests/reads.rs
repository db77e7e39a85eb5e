//! Reads and queries: how fresh they are asked to be, and what absence looks like.

use feedmill_store_api::{
    Container, DocumentId, ErrorKind, PageRequest, PartitionKey, Query, ReadLevel, Result, Scope, SessionToken,
};

use crate::scripted::{RID, Server, answer};

async fn read(container: &dyn Container, level: &ReadLevel) -> Result<Option<String>> {
    let (key, id) = (PartitionKey::from("p1"), DocumentId::new("p1").unwrap());
    let (document, _) = container.read(&key, &id, level).await?;
    Ok(document.map(|document| String::from_utf8(document.body.to_vec()).unwrap()))
}

#[tokio::test]
async fn a_quorum_read_asks_for_the_latest_and_a_session_read_for_its_token_alone() {
    let server = Server::new();
    let container = server.container().await;
    let document = r#"{"id":"p1","postId":"p1","n":1.10,"_etag":"\"5\""}"#;
    // The client gathers this token by itself; ours must stand before it.
    let found = || answer(200, &[("etag", "\"5\""), ("x-ms-session-token", "0:-1#99")], document);
    server.say([found(), found()]);
    assert_eq!(read(&*container, &ReadLevel::Quorum).await.unwrap().as_deref(), Some(document));
    let session = ReadLevel::Session(SessionToken("0:-1#5".to_owned()));
    read(&*container, &session).await.unwrap();
    let requests = server.heard();
    assert_eq!(requests[0].header("x-ms-cosmos-read-consistency-strategy"), Some("LatestCommitted"));
    assert_eq!(requests[1].header("x-ms-cosmos-read-consistency-strategy"), None);
    assert_eq!(requests[1].header("x-ms-session-token"), Some("0:-1#5"));
}

#[tokio::test]
async fn absence_is_no_failure_but_a_replica_that_is_behind_is_one() {
    let server = Server::new();
    let container = server.container().await;
    server.say([answer(404, &[("x-ms-request-charge", "1")], "{}")]);
    assert_eq!(read(&*container, &ReadLevel::Quorum).await.unwrap(), None);
    server.say([answer(404, &[("x-ms-substatus", "0")], "{}")]);
    assert_eq!(read(&*container, &ReadLevel::Quorum).await.unwrap(), None);
    server.say(vec![answer(404, &[("x-ms-substatus", "1002")], "{}"); 8]);
    assert_eq!(read(&*container, &ReadLevel::Quorum).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let server = Server::new();
    let container = server.container().await;
    server.say(vec![answer(404, &[("x-ms-substatus", "1003")], "{}"); 8]);
    assert_eq!(read(&*container, &ReadLevel::Quorum).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_query_goes_page_by_page_and_ends_where_the_service_says_so() {
    let server = Server::new();
    let container = server.container().await;
    let page = |items: &str| format!(r#"{{"_rid":"{RID}","Documents":[{items}],"_count":1}}"#);
    server.say([
        answer(200, &[("x-ms-continuation", "next"), ("x-ms-request-charge", "3")], page(r#"{"n": 1.10}"#)),
        answer(200, &[("x-ms-request-charge", "3")], page("2")),
    ]);
    let (scope, query) = (Scope::Partition("p1".into()), Query::new("SELECT * FROM c WHERE c.n > @n").with("@n", 0));
    let first = container.query(&scope, &query, &PageRequest::first(1), &ReadLevel::Quorum).await.unwrap();
    assert_eq!((&first.items[0][..], first.charge.units()), (&br#"{"n": 1.10}"#[..], 3.0));
    let request = PageRequest { items_max: 1, continuation: first.continuation };
    let second = container.query(&scope, &query, &request, &ReadLevel::Quorum).await.unwrap();
    assert_eq!((second.items.len(), second.continuation), (1, None));
    let requests = server.heard();
    assert_eq!(
        requests[0].body,
        r#"{"query":"SELECT * FROM c WHERE c.n > @n","parameters":[{"name":"@n","value":0}]}"#
    );
    assert_eq!(requests[0].header("x-ms-max-item-count"), Some("1"));
    assert_eq!(requests[1].header("x-ms-continuation"), Some("next"));
    assert!(
        requests
            .iter()
            .all(|request| { request.header("x-ms-cosmos-read-consistency-strategy") == Some("LatestCommitted") })
    );
}

#[tokio::test]
async fn many_are_read_at_once_and_put_back_in_their_order() {
    let server = Server::new();
    let container = server.container().await;
    let page = |id: &str| format!(r#"{{"_rid":"{RID}","Documents":[{{"id":"{id}","_etag":"\"{id}\""}}],"_count":1}}"#);
    server.say([answer(200, &[("x-ms-continuation", "next")], page("c")), answer(200, &[], page("a"))]);
    let ids = ["a", "b", "c", "a"].map(|id| DocumentId::new(id).unwrap());
    let (found, _) = container.read_many(&"k".into(), &ids, &ReadLevel::Quorum).await.unwrap();
    let etags: Vec<_> = found.iter().map(|found| found.as_ref().map(|found| found.etag.as_str())).collect();
    assert_eq!(etags, [Some("\"a\""), None, Some("\"c\""), Some("\"a\"")]);
}
