//! A server that says what the test tells it to, inside the client's own transport: no socket, no port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use azure_data_cosmos::CosmosRuntimeBuilder;
use azure_data_cosmos_driver::diagnostics::RequestSentStatus;
use azure_data_cosmos_driver::error::{CosmosError, status_codes};
use azure_data_cosmos_driver::test::{
    ConnectionPoolOptions, HttpClientConfig, HttpClientFactory, HttpRequest, HttpResponse, TransportClient,
    TransportError,
};
use azure_data_cosmos_driver::{CosmosDriverRuntimeBuilder, Result as DriverResult};
use feedmill_cosmos::{Account, AccountKey, Connection, Options};
use feedmill_store_api::Container;
use serde_json::{Value, json};

const ENDPOINT: &str = "http://127.0.0.1:1/";
pub(crate) const RID: &str = "AAAAAIAAAAA=";

/// What becomes of one request for data. Everything about the account and its containers is answered without being asked for.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The request went out, and nothing came back.
    Lost,
    /// Nobody was there.
    Unsent,
    Silence,
}

pub(crate) fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<String>) -> Line {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Line::Answer { status, headers, body: body.into() }
}

/// One request for data as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    requests: Vec<Request>,
    /// Ranges as bounds and parents, and how often they have changed.
    ranges: Vec<(String, String, Vec<String>)>,
    version: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Server(Arc<Mutex<State>>);

impl Server {
    /// A container of one partition.
    pub(crate) fn new() -> Self {
        let ranges = vec![(String::new(), "FF".to_owned(), Vec::new())];
        Self(Arc::new(Mutex::new(State { ranges, version: 1, ..State::default() })))
    }

    pub(crate) fn say(&self, lines: impl IntoIterator<Item = Line>) {
        self.0.lock().unwrap().lines.extend(lines);
    }

    /// Range 0 becomes 1 and 2.
    pub(crate) fn split(&self) {
        let mut state = self.0.lock().unwrap();
        let parents = vec!["0".to_owned()];
        state.ranges = vec![
            (String::new(), "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF".to_owned(), parents.clone()),
            ("1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF".to_owned(), "FF".to_owned(), parents),
        ];
        state.version += 1;
    }

    /// The requests for data so far, taken out.
    pub(crate) fn heard(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    pub(crate) async fn container(&self) -> Arc<dyn Container> {
        self.container_with(Options::default()).await
    }

    pub(crate) async fn container_with(&self, options: Options) -> Arc<dyn Container> {
        let factory = CosmosDriverRuntimeBuilder::new().with_mock_http_client_factory(Arc::new(self.clone()));
        let runtime = CosmosRuntimeBuilder::from(factory).build().await.unwrap();
        let options = Options { endpoint: ENDPOINT.to_owned(), ..options };
        let key = Some(AccountKey::from("a2V5".to_owned()));
        let account = Account::connect(Connection { options: &options, key, runtime: Some(runtime) }).await.unwrap();
        account.database("db").await.unwrap().container("posts").await.unwrap()
    }

    fn metadata(&self, method: &str, path: &str, if_none_match: Option<&str>) -> Option<Line> {
        let state = self.0.lock().unwrap();
        let etag = format!("\"{}\"", state.version);
        let ids = if state.ranges.len() == 1 { 0.. } else { 1.. };
        let body = match (method, path.trim_matches('/')) {
            ("GET", "") => json!({
                "_self": "", "id": "scripted", "_rid": "scripted",
                "writableLocations": [{ "name": "Here", "databaseAccountEndpoint": ENDPOINT }],
                "readableLocations": [{ "name": "Here", "databaseAccountEndpoint": ENDPOINT }],
            }),
            ("GET", "dbs/db") => json!({ "id": "db", "_rid": "AAAAAA==" }),
            ("GET", "dbs/db/colls/posts") => json!({
                "id": "posts", "_rid": RID,
                "partitionKey": { "paths": ["/postId"], "kind": "Hash", "version": 2 },
            }),
            ("GET", "dbs/db/colls/posts/pkranges") if if_none_match == Some(&etag) => {
                return Some(answer(304, &[("etag", &etag)], ""));
            }
            ("GET", "dbs/db/colls/posts/pkranges") => {
                let range = |(id, (min, max, parents)): (u32, &(String, String, Vec<String>))| {
                    json!({
                        "id": id.to_string(), "minInclusive": min, "maxExclusive": max,
                        "parents": parents, "status": "online",
                    })
                };
                let ranges: Vec<Value> = ids.zip(&state.ranges).map(range).collect();
                json!({ "_rid": RID, "PartitionKeyRanges": ranges, "_count": ranges.len() })
            }
            _ => return None,
        };
        Some(answer(200, &[("etag", &etag)], body.to_string()))
    }
}

impl HttpClientFactory for Server {
    fn build(&self, _: &ConnectionPoolOptions, _: HttpClientConfig) -> DriverResult<Arc<dyn TransportClient>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl TransportClient for Server {
    async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, TransportError> {
        let headers: Vec<(String, String)> =
            request.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())).collect();
        let heard = Request {
            method: request.method.to_string(),
            path: request.url.path().to_owned(),
            headers,
            body: String::from_utf8(request.body.clone().unwrap_or_default().to_vec()).unwrap_or("not text".to_owned()),
        };
        let line = match self.metadata(&heard.method, &heard.path, heard.header("if-none-match")) {
            Some(known) => known,
            None => {
                let mut state = self.0.lock().unwrap();
                let line = state.lines.pop_front().unwrap_or_else(|| panic!("nobody said what to answer to {heard:?}"));
                state.requests.push(heard);
                line
            }
        };
        let failed = |status, sent| {
            let error = CosmosError::builder().with_status(status).with_message("scripted").build();
            Err(TransportError::new(error, sent))
        };
        match line {
            Line::Answer { status, headers, body } => {
                let mut all = azure_core::http::headers::Headers::new();
                for (name, value) in headers {
                    all.insert(name, value);
                }
                Ok(HttpResponse { status, headers: all, body: body.into_bytes() })
            }
            Line::Lost => failed(status_codes::TRANSPORT_IO_FAILED, RequestSentStatus::Sent),
            Line::Unsent => failed(status_codes::TRANSPORT_CONNECTION_FAILED, RequestSentStatus::NotSent),
            Line::Silence => std::future::pending().await,
        }
    }
}
