//! Writes: what is sent, and what may have happened when the answer is late, lost or odd.

use std::time::Duration;

use feedmill_cosmos::Options;
use feedmill_store_api::{Applied, BatchOutcome, DocumentId, ETag, ErrorKind, Operation, PartitionKey, SessionToken};

use crate::scripted::{Line, Server, answer};

fn key() -> PartitionKey {
    PartitionKey::from("p1")
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

fn create() -> Operation {
    Operation::Create { id: id("p1"), body: r#"{"id":"p1", "postId":"p1","n":1.10}"#.into() }
}

fn replace() -> Operation {
    Operation::Replace { id: id("p1"), body: r#"{"id":"p1","postId":"p1"}"#.into(), if_match: Some(ETag::new("\"1\"")) }
}

#[tokio::test]
async fn a_body_goes_out_as_the_text_it_came_as_and_its_price_and_session_come_back() {
    let server = Server::new();
    let container = server.container().await;
    server.say([answer(
        201,
        &[("etag", "\"7\""), ("x-ms-request-charge", "5.5"), ("x-ms-session-token", "0:-1#7")],
        "",
    )]);
    let written = container.write(&key(), create()).await.unwrap();
    assert_eq!(written.etag, Some(ETag::new("\"7\"")));
    assert_eq!((written.charge.units(), written.session), (5.5, SessionToken("0:-1#7".to_owned())));
    let [request] = &server.heard()[..] else { panic!("one request") };
    assert_eq!(request.body, r#"{"id":"p1", "postId":"p1","n":1.10}"#);
    assert_eq!(request.header("x-ms-documentdb-partitionkey"), Some(r#"["p1"]"#));
    assert_eq!(request.header("x-ms-cosmos-supported-serialization-formats"), None, "no binary");

    server.say([answer(200, &[("etag", "\"8\"")], "")]);
    container.write(&key(), replace()).await.unwrap();
    let [request] = &server.heard()[..] else { panic!("one request") };
    assert_eq!((request.method.as_str(), request.header("if-match")), ("PUT", Some("\"1\"")));
}

#[tokio::test]
async fn the_first_throttle_comes_back_with_its_wait() {
    let server = Server::new();
    let container = server.container().await;
    server.say([answer(429, &[("x-ms-substatus", "3200"), ("x-ms-retry-after-ms", "23")], "")]);
    let error = container.write(&key(), create()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled { after: Duration::from_millis(23) });
    assert_eq!(error.applied(), Applied::No);
    assert_eq!(server.heard().len(), 1, "nothing is tried again in the dark");
}

#[tokio::test]
async fn a_refusal_is_perhaps_our_own_success_only_after_a_lost_reply() {
    let server = Server::new();
    let container = server.container().await;
    for (operation, status, kind) in [(create(), 409, ErrorKind::Conflict), (replace(), 412, ErrorKind::Precondition)] {
        server.say([answer(status, &[], "")]);
        let error = container.write(&key(), operation.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (kind, Applied::No), "{error}");

        server.say([Line::Lost, answer(status, &[], "")]);
        let error = container.write(&key(), operation.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (kind, Applied::Perhaps), "{error}");

        server.say([answer(503, &[], ""), answer(status, &[], "")]);
        let error = container.write(&key(), operation.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (kind, Applied::Perhaps), "{error}");

        server.say([Line::Unsent, answer(status, &[], "")]);
        let error = container.write(&key(), operation).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (kind, Applied::No), "{error}");
    }
}

#[tokio::test]
async fn an_outage_says_whether_anything_was_sent() {
    let server = Server::new();
    let container = server.container().await;
    server.say(vec![Line::Lost; 8]);
    let error = container.write(&key(), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::Perhaps), "{error}");
    assert!(server.heard().len() <= 4, "the client gives up soon: whoever asked waits with growing delays");

    let server = Server::new();
    let container = server.container().await;
    server.say(vec![Line::Unsent; 8]);
    let error = container.write(&key(), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_meets_the_deadline_and_the_write_is_in_doubt() {
    let server = Server::new();
    let container = server.container_with(Options { deadline: Duration::from_secs(1), ..Options::default() }).await;
    server.say(vec![Line::Silence; 4]);
    let error = container.write(&key(), create()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::Perhaps), "{error}");
}

#[tokio::test]
async fn a_body_that_belongs_to_another_id_is_never_sent() {
    let server = Server::new();
    let container = server.container().await;
    let wrong = Operation::Upsert { id: id("p1"), body: r#"{"id":"p2","postId":"p1"}"#.into() };
    let error = container.write(&key(), wrong.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = container.batch(&key(), vec![create(), wrong]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn a_batch_that_comes_back_as_207_was_refused() {
    let server = Server::new();
    let container = server.container().await;
    let operations = || vec![create(), Operation::Delete { id: id("p2"), if_match: Some(ETag::new("\"3\"")) }];
    let refused = r#"[{"statusCode":424,"requestCharge":0},{"statusCode":412,"requestCharge":1.2}]"#;
    server.say([answer(207, &[("x-ms-request-charge", "1.2")], refused)]);
    match container.batch(&key(), operations()).await.unwrap() {
        BatchOutcome::Refused { index: 1, error, charge } => {
            assert_eq!((error.kind(), error.applied(), charge.units()), (ErrorKind::Precondition, Applied::No, 1.2));
        }
        other => panic!("{other:?}"),
    }
    let [request] = &server.heard()[..] else { panic!("one request") };
    assert_eq!(request.header("x-ms-cosmos-batch-atomic"), Some("True"));
    assert!(request.body.contains(r#""ifMatch":"\"3\"""#), "{}", request.body);

    server.say([Line::Lost, answer(207, &[], refused)]);
    match container.batch(&key(), operations()).await.unwrap() {
        BatchOutcome::Refused { error, .. } => assert_eq!(error.applied(), Applied::Perhaps),
        other => panic!("{other:?}"),
    }

    let done = r#"[{"statusCode":201,"eTag":"\"4\""},{"statusCode":204}]"#;
    server.say([answer(200, &[("x-ms-session-token", "0:-1#4")], done)]);
    match container.batch(&key(), operations()).await.unwrap() {
        BatchOutcome::Committed { etags, session, .. } => {
            assert_eq!((etags, session.0.as_str()), (vec![Some(ETag::new("\"4\"")), None], "0:-1#4"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_request_and_its_price_is_counted_by_container_and_operation() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::new();
    let container = server.container().await;
    server.say([answer(503, &[], ""), answer(201, &[("x-ms-request-charge", "5.5")], "")]);
    container.write(&key(), create()).await.unwrap();
    let text = handle.render();
    for line in [
        r#"feedmill_cosmos_operations_total{container="posts",operation="create_item",status="201"} 1"#,
        r#"feedmill_cosmos_attempts_total{container="posts",operation="create_item"} 2"#,
        r#"feedmill_cosmos_request_units_sum{container="posts",operation="create_item"} 5.5"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
