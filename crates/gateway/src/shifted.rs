use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// A clock whose wall time can be put forward, so that a test need not wait for a document to expire. For the store behind a
/// gateway; deadlines and waits go on as they were.
#[derive(Clone)]
pub struct ShiftedClock {
    inner: Arc<dyn Clock>,
    ahead_seconds: Arc<AtomicI64>,
}

impl ShiftedClock {
    pub fn new(inner: Arc<dyn Clock>) -> Self {
        Self { inner, ahead_seconds: Arc::default() }
    }

    /// Never back: what is stored must not come from a future that has been undone.
    pub fn advance(&self, seconds: u32) -> Timestamp {
        self.ahead_seconds.fetch_add(i64::from(seconds), Ordering::SeqCst);
        self.now()
    }

    /// Without the shift, for what others' clocks are compared with.
    pub(crate) fn unshifted(&self) -> Timestamp {
        self.inner.now()
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead_seconds.load(Ordering::SeqCst));
        self.inner.now().checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Monotonic {
        self.inner.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }
}

#[cfg(test)]
mod tests {
    use feedmill_clock::ManualClock;

    use super::*;

    #[test]
    fn only_wall_time_is_put_forward() {
        let shifted = ShiftedClock::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)));
        let before = shifted.monotonic();
        assert_eq!(shifted.advance(90).as_second(), 90);
        assert_eq!((shifted.now().as_second(), shifted.unshifted().as_second()), (90, 0));
        assert_eq!(shifted.monotonic(), before);
    }
}
