use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_engine::{Engine, Lifetime, Summary};
use feedmill_telemetry::{Admin, Metrics, Probes, Traces, log_panics, start_tracing};
use futures::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Failure, Result};
use crate::figures;
use crate::progress::{Loading, Screen, watch};
use crate::settings::Settings;
use crate::signals::stop_on_signals;

/// Often enough that histograms nobody scrapes stay small.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a command needs that runs processors: clock, chance, logs, signals, probes.
pub(crate) struct Running {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) screen: Screen,
    /// Cancelled when somebody wants us to stop.
    pub(crate) stop: CancellationToken,
    probes: Probes,
    /// `None` where nobody asks.
    metrics: Option<Metrics>,
    /// The admin endpoint answers as long as this lives.
    _admin: DropGuard,
    _traces: Traces,
}

impl Running {
    pub(crate) async fn prepare(settings: &Settings) -> Result<Self> {
        let screen = Screen::new();
        // Before anything is said: whoever heard of us may stop us.
        let stop = stop_on_signals()?;
        let traces = start_tracing(&settings.telemetry, screen.log_writer())?;
        log_panics();
        let entropy = Entropy::from_os().map_err(|error| {
            Failure::failed(anyhow::Error::new(error).context("read chance"), "is /dev/urandom there?")
        })?;
        let (clock, probes, admin): (Arc<dyn Clock>, _, _) =
            (Arc::new(SystemClock), Probes::default(), CancellationToken::new());
        let metrics = match settings.telemetry.admin_port.0 {
            Some(port) => {
                let address = SocketAddr::new(settings.telemetry.admin_address, port);
                Some(serve_admin(address, clock.clone(), &probes, &admin, &screen).await?)
            }
            None => None,
        };
        Ok(Self { clock, entropy, screen, stop, probes, metrics, _admin: admin.drop_guard(), _traces: traces })
    }

    /// The readiness probe says yes as long as `work` lasts, which is no longer than the store does.
    pub(crate) async fn ready_while<T>(
        &self,
        failed: BoxFuture<'static, feedmill_store_api::Error>,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        self.probes.ready.answer(|| Ok(()));
        self.watched(failed, work).await
    }

    /// As [`Self::ready_while`], where somebody else says how ready we are meanwhile.
    async fn watched<T>(
        &self,
        failed: BoxFuture<'static, feedmill_store_api::Error>,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let done = tokio::select! {
            done = work => Ok(done),
            error = failed => {
                Err(Failure::failed(error, "nothing acknowledged is lost: the same command again goes on from there"))
            }
        };
        self.probes.live.answer(|| Ok(()));
        self.probes.ready.answer(|| Err("ending".to_owned()));
        done
    }

    /// Runs the engine to the end of its lifetime and shows how far it is meanwhile.
    pub(crate) async fn process(
        &self,
        engine: Engine,
        lifetime: Lifetime,
        failed: BoxFuture<'static, feedmill_store_api::Error>,
        loading: Option<&Loading>,
    ) -> Result<Summary> {
        self.run(engine, lifetime, failed, loading, self.stop.clone()).await
    }

    /// The same until somebody cancels `stop`.
    pub(crate) async fn process_until(
        &self,
        engine: Engine,
        failed: BoxFuture<'static, feedmill_store_api::Error>,
        stop: CancellationToken,
    ) -> Result<Summary> {
        self.run(engine, Lifetime::UntilStopped, failed, None, stop).await
    }

    async fn run(
        &self,
        engine: Engine,
        lifetime: Lifetime,
        failed: BoxFuture<'static, feedmill_store_api::Error>,
        loading: Option<&Loading>,
        stop: CancellationToken,
    ) -> Result<Summary> {
        let status = engine.status();
        let work = async {
            tokio::select! {
                summary = engine.run(lifetime, stop) => summary,
                () = watch(&self.screen, &*self.clock, &status, loading) => unreachable!("watching has no end of its own"),
            }
        };
        self.probes.live.answer({
            let status = status.clone();
            move || figures::live(&status)
        });
        self.probes.ready.answer({
            let status = status.clone();
            move || figures::ready(&status.ranges())
        });
        if let Some(metrics) = &self.metrics {
            let status = status.clone();
            metrics.ask(move || figures::of_ranges(&status.ranges()));
        }
        let summary = self.watched(failed, work).await?.map_err(|error| {
            Failure::failed(error, "what was not checkpointed is delivered again next time: run it again")
        })?;
        match summary.halted.as_slice() {
            [] => Ok(summary),
            halted => Err(Failure::failed(
                anyhow::anyhow!("ranges that somebody must look at: {}", halted.join("; ")),
                "the others are done; `feedmill export deadLetters --data-dir DIR` shows what could not be applied",
            )),
        }
    }
}

async fn serve_admin(
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    probes: &Probes,
    stop: &CancellationToken,
    screen: &Screen,
) -> Result<Metrics> {
    let admin = Admin::bind(address).await?;
    let metrics = Metrics::start()?;
    metrics.ask(figures::of_process);
    screen.say(&format!("admin endpoint on http://{}", admin.address()));
    tokio::spawn(admin.serve(metrics.clone(), probes.clone(), stop.clone()));
    let (stop, kept) = (stop.clone(), metrics.clone());
    tokio::spawn(async move {
        while stop.run_until_cancelled(clock.sleep(UPKEEP)).await.is_some() {
            kept.upkeep();
        }
    });
    Ok(metrics)
}
