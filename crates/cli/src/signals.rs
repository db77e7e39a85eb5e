use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, Result};

/// What a shell gives a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Cancelled by the first Ctrl-C or SIGTERM: an ordered stop. The second ends the process at once, which loses nothing but time:
/// what was not checkpointed is delivered again.
pub(crate) fn stop_on_signals() -> Result<CancellationToken> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(error, "signals cannot be received here"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            first.cancel();
            anstream::eprintln!("stopping in order; once more stops at once");
        }
    });
    Ok(stop)
}
