//! What a collector gets, from the process itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use std::sync::Mutex;

use crate::support::{Store, feedmill};

const FOLLOWED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00";
const SECRET: &str = "what ada wrote to bob";

type Received = Arc<Mutex<Vec<Bytes>>>;

/// Takes whatever is sent.
struct Collector {
    endpoint: String,
    received: Received,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let received = Received::default();
        let take = async |State(received): State<Received>, body: Bytes| received.lock().unwrap().push(body);
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, received, _runtime: runtime }
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let requests = received.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

fn store() -> Store {
    let store = Store::new();
    let follows: Vec<_> =
        ["bob", "cid"].map(|id| json!({"id": format!("ada:{id}"), "followeeId": "ada", "followerId": id})).into();
    store.import("follows", &follows);
    let traced = [("1", Some(FOLLOWED)), ("2", Some(NOT_SAMPLED)), ("3", None), ("4", Some("nonsense"))];
    // A key of its own each, so that each is delivered by itself.
    let posts = traced.map(|(id, traceparent)| {
        let mut post = json!({
            "id": id, "postId": id, "authorId": if id == "1" { "ada" } else { id }, "createdAt": "2024-01-01T00:00:00Z",
            "status": "published", "content": SECRET,
        });
        if let Some(traceparent) = traceparent {
            post["traceparent"] = traceparent.into();
        }
        post
    });
    store.import("posts_v2", &posts);
    store
}

fn run(store: &Store, collector: &Collector, ratio: &str) -> Vec<Span> {
    let endpoint = format!("telemetry.traces_endpoint={}", collector.endpoint);
    let ratio = format!("telemetry.traces_ratio={ratio}");
    store.run(&["run", "--until-caught-up", "--set", &endpoint, "--set", &ratio]).succeeded();
    collector.spans()
}

#[test]
fn a_post_whose_writer_is_traced_can_be_followed_into_the_feeds_and_nothing_else_is_sent() {
    let (store, collector) = (store(), Collector::start());
    let spans = run(&store, &collector, "0");
    let (delivered, written): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "deliver");
    assert!(!delivered.is_empty());
    for span in &delivered {
        let [link] = span.links.as_slice() else { panic!("one change was followed: {span:?}") };
        assert_eq!(
            link.trace_id,
            [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c]
        );
        assert_eq!(link.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert!(span.parent_span_id.is_empty());
    }
    let feed = |span: &&&Span| {
        let attribute = |key: &str| span.attributes.iter().find(|attribute| attribute.key == key).cloned();
        format!("{:?}", attribute("db.collection.name")).contains("userFeed")
    };
    assert_eq!(written.iter().filter(feed).count(), 2, "one for each follower: {written:#?}");
    for span in &written {
        assert_eq!(span.name, "write");
        let within = delivered.iter().find(|delivery| delivery.span_id == span.parent_span_id);
        assert_eq!(within.map(|delivery| &delivery.trace_id), Some(&span.trace_id));
    }
}

#[test]
fn with_a_ratio_of_one_everything_is_sent_but_nothing_of_what_people_wrote() {
    let (store, collector) = (store(), Collector::start());
    let spans = run(&store, &collector, "1");
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert!(count("read page") > 0 && count("deliver") >= 4 && count("write") > 0, "{spans:#?}");
    let told = format!("{spans:?}");
    assert!(!told.contains(SECRET) && !told.contains("ada") && !told.contains("bob"), "{told}");
}

#[test]
fn a_collector_that_is_not_there_holds_up_nothing() {
    let endpoint = "telemetry.traces_endpoint=http://127.0.0.1:1";
    let store = store();
    store.run(&["run", "--until-caught-up", "--set", endpoint, "--set", "telemetry.traces_ratio=1"]).succeeded();
    assert_eq!(store.export("userFeed").len(), 2);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for (setting, shown) in [
        ("telemetry.traces_endpoint=127.0.0.1:4318", "127.0.0.1:4318"),
        ("telemetry.traces_endpoint=ftp://there", "ftp://there"),
        ("telemetry.traces_ratio=1.5", "1.5"),
        ("telemetry.traces_ratio=-0.1", "-0.1"),
    ] {
        let ran = feedmill(["run", "--set", setting, "--set", "store.data_dir=/nowhere"]);
        assert!(ran.failed(2).contains(shown), "{setting}");
    }
}
