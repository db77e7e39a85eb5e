//! Requests as an SDK sends them, without an SDK: one connection each, one request after another.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use feedmill_clock::{Clock, SystemClock};
use hdrhistogram::Histogram;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Before this nothing counts.
const WARM_UP: Duration = Duration::from_millis(500);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is asked again and again. Signed once: a signature is good for a quarter of an hour.
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Asked {
    /// `key` in base 64; `kind` and `link` are what the signature is over.
    pub fn signed(method: Method, path: &str, (kind, link): (&str, &str), key: &str) -> Result<Self, Failure> {
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&SystemClock.now())?;
        let text = format!("{}\n{kind}\n{link}\n{}\n\n", method.as_str().to_lowercase(), date.to_lowercase());
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key)?)?;
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let authorization = format!("type=master&ver=1.0&sig={signature}");
        let headers = vec![
            ("x-ms-date", date),
            ("x-ms-version", "2020-07-15".to_owned()),
            ("authorization", utf8_percent_encode(&authorization, NON_ALPHANUMERIC).to_string()),
        ];
        Ok(Self { method, path: path.to_owned(), headers })
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What one request has beside what all have: header and body, from its number.
pub type Particular = dyn Fn(u64) -> (Option<(&'static str, String)>, Bytes) + Send + Sync;

/// How it went.
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Asks `address` on `connections` at once for `time`. Fails at the first reply that is not one of success.
pub async fn load(
    address: &str,
    connections: usize,
    time: Duration,
    asked: Arc<Asked>,
    particular: Arc<Particular>,
) -> Result<Measured, Failure> {
    let began = SystemClock.monotonic();
    let mut running = JoinSet::new();
    for connection in 0..connections {
        let (asked, particular, address) = (Arc::clone(&asked), Arc::clone(&particular), address.to_owned());
        let first = (connection as u64) << 40;
        running.spawn(async move { one(&address, first, began + WARM_UP, time, &asked, &*particular).await });
    }
    let mut all = histogram()?;
    while let Some(one) = running.join_next().await {
        all.add(one??)?;
    }
    let at = |quantile| Duration::from_nanos(all.value_at_quantile(quantile));
    Ok(Measured { per_second: all.len() as f64 / time.as_secs_f64(), p50: at(0.5), p99: at(0.99) })
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(100, 60_000_000_000, 3)?)
}

async fn one(
    address: &str,
    first: u64,
    from: feedmill_clock::Monotonic,
    time: Duration,
    asked: &Asked,
    particular: &Particular,
) -> Result<Histogram<u64>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut times = histogram()?;
    for number in first.. {
        let (header, body) = particular(number);
        let mut request = Request::builder().method(asked.method.clone()).uri(&asked.path).header("host", address);
        for (name, value) in
            asked.headers.iter().map(|(name, value)| (name, value)).chain(header.iter().map(|(n, v)| (n, v)))
        {
            request = request.header(*name, value);
        }
        let sent = SystemClock.monotonic();
        let reply = sender.send_request(request.body(Full::new(body))?).await?;
        let status = reply.status();
        let text = reply.into_body().collect().await?.to_bytes();
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            return Err(format!("{} {}: {status} {}", asked.method, asked.path, String::from_utf8_lossy(&text)).into());
        }
        let now = SystemClock.monotonic();
        if now >= from + time {
            return Ok(times);
        }
        if sent >= from {
            times.saturating_record(u64::try_from(now.since(sent).as_nanos())?);
        }
    }
    Ok(times)
}
