use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use feedmill_clock::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::lags::{Lags, Recent};
use crate::protocol::external_scaler_server::ExternalScalerServer;
use crate::service::Service;

/// Bytes of one question: a name, a namespace and a handful of keys.
const QUESTION_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ScalerError {
    #[error("listen on {address} for KEDA")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("answer KEDA on {address}")]
    Serve { address: SocketAddr, source: tonic::transport::Error },
}

/// Bound, but not yet answering: so a port in use is found out before any work begins.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    pub async fn bind(address: SocketAddr) -> Result<Self, ScalerError> {
        let listen = |source| ScalerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address })
    }

    /// Where it listens; differs from what was asked where that was port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, over HTTP/2 without TLS, as KEDA asks within a cluster.
    pub async fn serve(
        self,
        lags: Arc<dyn Lags>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<(), ScalerError> {
        let service = ExternalScalerServer::new(Service(Arc::new(Recent::new(lags, clock))))
            .max_decoding_message_size(QUESTION_BYTES_MAX);
        let address = self.address;
        Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(TcpIncoming::from(self.listener), stop.cancelled_owned())
            .await
            .map_err(|source| ScalerError::Serve { address, source })
    }
}

#[cfg(test)]
mod tests;
