use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic, timeout};
use feedmill_engine::{Lag, Operator};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

/// KEDA asks twice in a row, for the value and for whether there should be any replica: once is enough for both.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// KEDA gives up a little later; what takes longer is an error here first, with a reason.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// Why the lag is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("measure the lag: {0}")]
pub struct Unmeasured(pub String);

/// How far each lease is behind, with the name of its processor.
pub trait Lags: Send + Sync + 'static {
    fn lags(&self) -> BoxFuture<'_, Result<Vec<(String, Lag)>, Unmeasured>>;
}

impl Lags for Operator {
    fn lags(&self) -> BoxFuture<'_, Result<Vec<(String, Lag)>, Unmeasured>> {
        Box::pin(async {
            let unmeasured = |error: feedmill_engine::LeaseError| Unmeasured(error.to_string());
            let mut lags = Vec::new();
            for lease in self.leases().await.map_err(unmeasured)? {
                let lag = self.lag(&lease).await.map_err(unmeasured)?;
                lags.push((lease.processor, lag));
            }
            Ok(lags)
        })
    }
}

/// Measures at most once in a while. A failure is not kept.
pub(crate) struct Recent {
    lags: Arc<dyn Lags>,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Monotonic, Measured)>>,
}

pub(crate) type Measured = Arc<[(String, Lag)]>;

impl Recent {
    pub(crate) fn new(lags: Arc<dyn Lags>, clock: Arc<dyn Clock>) -> Self {
        Self { lags, clock, last: Mutex::default() }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) async fn measure(&self) -> Result<Measured, Unmeasured> {
        // Held while measuring, so that those who ask at the same time share one answer.
        let mut last = self.last.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, lags)) = &*last
            && now.since(*at) < FRESH_FOR
        {
            return Ok(Arc::clone(lags));
        }
        let late = || Unmeasured(format!("no answer within {} s", ANSWER_MAX.as_secs()));
        let lags: Measured = timeout(&*self.clock, ANSWER_MAX, self.lags.lags()).await.ok_or_else(late)??.into();
        *last = Some((self.clock.monotonic(), Arc::clone(&lags)));
        Ok(lags)
    }
}
