//! What is measured: our server, or one that answers without doing anything. In a process of its own either way.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::{Entropy, SystemClock};
use feedmill_gateway::{Gateway, Key, Server, ShiftedClock};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{ContainerSpec, Database, DocumentId, Operation, Order, PartitionKey, limits};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Failure, KEY, SIZES};

/// Documents of the one key that is queried in order.
const ORDERED: usize = 10_000;

/// Serves until the process is killed; says on stdout where.
pub(crate) async fn serve(kind: &str, folder: &Path) -> Result<(), Failure> {
    if kind == "canned" {
        return canned().await;
    }
    let clock = ShiftedClock::new(Arc::new(SystemClock));
    let options = feedmill_local_store::Options::default();
    let store = match kind {
        "memory" => LocalStore::memory(options, Arc::new(clock.clone())),
        _ => LocalStore::open(folder, options, Arc::new(clock.clone()))?,
    };
    fill(&*store.database("bench").await?).await?;
    let options = feedmill_gateway::Options { key: Key::parse(KEY)?, ..feedmill_gateway::Options::default() };
    let server = Server::bind(([127, 0, 0, 1], 0).into(), None).await?;
    say(&server.address().to_string())?;
    let gateway = Gateway::open(store, options, clock, Entropy::from_os()?).await?;
    server.serve(gateway, CancellationToken::new()).await;
    Ok(())
}

fn say(address: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    Ok(stdout.flush()?)
}

/// Reads what it is sent and says that it is created.
async fn canned() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?.to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let reply = Response::builder().status(StatusCode::CREATED).header("x-ms-request-charge", "6.29");
                Ok::<_, Infallible>(reply.body(Full::new(body)).unwrap_or_default())
            });
            // Whoever measures closes connections as it likes.
            let _closed =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// Containers to write to, to read the feeds of, and to query.
async fn fill(database: &dyn Database) -> Result<(), Failure> {
    database.provision(&ContainerSpec::new("items", "/k").partitions(1)).await?;
    for size in SIZES {
        let name = format!("feed{size}");
        database.provision(&ContainerSpec::new(&name, "/k").partitions(1)).await?;
        put(database, &name, size, &|n| format!("k{}", n / limits::BATCH_OPERATIONS_MAX)).await?;
    }
    let ordered = ContainerSpec::new("ordered", "/k").partitions(1);
    let ordered = ordered.composite_index(&[("/k", Order::Ascending), ("/n", Order::Descending)]);
    database.provision(&ordered).await?;
    put(database, "ordered", ORDERED, &|_| "p".to_owned()).await
}

/// Documents of 100 bytes, a hundred a commit.
async fn put(database: &dyn Database, name: &str, count: usize, key: &dyn Fn(usize) -> String) -> Result<(), Failure> {
    let container = database.container(name).await?;
    for first in (0..count).step_by(limits::BATCH_OPERATIONS_MAX) {
        let key = key(first);
        let operations = (first..count.min(first + limits::BATCH_OPERATIONS_MAX)).map(|n| {
            let body = Bytes::from(format!(r#"{{"id":"{n}","k":"{key}","n":{n},"text":"{:<50}"}}"#, "x"));
            Ok(Operation::Upsert { id: DocumentId::new(n.to_string())?, body })
        });
        let operations = operations.collect::<Result<Vec<_>, Failure>>()?;
        container.batch(&PartitionKey::from(key.as_str()), operations).await?;
    }
    Ok(())
}
