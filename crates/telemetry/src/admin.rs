use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Metrics, Probe};

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody else listens there.
    #[error("serve the admin endpoint on {address}: the port is in use")]
    InUse { address: SocketAddr },
    #[error("serve the admin endpoint on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// What the two probes ask. Clones are one.
#[derive(Clone)]
pub struct Probes {
    /// `/livez`: no means that only a restart helps. Yes at first.
    pub live: Probe,
    /// `/readyz`: no means that nothing is done now, for whatever reason. No at first.
    pub ready: Probe,
}

impl Default for Probes {
    fn default() -> Self {
        Self { live: Probe::yes(), ready: Probe::no("starting") }
    }
}

/// The HTTP endpoint for probes and scrapers, bound but not yet answering.
///
/// Binding is a step of its own so that a port in use is found out before any work begins.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Listen { address, source },
        })?;
        let address = listener.local_addr().map_err(|source| AdminError::Listen { address, source })?;
        Ok(Self { listener, address })
    }

    /// Where it listens; differs from what was asked where that was port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn serve(self, metrics: Metrics, probes: Probes, stop: CancellationToken) -> Result<(), AdminError> {
        let address = self.address;
        axum::serve(self.listener, router(metrics, probes))
            .with_graceful_shutdown(stop.cancelled_owned())
            .into_future()
            .await
            .map_err(|source| AdminError::Listen { address, source })
    }
}

fn router(metrics: Metrics, probes: Probes) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|State(probe): State<Probe>| async move { answer(&probe, "live\n") }).with_state(probes.live),
        )
        .route(
            "/readyz",
            get(|State(probe): State<Probe>| async move { answer(&probe, "ready\n") }).with_state(probes.ready),
        )
        .route("/metrics", get(scrape).with_state(metrics))
}

fn answer(probe: &Probe, yes: &'static str) -> (StatusCode, String) {
    match probe.ask() {
        Ok(()) => (StatusCode::OK, yes.to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Family, FamilyKind, Sample};

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: feedmill\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn probes_and_scrapers_are_answered_until_stopped() {
        let admin = Admin::bind(LOOPBACK).await.unwrap();
        let (address, probes, stop) = (admin.address(), Probes::default(), CancellationToken::new());
        let metrics = Metrics::start().unwrap();
        let serving = tokio::spawn(admin.serve(metrics.clone(), probes.clone(), stop.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let not_yet = get(address, "/readyz").await;
        assert!(not_yet.starts_with("HTTP/1.1 503") && not_yet.ends_with("starting\n"), "{not_yet}");
        probes.ready.answer(|| Ok(()));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        probes.live.answer(|| Err("it hangs".to_owned()));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 503"));
        metrics::counter!("feedmill_telemetry_test_total").increment(3);
        metrics::histogram!("feedmill_telemetry_test_seconds").record(0.3);
        metrics.ask(|| {
            let samples = vec![Sample { labels: vec![("range", "-FF".to_owned())], value: 7.0 }];
            vec![Family { name: "feedmill_telemetry_test", help: "asked", kind: FamilyKind::Gauge, samples }]
        });
        let scraped = get(address, "/metrics").await;
        assert!(scraped.contains("feedmill_telemetry_test_seconds_bucket{le=\"0.5\"} 1"), "{scraped}");
        assert!(scraped.contains("feedmill_telemetry_test{range=\"-FF\"} 7"), "{scraped}");
        assert!(scraped.contains("feedmill_telemetry_test_total 3"), "{scraped}");
        assert!(scraped.contains("feedmill_telemetry_panics_total 0"), "{scraped}");

        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_apart() {
        let first = Admin::bind(LOOPBACK).await.unwrap();
        let second = Admin::bind(first.address()).await;
        assert!(matches!(second, Err(AdminError::InUse { address }) if address == first.address()));
    }
}
