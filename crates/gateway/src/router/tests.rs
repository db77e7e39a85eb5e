use feedmill_clock::SystemClock;
use feedmill_local_store::Options as StoreOptions;
use serde_json::{Value, json};

use super::*;
use crate::Key;
use crate::auth::tests::sign;

/// A gateway over a store in memory, and requests signed as SDKs sign them.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    clock: ShiftedClock,
}

/// A response, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: http::HeaderMap,
    text: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn ids(&self) -> Vec<String> {
        let documents = self.json()["Documents"].as_array().unwrap().clone();
        documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = ShiftedClock::new(Arc::new(SystemClock));
        let store = LocalStore::memory(StoreOptions::default(), Arc::new(clock.clone()));
        let gateway = Gateway::open(store, Options::default(), clock.clone(), Entropy::seeded(1)).await.unwrap();
        Self { gateway, clock }
    }

    /// With database `d` and container `c` of the key `/pk`, in one partition.
    pub(crate) async fn with_container() -> Self {
        let world = Self::new().await;
        world.send("POST", "/dbs", &[], json!({"id": "d"}).to_string()).await.expect(201);
        let definition =
            json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, "defaultTtl": -1});
        world.send("POST", "/dbs/d/colls", &[], definition.to_string()).await.expect(201);
        world
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let date = self.clock.unshifted().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let trimmed = path.trim_matches('/');
        let parts: Vec<&str> = trimmed.split('/').collect();
        let (kind, link) = match parts.len() % 2 {
            0 => (parts[parts.len() - 2], trimmed),
            _ => (parts[parts.len() - 1], trimmed.rsplit_once('/').map_or("", |(owner, _)| owner)),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:1")
            .header("x-ms-date", &date)
            .header("authorization", sign(&Key::default(), method, kind, link, &date));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.gateway.respond(request.body(body.into()).unwrap(), "http").await;
        let (parts, text) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn create(&self, key: &str, body: &Value) -> Answer {
        let key = json!([key]).to_string();
        let headers = [("x-ms-documentdb-partitionkey", key.as_str())];
        self.send("POST", "/dbs/d/colls/c/docs", &headers, body.to_string()).await
    }

    async fn query(&self, text: &str, key: &str, more: &[(&str, &str)]) -> Answer {
        let key = json!([key]).to_string();
        let headers = [("x-ms-documentdb-isquery", "True"), ("x-ms-documentdb-partitionkey", key.as_str())];
        let headers = [&headers[..], more].concat();
        self.send("POST", "/dbs/d/colls/c/docs", &headers, json!({"query": text}).to_string()).await
    }
}

#[tokio::test]
async fn an_account_names_the_endpoint_that_was_asked() {
    let world = World::new().await;
    let account = world.send("GET", "/", &[], "").await.expect(200).json();
    assert_eq!(account["writableLocations"][0]["databaseAccountEndpoint"], "http://localhost:1/");
    for required in ["_self", "id", "_rid"] {
        assert!(account[required].is_string(), "{required}");
    }
}

#[tokio::test]
async fn what_is_not_signed_is_not_answered() {
    let world = World::new().await;
    for (name, value) in [("x-none", ""), ("authorization", "type%3Dmaster%26ver%3D1.0%26sig%3DAAAA")] {
        let request = Request::builder().uri("/dbs").header(name, value).body(Bytes::new()).unwrap();
        assert_eq!(world.gateway.respond(request, "http").await.status(), 401);
    }
}

#[tokio::test]
async fn databases_and_containers_come_and_go() {
    let world = World::with_container().await;
    world.send("POST", "/dbs", &[], r#"{"id":"d"}"#).await.expect(409);
    let container = world.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    assert_eq!(container["partitionKey"], json!({"paths": ["/pk"], "kind": "Hash", "version": 2}));
    let by_rid = format!("/dbs/d/colls/{}", container["_rid"].as_str().unwrap());
    assert_eq!(world.send("GET", &by_rid, &[], "").await.expect(200).json(), container);
    assert_eq!(world.send("GET", "/dbs", &[], "").await.expect(200).json()["_count"], 1);

    world.create("a", &json!({"id": "1", "pk": "a"})).await.expect(201);
    world.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    let missing = world.send("GET", "/dbs/d/colls/c", &[], "").await.expect(404);
    assert_eq!(missing.header("x-ms-substatus"), "1003");
    world.send("POST", "/dbs/d/colls", &[], container.to_string()).await.expect(201);
    let again = world.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    assert_ne!(again["_rid"], container["_rid"]);
    assert_eq!(world.query("SELECT * FROM c", "a", &[]).await.expect(200).json()["_count"], 0);
    let intended = [("x-ms-cosmos-intended-collection-rid", container["_rid"].as_str().unwrap())];
    let recreated = world.send("GET", "/dbs/d/colls/c/pkranges", &intended, "").await.expect(400);
    assert_eq!(recreated.header("x-ms-substatus"), "1024");
    world.send("DELETE", "/dbs/d", &[], "").await.expect(204);
    world.send("GET", "/dbs/d", &[], "").await.expect(404);
}

#[tokio::test]
async fn items_are_written_on_their_conditions() {
    let world = World::with_container().await;
    let created = world.create("a", &json!({"id": "1", "pk": "a", "n": 1})).await.expect(201);
    let etag = created.header("etag").to_owned();
    assert_eq!(created.json()["_etag"], etag.as_str());
    assert!(created.header("x-ms-request-charge").parse::<f64>().unwrap() > 1.0);
    assert!(created.header("x-ms-session-token").starts_with("0:"));
    world.create("a", &json!({"id": "1", "pk": "a"})).await.expect(409);
    let mismatch = world.create("b", &json!({"id": "2", "pk": "a"})).await.expect(400);
    assert_eq!(mismatch.header("x-ms-substatus"), "1001");

    let key = ("x-ms-documentdb-partitionkey", r#"["a"]"#);
    let item = "/dbs/d/colls/c/docs/1";
    let body = r#"{"id":"1","pk":"a","n":2}"#;
    world.send("PUT", item, &[key, ("if-match", "\"other\"")], body).await.expect(412);
    let replaced = world.send("PUT", item, &[key, ("if-match", &etag)], body).await.expect(200);
    let quiet = [key, ("if-none-match", replaced.header("etag"))];
    world.send("GET", item, &quiet, "").await.expect(304);
    assert_eq!(world.send("GET", item, &[key], "").await.expect(200).json()["n"], 2);

    let upsert = ("x-ms-documentdb-is-upsert", "True");
    let items = "/dbs/d/colls/c/docs";
    world.send("POST", items, &[key, upsert, ("if-match", "\"other\"")], body).await.expect(412);
    world.send("POST", items, &[key, upsert, ("if-none-match", "*")], body).await.expect(412);
    let minimal = ("prefer", "return=minimal");
    let upserted = world.send("POST", items, &[key, upsert, minimal], body).await.expect(200);
    assert!(upserted.text.is_empty() && !upserted.header("etag").is_empty());
    world.send("POST", items, &[key, upsert], r#"{"id":"9","pk":"a"}"#).await.expect(201);

    world.send("DELETE", item, &[key, ("if-match", &etag)], "").await.expect(412);
    world.send("DELETE", item, &[key], "").await.expect(204);
    let missing = world.send("GET", item, &[key], "").await.expect(404);
    assert!(!missing.headers.contains_key("x-ms-substatus"));
}

#[tokio::test]
async fn binary_bodies_are_items_too() {
    let world = World::with_container().await;
    let body = [
        0x80, 0xed, 0x13, 0x03, 0x82, 0x69, 0x64, 0x86, 0x69, 0x74, 0x65, 0x6d, 0x2d, 0x31, 0x82, 0x70, 0x6b, 0x82,
        0x70, 0x31, 0x81, 0x76, 0x01,
    ];
    let headers = [("x-ms-documentdb-partitionkey", r#"["p1"]"#)];
    let created = world.send("POST", "/dbs/d/colls/c/docs", &headers, body.to_vec()).await.expect(201);
    assert_eq!((&created.json()["id"], &created.json()["v"]), (&json!("item-1"), &json!(1)));
    world.send("POST", "/dbs/d/colls/c/docs", &headers, body[..9].to_vec()).await.expect(400);
}

#[tokio::test]
async fn a_change_feed_is_paged_to_its_end_and_goes_on_from_there() {
    let world = World::with_container().await;
    let feed = ("a-im", "Incremental feed");
    let range = ("x-ms-documentdb-partitionkeyrangeid", "0");
    let two = ("x-ms-max-item-count", "2");
    let docs = "/dbs/d/colls/c/docs/";
    let empty = world.send("GET", docs, &[feed, range], "").await.expect(304);
    assert_eq!((empty.header("etag"), empty.header("x-ms-item-count")), ("\"0\"", "0"));
    for id in ["1", "2", "3"] {
        world.create(id, &json!({"id": id, "pk": id})).await.expect(201);
    }
    let first = world.send("GET", docs, &[feed, range, two], "").await.expect(200);
    assert_eq!(first.ids(), ["1", "2"]);
    assert_eq!(first.json()["Documents"][1]["_lsn"], 2);
    let next = ("if-none-match", first.header("etag"));
    let second = world.send("GET", docs, &[feed, range, two, next], "").await.expect(200);
    assert_eq!(second.ids(), ["3"]);
    let end = ("if-none-match", second.header("etag"));
    let nothing = world.send("GET", docs, &[feed, range, end], "").await.expect(304);
    assert!(nothing.text.is_empty());
    assert_eq!((nothing.header("x-ms-session-token"), nothing.header("lsn")), ("0:-1#3", "3"));
    world.send("GET", docs, &[feed, range, ("if-none-match", "*")], "").await.expect(304);

    let one_key = [feed, ("x-ms-documentdb-partitionkey", r#"["2"]"#)];
    assert_eq!(world.send("GET", docs, &one_key, "").await.expect(200).ids(), ["2"]);
    let format = ("x-ms-cosmos-changefeed-wire-format-version", "2021-09-15");
    let envelopes = world.send("GET", docs, &[feed, range, two, format], "").await.expect(200).json();
    assert_eq!(envelopes["Documents"][0]["current"]["id"], "1");
    assert_eq!(envelopes["Documents"][0]["metadata"]["lsn"], 1);
    let gone = world.send("GET", docs, &[feed, ("x-ms-documentdb-partitionkeyrangeid", "7")], "").await.expect(410);
    assert_eq!(gone.header("x-ms-substatus"), "1002");
    world.send("GET", docs, &[feed, range, ("if-none-match", "\"99\"")], "").await.expect(400);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let world = World::with_container().await;
    world.create("a", &json!({"id": "1", "pk": "a"})).await.expect(201);
    let headers = [("x-ms-documentdb-partitionkey", r#"["a"]"#), ("x-ms-cosmos-is-batch-request", "True")];
    let batch = |operations: Value| world.send("POST", "/dbs/d/colls/c/docs", &headers, operations.to_string());
    let statuses = |answer: Answer| {
        let results = answer.json().as_array().unwrap().clone();
        results.iter().map(|result| result["statusCode"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let refused = batch(json!([
        {"operationType": "Create", "resourceBody": {"id": "2", "pk": "a"}},
        {"operationType": "Create", "resourceBody": {"id": "1", "pk": "a"}},
    ]));
    assert_eq!(statuses(refused.await.expect(207)), [424, 409]);
    assert_eq!(world.query("SELECT * FROM c", "a", &[]).await.ids(), ["1"]);
    let done = batch(json!([
        {"operationType": "Upsert", "resourceBody": {"id": "1", "pk": "a", "n": 1}},
        {"operationType": "Upsert", "resourceBody": {"id": "2", "pk": "a"}},
        {"operationType": "Delete", "id": "1"},
    ]));
    assert_eq!(statuses(done.await.expect(200)), [200, 201, 204]);
    batch(json!([])).await.expect(400);
}

#[tokio::test]
async fn a_query_is_paged_and_what_it_cannot_do_is_named() {
    let world = World::with_container().await;
    for n in 0..5 {
        world.create("a", &json!({"id": n.to_string(), "pk": "a", "n": n})).await.expect(201);
    }
    let two = ("x-ms-max-item-count", "2");
    let text = "SELECT * FROM c WHERE c.n > 0 ORDER BY c.n DESC";
    let first = world.query(text, "a", &[two]).await.expect(200);
    assert_eq!(first.ids(), ["4", "3"]);
    let second = world.query(text, "a", &[two, ("x-ms-continuation", first.header("x-ms-continuation"))]).await;
    assert_eq!(second.ids(), ["2", "1"]);
    let refused = world.query("SELECT udf.f(c) FROM c", "a", &[]).await.expect(400).json();
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("user-defined functions") && message.contains("column 8"), "{message}");
}

#[tokio::test]
async fn partitions_are_a_feed_that_ends() {
    let world = World::with_container().await;
    let first = world.send("GET", "/dbs/d/colls/c/pkranges", &[("a-im", "Incremental Feed")], "").await.expect(200);
    let ranges = first.json()["PartitionKeyRanges"].as_array().unwrap().clone();
    assert_eq!((ranges.len(), &ranges[0]["minInclusive"], &ranges[0]["maxExclusive"]), (1, &json!(""), &json!("FF")));
    let seen = [("if-none-match", first.header("etag"))];
    world.send("GET", "/dbs/d/colls/c/pkranges", &seen, "").await.expect(304);
}

#[tokio::test]
async fn failures_and_time_can_be_ordered() {
    let world = World::with_container().await;
    world.create("a", &json!({"id": "1", "pk": "a", "ttl": 60})).await.expect(201);
    let failure = json!({"next": 1, "status": 429, "subStatus": 3200, "retryAfterMs": 5}).to_string();
    world.send("POST", "/_feedmill/fail", &[], failure).await.expect(204);
    let key = [("x-ms-documentdb-partitionkey", r#"["a"]"#)];
    let throttled = world.send("GET", "/dbs/d/colls/c/docs/1", &key, "").await.expect(429);
    assert_eq!(throttled.header("x-ms-retry-after-ms"), "5");
    world.send("GET", "/dbs/d/colls/c/docs/1", &key, "").await.expect(200);
    world.send("POST", "/_feedmill/clock", &[], r#"{"advanceSeconds":61}"#).await.expect(200);
    world.send("GET", "/dbs/d/colls/c/docs/1", &key, "").await.expect(404);
}

#[tokio::test]
async fn malformed_requests_are_the_clients_fault() {
    let world = World::with_container().await;
    let docs = "/dbs/d/colls/c/docs";
    let key = ("x-ms-documentdb-partitionkey", r#"["a"]"#);
    for (method, path, headers, body) in [
        ("POST", docs, vec![key], "{"),
        ("POST", docs, vec![key], "[]"),
        ("POST", docs, vec![key], r#"{"pk":"a"}"#),
        ("POST", docs, vec![key], r#"{"id":"a/b","pk":"a"}"#),
        ("POST", docs, vec![key], "\u{fffd}\0"),
        ("POST", docs, vec![("x-ms-documentdb-partitionkey", "a")], r#"{"id":"1","pk":"a"}"#),
        ("POST", docs, vec![key, ("x-ms-documentdb-isquery", "true")], "SELECT 1"),
        ("POST", docs, vec![key, ("x-ms-documentdb-isquery", "true")], r#"{"query":"SELEC"}"#),
        ("POST", docs, vec![key, ("x-ms-cosmos-is-batch-request", "true")], r#"[{"operationType":"Fly"}]"#),
        ("GET", docs, vec![("a-im", "Nonsense")], ""),
        ("GET", docs, vec![key, ("x-ms-max-item-count", "zero")], ""),
        ("GET", docs, vec![key, ("x-ms-continuation", "nonsense")], ""),
        ("GET", "/dbs/d/colls/c/docs/1", vec![], ""),
        ("POST", "/dbs", vec![], "{}"),
        ("POST", "/dbs", vec![], "null"),
        ("POST", "/dbs/d/colls", vec![], "{}"),
        ("POST", "/dbs/d/colls", vec![("x-ms-offer-throughput", "many")], "{}"),
        ("PUT", "/offers/x", vec![], "{}"),
        ("BREW", "/dbs", vec![], ""),
        ("GET", "/nothing", vec![], ""),
    ] {
        let answer = world.send(method, path, &headers, body).await;
        let malformed = (400..500).contains(&answer.status) || answer.status == 207;
        assert!(malformed, "{method} {path} {headers:?} {body}: {answer:?}");
    }
    assert_eq!(world.query("SELECT * FROM c", "a", &[]).await.ids(), [""; 0]);
}

#[tokio::test]
async fn a_change_feed_goes_on_through_a_split_and_a_merge() {
    let world = World::with_container().await;
    let (feed, docs) = (("a-im", "Incremental feed"), "/dbs/d/colls/c/docs");
    for n in 0..20 {
        world.create(&n.to_string(), &json!({"id": n.to_string(), "pk": n.to_string()})).await.expect(201);
    }
    let id = |id| ("x-ms-documentdb-partitionkeyrangeid", id);
    let whole = world.send("GET", docs, &[feed, id("0"), ("x-ms-max-item-count", "5")], "").await.expect(200);
    let position = ("if-none-match", whole.header("etag"));
    let offers = world.send("GET", "/offers", &[], "").await.expect(200).json();
    let mut offer = offers["Offers"][0].clone();
    offer["content"]["offerThroughput"] = json!(13_000);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    world.send("PUT", &path, &[], offer.to_string()).await.expect(200);

    let gone = world.send("GET", docs, &[feed, id("0"), position], "").await.expect(410);
    assert_eq!(gone.header("x-ms-substatus"), "1002");
    let ranges = world.send("GET", "/dbs/d/colls/c/pkranges", &[], "").await.expect(200).json();
    let ranges = ranges["PartitionKeyRanges"].as_array().unwrap();
    assert!(ranges.len() == 2 && ranges.iter().all(|range| range["parents"] == json!(["0"])), "{ranges:?}");
    let mut seen = whole.ids();
    for range in ranges {
        let child = world.send("GET", docs, &[feed, id(range["id"].as_str().unwrap()), position], "").await.expect(200);
        seen.extend(child.ids());
    }
    seen.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(seen, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "each once");

    let both = json!({"low": ranges[0]["id"], "high": ranges[1]["id"]}).to_string();
    let merged = world.send("POST", "/_feedmill/merge/d/c", &[], both).await.expect(200).json();
    let merged = merged["partitions"][0]["id"].as_str().unwrap().to_owned();
    let mut seen = whole.ids();
    for range in ranges {
        let bounds = [
            feed,
            position,
            id(&merged),
            ("x-ms-start-epk", range["minInclusive"].as_str().unwrap()),
            ("x-ms-end-epk", range["maxExclusive"].as_str().unwrap()),
            ("x-ms-read-key-type", "EffectivePartitionKeyRange"),
        ];
        seen.extend(world.send("GET", docs, &bounds, "").await.expect(200).ids());
    }
    seen.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(seen.len(), 20, "{seen:?}");
}

#[tokio::test]
async fn a_query_asks_each_partition_by_itself() {
    let world = World::with_container().await;
    for n in 0..20 {
        world.create(&n.to_string(), &json!({"id": n.to_string(), "pk": n.to_string(), "n": n})).await.expect(201);
    }
    let split = world.send("POST", "/_feedmill/split/d/c", &[], r#"{"id":"0"}"#).await.expect(200).json();
    let mut seen = Vec::new();
    for partition in split["partitions"].as_array().unwrap() {
        let range = [
            ("x-ms-documentdb-isquery", "True"),
            ("x-ms-documentdb-partitionkeyrangeid", partition["id"].as_str().unwrap()),
            ("x-ms-max-item-count", "3"),
        ];
        let body = json!({"query": "SELECT * FROM c WHERE c.n >= 2 ORDER BY c.n"}).to_string();
        let mut continuation = String::new();
        loop {
            let headers = [&range[..], &[("x-ms-continuation", continuation.as_str())]].concat();
            let page = world.send("POST", "/dbs/d/colls/c/docs", &headers, body.clone()).await.expect(200);
            seen.extend(page.ids());
            let Some(next) = page.headers.get("x-ms-continuation") else { break };
            continuation = next.to_str().unwrap().to_owned();
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 18, "{seen:?}");
}

#[tokio::test]
async fn a_query_plan_says_what_to_ask_of_each_partition() {
    let world = World::with_container().await;
    let headers = [("x-ms-cosmos-is-query-plan-request", "True"), ("x-ms-documentdb-isquery", "True")];
    let body = json!({"query": "SELECT * FROM c ORDER BY c.n DESC"}).to_string();
    let plan = world.send("POST", "/dbs/d/colls/c/docs", &headers, body).await.expect(200).json();
    assert_eq!(plan["queryInfo"]["orderBy"], json!(["Descending"]));
    let rewritten = plan["queryInfo"]["rewrittenQuery"].as_str().unwrap();
    assert!(
        rewritten.starts_with("SELECT c._rid, [{\"item\": c[\"n\"]}] AS orderByItems, c AS payload"),
        "{rewritten}"
    );
    assert_eq!(plan["queryRanges"][0]["max"], "FF");
}

#[tokio::test]
async fn reads_and_refusals_say_how_far_their_partition_is() {
    let world = World::with_container().await;
    world.create("k", &json!({"id": "a", "pk": "k"})).await.expect(201);
    world.create("k", &json!({"id": "b", "pk": "k"})).await.expect(201);
    let key = ("x-ms-documentdb-partitionkey", r#"["k"]"#);
    let path = "/dbs/d/colls/c/docs/a";
    let read = world.send("GET", path, &[key], "").await.expect(200);
    assert_eq!((read.header("x-ms-session-token"), read.header("x-ms-item-lsn")), ("0:-1#2", "1"));
    let missing = world.send("GET", "/dbs/d/colls/c/docs/none", &[key], "").await.expect(404);
    assert_eq!((missing.header("x-ms-session-token"), missing.header("lsn")), ("0:-1#2", "2"));
    let taken = world.create("k", &json!({"id": "a", "pk": "k"})).await.expect(409);
    assert_eq!(taken.header("x-ms-session-token"), "0:-1#2");

    let ahead = world.send("GET", path, &[key, ("x-ms-session-token", "0:-1#3")], "").await.expect(404);
    assert_eq!(ahead.header("x-ms-substatus"), "1002");
    world.send("GET", path, &[key, ("x-ms-session-token", "0:-1#2,7:-1#9")], "").await.expect(200);
    let partial = [("x-ms-documentdb-partitionkey", r#"["k","l"]"#)];
    let partial = world.send("GET", path, &partial, "").await.expect(400);
    assert_eq!(partial.header("x-ms-substatus"), "1001");
}

#[tokio::test]
async fn a_quorum_read_costs_twice() {
    let world = World::with_container().await;
    world.create("k", &json!({"id": "a", "pk": "k"})).await.expect(201);
    let key = ("x-ms-documentdb-partitionkey", r#"["k"]"#);
    let charge = async |more: &[(&str, &str)]| {
        let read = world.send("GET", "/dbs/d/colls/c/docs/a", &[&[key], more].concat(), "").await.expect(200);
        read.header("x-ms-request-charge").parse::<f64>().unwrap()
    };
    let session = charge(&[]).await;
    assert_eq!(charge(&[("x-ms-cosmos-read-consistency-strategy", "LatestCommitted")]).await, 2.0 * session);
    assert_eq!(charge(&[("x-ms-consistency-level", "Strong")]).await, 2.0 * session);
    assert_eq!(charge(&[("x-ms-consistency-level", "Eventual")]).await, session);
}

#[tokio::test]
async fn patches_change_parts_of_a_document_on_its_conditions() {
    let world = World::with_container().await;
    let made = world.create("k", &json!({"id": "a", "pk": "k", "n": 1})).await.expect(201);
    let patch = async |headers: &[(&str, &str)], body: Value| {
        let headers = [&[("x-ms-documentdb-partitionkey", r#"["k"]"#)], headers].concat();
        world.send("PATCH", "/dbs/d/colls/c/docs/a", &headers, body.to_string()).await
    };
    let add = json!({"operations": [{"op": "incr", "path": "/n", "value": 2}]});
    let patched = patch(&[("if-match", made.header("etag"))], add.clone()).await.expect(200);
    assert_eq!((&patched.json()["n"], &patched.json()["_rid"]), (&json!(3), &made.json()["_rid"]));
    patch(&[("if-match", made.header("etag"))], add.clone()).await.expect(412);
    patch(&[], json!({"operations": [], "condition": "FROM c"})).await.expect(400);
    let conditional = json!({"operations": add["operations"], "condition": "FROM c WHERE c.n = 1"});
    patch(&[], conditional).await.expect(412);
    let missing =
        world.send("PATCH", "/dbs/d/colls/c/docs/b", &[("x-ms-documentdb-partitionkey", r#"["k"]"#)], add.to_string());
    missing.await.expect(404);
}

#[tokio::test]
async fn a_batch_reads_what_it_has_written_and_patches_it() {
    let world = World::with_container().await;
    world.create("k", &json!({"id": "old", "pk": "k", "n": 1})).await.expect(201);
    let headers = [("x-ms-cosmos-is-batch-request", "True"), ("x-ms-documentdb-partitionkey", r#"["k"]"#)];
    let incr = json!({"operations": [{"op": "incr", "path": "/n", "value": 1}]});
    let batch = json!([
        {"operationType": "Read", "id": "old"},
        {"operationType": "Patch", "id": "old", "resourceBody": incr},
        {"operationType": "Upsert", "resourceBody": {"id": "new", "pk": "k", "n": 7}},
        {"operationType": "Patch", "id": "new", "resourceBody": incr},
        {"operationType": "Read", "id": "new"},
    ]);
    let answer = world.send("POST", "/dbs/d/colls/c/docs", &headers, batch.to_string()).await.expect(200).json();
    let numbers: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["resourceBody"]["n"].clone()).collect();
    assert_eq!(numbers, [1, 2, 7, 8, 8]);
    let statuses: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["statusCode"].clone()).collect();
    assert_eq!(statuses, [200, 200, 201, 200, 200]);

    let batch = json!([
        {"operationType": "Delete", "id": "new"},
        {"operationType": "Read", "id": "new"},
    ]);
    let answer = world.send("POST", "/dbs/d/colls/c/docs", &headers, batch.to_string()).await.expect(207).json();
    assert_eq!((&answer[0]["statusCode"], &answer[1]["statusCode"]), (&json!(424), &json!(404)));
}

#[tokio::test]
async fn a_plan_that_the_client_cannot_carry_out_is_refused() {
    let world = World::with_container().await;
    let plan = async |able: &str, text: &str| {
        let headers = [
            ("x-ms-documentdb-isquery", "True"),
            ("x-ms-cosmos-is-query-plan-request", "True"),
            ("x-ms-cosmos-supported-query-features", able),
        ];
        world.send("POST", "/dbs/d/colls/c/docs", &headers, json!({"query": text}).to_string()).await
    };
    let count = "SELECT VALUE COUNT(1) FROM c";
    plan("OrderBy, Aggregate", count).await.expect(200);
    plan("OrderBy,Top", count).await.expect(400);
    plan("Aggregate", "SELECT TOP 1 * FROM c ORDER BY c.n").await.expect(400);
}

#[tokio::test]
async fn an_ordered_query_goes_on_from_a_point_of_its_order() {
    let world = World::with_container().await;
    for (id, n) in [("z", 1), ("y", 2), ("x", 2), ("w", 3)] {
        world.create("k", &json!({"id": id, "pk": "k", "n": n})).await.expect(201);
    }
    let query = async |text: &str, resume: Option<Value>| {
        let headers = [("x-ms-documentdb-isquery", "True"), ("x-ms-documentdb-partitionkeyrangeid", "0")];
        let mut body = json!({"query": text});
        if let Some(resume) = resume {
            body["resumeFilter"] = resume;
        }
        world.send("POST", "/dbs/d/colls/c/docs", &headers, body.to_string()).await
    };
    let ascending = "SELECT * FROM c ORDER BY c.n";
    let all = query(ascending, None).await.expect(200);
    // What ties is in the order in which it was made, as clients expect.
    assert_eq!(all.ids(), ["z", "y", "x", "w"]);
    assert_eq!(query("SELECT * FROM c ORDER BY c.n DESC", None).await.ids(), ["w", "x", "y", "z"]);
    let rid = all.json()["Documents"][1]["_rid"].clone();
    let from = |exclude: bool| json!({"value": [2], "rid": rid, "exclude": exclude});
    assert_eq!(query(ascending, Some(from(false))).await.expect(200).ids(), ["y", "x", "w"]);
    assert_eq!(query(ascending, Some(from(true))).await.expect(200).ids(), ["x", "w"]);
    let descending = query("SELECT * FROM c ORDER BY c.n DESC", Some(from(true))).await.expect(200);
    assert_eq!(descending.ids(), ["z"]);
    assert_eq!(query(ascending, Some(json!({"value": [2], "exclude": true}))).await.expect(200).ids(), ["w"]);
    query(ascending, Some(json!({"value": [1, 2]}))).await.expect(400);
    query(ascending, Some(json!({"value": [{"a": 1}]}))).await.expect(400);
    query("SELECT DISTINCT VALUE c.n FROM c ORDER BY c.n", Some(json!({"value": [2]}))).await.expect(400);
    let unknown = json!({"query": ascending, "frobnicate": 1}).to_string();
    world.send("POST", "/dbs/d/colls/c/docs", &[("x-ms-documentdb-isquery", "True")], unknown).await.expect(400);
}
