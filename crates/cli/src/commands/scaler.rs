use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_scaler::{Listening, ScalerError};
use feedmill_telemetry::start_tracing;

use crate::error::{Failure, Result};
use crate::operating::operator;
use crate::progress::Screen;
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// Tells KEDA how many replicas are wanted, by the lag of all leases, until stopped
///
/// Serves KEDA's external scaler protocol (gRPC, without TLS). A trigger's metadata say unit (changes or seconds), target (of that
/// unit, for each replica), activation (up to which none is wanted) and processor (one instead of all). A lag that cannot be
/// measured is an error, never 0; where there is no lease yet, one replica is wanted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill scaler --address 0.0.0.0 --endpoint https://name.documents.azure.com")]
pub(crate) struct Args {
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 4050)]
    port: u16,

    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let screen = Screen::new();
    let stop = stop_on_signals()?;
    let _traces = start_tracing(&settings.telemetry, screen.log_writer())?;
    let listening = Listening::bind(SocketAddr::new(args.address, args.port)).await?;
    let operator = tokio::select! {
        operator = operator(settings) => operator?,
        () = stop.cancelled() => return Ok(()),
    };
    // On stdout, because whoever started us with port 0 reads it there.
    writeln!(io::stdout(), "{}", listening.address())?;
    io::stdout().flush()?;
    Ok(listening.serve(Arc::new(operator), Arc::new(SystemClock), stop).await?)
}

impl From<ScalerError> for Failure {
    fn from(error: ScalerError) -> Self {
        Self::failed(error, "another --port PORT; 0 takes a free one")
    }
}
