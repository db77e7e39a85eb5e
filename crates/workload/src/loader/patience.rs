use std::time::Duration;

use feedmill_clock::{Clock, Entropy, Monotonic};
use feedmill_store_api::{Error, ErrorKind};

const DELAY_FIRST: Duration = Duration::from_millis(50);
/// Long enough to spare a store that is down, short enough to notice soon that it is back.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// How long one request is tried again, and with which delays.
pub(super) struct Patience<'a> {
    clock: &'a dyn Clock,
    entropy: &'a Entropy,
    begun: Monotonic,
    limit: Duration,
    delay: Duration,
}

/// What to do after a failure.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Somebody else wrote, or our own lost write did: read and decide again.
    ReadAgain,
    SendAgain,
    Fail(Error),
    /// Tried for this long.
    GiveUp(Duration, Error),
}

impl<'a> Patience<'a> {
    pub(super) fn new(clock: &'a dyn Clock, entropy: &'a Entropy, limit: Duration) -> Self {
        Self { clock, entropy, begun: clock.monotonic(), limit, delay: DELAY_FIRST }
    }

    /// Waits as long as the failure asks for.
    pub(super) async fn after(&mut self, error: Error) -> Verdict {
        let (delay, verdict) = match error.kind() {
            // A race that was lost was won by somebody, so there is nothing to wait for.
            ErrorKind::Conflict | ErrorKind::Precondition => (Duration::ZERO, Verdict::ReadAgain),
            ErrorKind::NotFound => (self.next_delay(), Verdict::ReadAgain),
            ErrorKind::Throttled { after } => (after.max(self.next_delay()), Verdict::SendAgain),
            ErrorKind::Unavailable | ErrorKind::Gone => (self.next_delay(), Verdict::SendAgain),
            ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::Corrupt => return Verdict::Fail(error),
        };
        let tried = self.clock.monotonic().since(self.begun);
        if tried + delay > self.limit {
            return Verdict::GiveUp(tried, error);
        }
        self.clock.sleep(delay).await;
        verdict
    }

    fn next_delay(&mut self) -> Duration {
        let delay = self.entropy.jitter(self.delay);
        self.delay = (self.delay * 2).min(DELAY_MAX);
        delay
    }
}
