use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Metrics;

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Somebody else listens there.
    #[error("serve the admin endpoint on {address}: the port is in use")]
    InUse { address: SocketAddr },
    #[error("serve the admin endpoint on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// Whether `/readyz` says yes. Not ready at first; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
    pub async fn serve(
        self,
        metrics: Metrics,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Result<(), AdminError> {
        let address = self.address;
        axum::serve(self.listener, router(metrics, readiness))
            .with_graceful_shutdown(stop.cancelled_owned())
            .into_future()
            .await
            .map_err(|source| AdminError::Listen { address, source })
    }
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

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
        let (address, readiness, stop) = (admin.address(), Readiness::default(), CancellationToken::new());
        let serving = tokio::spawn(admin.serve(Metrics::start().unwrap(), readiness.clone(), stop.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        readiness.set(true);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        metrics::counter!("feedmill_telemetry_test_total").increment(3);
        let scraped = get(address, "/metrics").await;
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
