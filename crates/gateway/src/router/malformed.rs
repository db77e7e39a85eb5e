//! Requests of every kind that no SDK sends: the client's fault, whatever they are, and nothing comes of them.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::tests::World;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

const HEADERS: [&str; 22] = [
    "a-im",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "prefer",
    "x-ms-continuation",
    "x-ms-cosmos-batch-atomic",
    "x-ms-cosmos-changefeed-wire-format-version",
    "x-ms-cosmos-intended-collection-rid",
    "x-ms-cosmos-is-batch-request",
    "x-ms-cosmos-is-query-plan-request",
    "x-ms-cosmos-offer-autopilot-settings",
    "x-ms-documentdb-isquery",
    "x-ms-documentdb-is-upsert",
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkeyrangeid",
    "x-ms-end-epk",
    "x-ms-max-item-count",
    "x-ms-offer-throughput",
    "x-ms-session-token",
    "x-ms-start-epk",
];

/// Half of them make sense somewhere.
fn value() -> impl Strategy<Value = String> {
    let known = [
        "True",
        "False",
        "0",
        "1",
        "-1",
        "*",
        "",
        "99999999999999999999",
        "\"1\"",
        "[]",
        "[\"k\"]",
        "[{}]",
        "[null,1]",
        "[[",
        "FF",
        "1F",
        "application/query+json",
        "Incremental Feed",
        "Full-Fidelity Feed",
        "0:-1#99",
        "0:x,#,:",
        "{\"maxThroughput\":1000}",
        "Fri, 21 Nov 2025 04:40:00 GMT",
    ];
    prop_oneof![proptest::sample::select(known.to_vec()).prop_map(str::to_owned), "[ -~]{0,40}"]
}

fn path() -> impl Strategy<Value = String> {
    let known = [
        "/",
        "/dbs",
        "/dbs/d",
        "/dbs/d/colls",
        "/dbs/d/colls/c",
        "/dbs/d/colls/c/docs",
        "/dbs/d/colls/c/docs/a",
        "/dbs/d/colls/c/pkranges",
        "/dbs/d/colls/none/docs",
        "/dbs/d/colls/c/sprocs/s",
        "/offers",
        "/offers/x",
        "/_feedmill/split/d/c",
        "/_feedmill/merge/d/c",
        "/_feedmill/topology/d/c",
        "/_feedmill/x",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "(/[a-z%0-9._~-]{0,6}){1,7}"]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "",
        "{}",
        "[]",
        "null",
        "{\"id\":\"a\",\"pk\":\"k\"}",
        "{\"id\":7}",
        "{\"id\":\"a/b\"}",
        "{\"query\":\"SELECT\"}",
        "{\"query\":\"SELECT * FROM c WHERE\",\"parameters\":[{\"name\":1}]}",
        "[{\"operationType\":\"Create\"}]",
        "[{\"operationType\":\"Patch\",\"id\":\"a\",\"resourceBody\":{\"operations\":[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}]}}]",
        "{\"operations\":[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]}",
        "{\"content\":{\"offerThroughput\":1}}",
        "{\"id\":\"x\",\"partitionKey\":{\"paths\":[\"\"]}}",
        "{\"low\":\"0\",\"high\":\"0\"}",
        "{\"id\":\"0\"}",
    ];
    let text = proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    let cut =
        (text.clone(), any::<prop::sample::Index>()).prop_map(|(text, at)| text[..at.index(text.len() + 1)].to_vec());
    let binary = vec(any::<u8>(), 0..40).prop_map(|bytes| [&[0x80], &bytes[..]].concat());
    prop_oneof![text, cut, binary, vec(any::<u8>(), 0..40)]
}

struct Sent<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

/// As HTTP/1.1 writes a request: a line, headers, an empty line, the body.
fn request(bytes: &[u8]) -> Option<Sent<'_>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let headers: Vec<_> = lines.map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    let are_sent = |(name, value): &(&str, &str)| {
        name.parse::<http::HeaderName>().is_ok() && value.parse::<http::HeaderValue>().is_ok()
    };
    let is_sent = method.parse::<http::Method>().is_ok()
        && path.starts_with('/')
        && path.parse::<http::Uri>().is_ok()
        && headers.iter().all(are_sent);
    is_sent.then(|| Sent { method, path, headers, body: bytes.get(end + 2..).unwrap_or_default() })
}

#[test]
fn whatever_bytes_are_sent_the_server_is_not_at_fault() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    bolero::check!().for_each(|bytes: &[u8]| {
        let Some(Sent { method, path, headers, body }) = request(bytes) else { return };
        runtime.block_on(async {
            let world = World::with_container().await;
            let answer = world.send(method, path, &headers, body.to_vec()).await;
            assert!(answer.status < 500 || answer.status == 501, "{answer:?}");
        });
    });
}

proptest! {
    #[test]
    fn whatever_is_asked_the_server_is_not_at_fault(
        requests in vec((proptest::sample::select(METHODS.to_vec()), path(), vec((proptest::sample::select(HEADERS.to_vec()), value()), 0..6), body()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::with_container().await;
            for (method, path, headers, body) in requests {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = world.send(method, &path, &headers, body.clone()).await;
                // 501: understood, and said not to be here.
                prop_assert!(
                    answer.status < 500 || answer.status == 501,
                    "{method} {path} {headers:?} {:?}: {answer:?}", String::from_utf8_lossy(&body)
                );
            }
            world.send("GET", "/", &[], json!({}).to_string()).await.expect(200);
            Ok(())
        })?;
    }
}
