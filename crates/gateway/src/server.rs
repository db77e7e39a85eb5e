use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::timeout;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{Counted, Waiting, collect};
use crate::fault::Fault;
use crate::reply::Reply;
use crate::{Gateway, Identity, metrics};

/// How often it is looked whether a connection's replies are taken.
const LOOK: Duration = Duration::from_secs(5);

/// Bytes of a request's head, as much as servers commonly take; the longest header is a continuation.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// After `stop`, requests under way have this long.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("serve Cosmos on {address}: the port is in use")]
    InUse { address: SocketAddr },
    #[error("serve Cosmos on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// A listener, bound but not yet answering: HTTP/1.1 and HTTP/2, with TLS or without.
///
/// Memory is bounded by connections, by requests of a connection and by bytes of replies that nobody has taken; see
/// [`crate::Options`].
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    identity: Option<Identity>,
}

impl Server {
    /// With an identity, over TLS only.
    pub async fn bind(address: SocketAddr, identity: Option<Identity>) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse { address },
            _ => ServeError::Listen { address, source },
        })?;
        let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
        Ok(Self { listener, address, identity })
    }

    /// Where it listens; differs from what was asked where that was port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As clients write it.
    pub fn endpoint(&self) -> String {
        format!("{}://{}/", if self.identity.is_some() { "https" } else { "http" }, self.address)
    }

    /// Answers until `stop`, then lets requests under way finish.
    pub async fn serve(self, gateway: Gateway, stop: CancellationToken) {
        metrics::describe();
        let options = gateway.options();
        let room = Arc::new(Semaphore::new(options.replies_bytes_max));
        let places = Arc::new(Semaphore::new(options.connections_max));
        let acceptor = self.identity.as_ref().map(Identity::acceptor);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.listener, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Such as too many open files: it goes away when connections do.
                    tracing::warn!(%error, "a connection could not be accepted");
                    gateway.clock().sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = Connection {
                gateway: gateway.clone(),
                room: Arc::clone(&room),
                waiting: Waiting::default(),
                stop: stop.clone(),
                scheme: if acceptor.is_some() { "https" } else { "http" },
            };
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                metrics::connections(1.0);
                connection.run(stream, acceptor).await;
                metrics::connections(-1.0);
                drop(place);
            });
        }
        drop(self.listener);
        connections.close();
        timeout(gateway.clock(), DRAIN, connections.wait()).await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Replies are small and somebody waits for each.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

#[derive(Clone)]
struct Connection {
    gateway: Gateway,
    room: Arc<Semaphore>,
    waiting: Waiting,
    stop: CancellationToken,
    scheme: &'static str,
}

impl Connection {
    async fn run(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        let Some(acceptor) = acceptor else { return self.speak(stream).await };
        let limit = self.gateway.options().read_timeout;
        match timeout(self.gateway.clock(), limit, acceptor.accept(stream)).await {
            Some(Ok(stream)) => self.speak(stream).await,
            Some(Err(error)) => tracing::debug!(%error, "a client did not agree on TLS"),
            None => tracing::debug!("a client did not finish its TLS greeting"),
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let options = self.gateway.options();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(options.read_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(options.streams_max)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(options.read_timeout);
        let this = self.clone();
        let service = service_fn(move |request| {
            let this = this.clone();
            async move { this.answer(request).await }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "a connection ended early");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.gateway.clock().sleep(LOOK) => {
                    if self.waiting.stalled(self.gateway.clock().monotonic(), options.write_timeout) {
                        metrics::stalled();
                        tracing::debug!("a connection is closed: nobody takes its replies");
                        return;
                    }
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Counted>, Infallible> {
        let (options, clock) = (self.gateway.options(), self.gateway.clock());
        let (mut parts, body) = request.into_parts();
        // HTTP/2 has the host in the URI.
        if let Some(host) = parts.uri.authority().and_then(|host| host.as_str().parse().ok()) {
            parts.headers.entry(http::header::HOST).or_insert(host);
        }
        let response = match collect(body, options.body_bytes_max, options.read_timeout, clock).await {
            Ok(body) => self.gateway.respond(Request::from_parts(parts, body), self.scheme).await,
            Err(fault) => Reply::from(fault).into_response(),
        };
        Ok(self.counted(response))
    }

    /// The response with its share of the memory that replies may have; where none is left, a short one.
    fn counted(&self, response: Response<Bytes>) -> Response<Counted> {
        let now = self.gateway.clock().monotonic();
        let bytes = u32::try_from(response.body().len()).unwrap_or(u32::MAX);
        let (response, room) = match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(room) => (response, room),
            Err(_) => {
                let fault = Fault::throttled("too many replies wait to be taken", 1_000);
                let none = Arc::new(Semaphore::new(1));
                let none = none.try_acquire_many_owned(0).expect("nothing is always there");
                (Reply::from(fault).into_response(), none)
            }
        };
        response.map(|body| Counted::new(body, room, &self.waiting, now))
    }
}
