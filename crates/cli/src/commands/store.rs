use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use feedmill_clock::{Entropy, SystemClock};
use feedmill_gateway::{Gateway, Identity, Options, Server, ShiftedClock};
use feedmill_telemetry::start_tracing;

use crate::account;
use crate::error::{Failure, Result};
use crate::progress::Screen;
use crate::settings::Settings;
use crate::signals::stop_on_signals;
use crate::store;

/// Works on the embedded store itself
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Serve(Serve),
}

/// Serves the store to the SDKs of Azure Cosmos DB, until stopped
///
/// Every write is on disk before it is acknowledged. The account's key is the published one of the Cosmos emulators, so it keeps
/// nobody out: the server listens on this machine only unless --address says otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill store serve --data-dir ./store\n\
    Then connect with AccountEndpoint=http://127.0.0.1:8081/ and the emulators' AccountKey.")]
struct Serve {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8081)]
    port: u16,

    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,

    /// HTTPS with a certificate made at start, for localhost and 127.0.0.1
    #[arg(long)]
    tls: bool,

    /// Writes that certificate here, for clients that shall trust it
    #[arg(long, value_name = "FILE", requires = "tls")]
    certificate: Option<PathBuf>,

    /// Keeps everything in memory: gone with the process
    #[arg(long, conflicts_with = "data_dir")]
    memory: bool,
}

pub(crate) async fn run(args: Args, settings: Settings) -> Result<()> {
    match args.action {
        Action::Serve(args) => serve(args, settings).await,
    }
}

async fn serve(args: Serve, mut settings: Settings) -> Result<()> {
    let screen = Screen::new();
    let stop = stop_on_signals()?;
    let _traces = start_tracing(&settings.telemetry, screen.log_writer())?;
    if account::is_named(&settings) {
        let error = anyhow::anyhow!("an account is named, and only a store of our own can be served");
        return Err(Failure::misuse(error, "--data-dir DIR instead of --endpoint, or cosmos.endpoint=none"));
    }
    if args.memory {
        settings.store.data_dir = "none".to_owned();
    } else if store::folder(&settings).is_none() {
        let error = anyhow::anyhow!("no store is named");
        return Err(Failure::misuse(error, "--data-dir DIR, or --memory for one that is gone afterwards"));
    }
    let entropy = Entropy::from_os()
        .map_err(|error| Failure::failed(anyhow::Error::new(error).context("read chance"), "is /dev/urandom there?"))?;
    let identity = if args.tls { Some(identity(&args)?) } else { None };
    let server = Server::bind(SocketAddr::new(args.address, args.port), identity)
        .await
        .map_err(|error| Failure::failed(error, "another --port PORT; 0 takes a free one"))?;
    let clock = ShiftedClock::new(Arc::new(SystemClock));
    let store = store::open_whole(&settings, Arc::new(clock.clone()))?;
    let gateway = Gateway::open(store.clone(), Options::default(), clock, entropy).await?;
    // On stdout, because whoever started us with port 0 reads it there.
    writeln!(io::stdout(), "{}", server.endpoint())?;
    io::stdout().flush()?;
    server.serve(gateway, stop).await;
    store.close().await?;
    Ok(())
}

fn identity(args: &Serve) -> Result<Identity> {
    let identity = Identity::self_signed().map_err(|error| Failure::failed(error, "without --tls none is needed"))?;
    if let Some(path) = &args.certificate {
        std::fs::write(path, identity.certificate_pem()).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("write {}", path.display()));
            Failure::failed(error, "is there such a folder, and space in it?")
        })?;
    }
    Ok(identity)
}
