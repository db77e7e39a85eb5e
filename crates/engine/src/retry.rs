//! What a failure leads to: wait and send the same again, or give up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Error, ErrorKind, Result};

use crate::metrics;

/// Whether the store itself fails: it will pass, and says nothing about what was asked.
pub(crate) fn is_outage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Throttled { .. } | ErrorKind::Forbidden)
}

/// Whether a delivery that met this failed by its own fault. All else is waited for, a missing container included:
/// only a change's own fault may become a dead letter.
pub(crate) fn is_own_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid | ErrorKind::Corrupt)
}

/// Growing waits with jitter.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    entropy: Entropy,
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(entropy: Entropy, min: Duration, max: Duration) -> Self {
        Self { entropy, min, max, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = doubled(self.min, self.failures).min(self.max);
        self.failures += 1;
        self.entropy.jitter(wait)
    }

    /// Obeys the store where it says when to come back.
    pub(crate) fn after(&mut self, kind: ErrorKind) -> Duration {
        match kind {
            ErrorKind::Throttled { after } => after + self.entropy.jitter(self.min),
            _ => self.next(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

pub(crate) fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times))
}

/// Sends requests until the store takes them.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Patience {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.entropy.clone(), self.min, self.max)
    }

    /// Repeats `request` through outages, without end; every other answer is the caller's.
    pub(crate) async fn outlast<T, F>(&self, attempted: &str, mut request: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = self.backoff();
        loop {
            match request().await {
                Err(error) if is_outage(error.kind()) => self.wait(&mut backoff, attempted, &error).await,
                answer => return answer,
            }
        }
    }

    pub(crate) async fn wait(&self, backoff: &mut Backoff, attempted: &str, error: &Error) {
        let wait = backoff.after(error.kind());
        metrics::retried(error.kind());
        tracing::warn!(attempted, error = %error, ?wait, "the store fails; waiting");
        self.clock.sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_wait_and_only_a_changes_own_fault_is_its_own() {
        for (kind, outage, fault) in [
            (ErrorKind::Unavailable, true, false),
            (ErrorKind::Throttled { after: Duration::ZERO }, true, false),
            (ErrorKind::Forbidden, true, false),
            (ErrorKind::NotFound, false, false),
            (ErrorKind::Gone, false, false),
            (ErrorKind::Conflict, false, false),
            (ErrorKind::Precondition, false, false),
            (ErrorKind::Invalid, false, true),
            (ErrorKind::Corrupt, false, true),
        ] {
            assert_eq!((is_outage(kind), is_own_fault(kind)), (outage, fault), "{kind:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(Entropy::seeded(1), Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_millis(100));
        assert!(waits[3] >= Duration::from_millis(400));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        assert!(waits[39] >= Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn a_throttle_is_obeyed() {
        let mut backoff = Backoff::new(Entropy::seeded(1), Duration::from_millis(1), Duration::from_millis(2));
        let after = Duration::from_secs(7);
        assert!(backoff.after(ErrorKind::Throttled { after }) >= after);
    }
}
