use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{Clock, Monotonic};

/// A clock that stands still until it is stepped. Clones share it.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    elapsed: Duration,
    /// By due time, then by the order in which the sleeps began, so that equal deadlines wake in a known order.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    begun: u64,
}

impl ManualClock {
    pub fn new(start: Timestamp) -> Self {
        Self { start, inner: Arc::default() }
    }

    /// Moves time forward and wakes, earliest first, everybody who is then due.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut inner = self.inner.lock();
            inner.elapsed += by;
            let now = inner.elapsed;
            let later = inner.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut inner.sleepers, later)
        };
        for sleeper in due.into_values() {
            // A sleeper that was dropped has nobody to wake.
            let _gone = sleeper.send(());
        }
    }

    /// How long until the next sleeper is due; `None` when nobody sleeps.
    pub fn next_due(&self) -> Option<Duration> {
        let mut inner = self.inner.lock();
        inner.sleepers.retain(|_, sleeper| !sleeper.is_canceled());
        inner.sleepers.first_key_value().map(|((due, _), _)| due.saturating_sub(inner.elapsed))
    }

    /// How many sleeps are under way.
    pub fn sleepers(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.sleepers.retain(|_, sleeper| !sleeper.is_canceled());
        inner.sleepers.len()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start + self.inner.lock().elapsed
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.inner.lock().elapsed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut inner = self.inner.lock();
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let key = (inner.elapsed + duration, inner.begun);
        inner.begun += 1;
        inner.sleepers.insert(key, wake);
        Box::pin(async move {
            // The sender is dropped only with the clock itself; then nobody can tell the time any more.
            let _woken = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_due_and_not_before() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let mut first = clock.sleep(Duration::from_secs(1));
        let second = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_millis(999));
        assert!(futures::poll!(&mut first).is_pending());
        clock.advance(Duration::from_millis(1));
        first.await;
        assert_eq!(clock.next_due(), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        second.await;
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH + Duration::from_secs(2));
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        drop(clock.sleep(Duration::from_secs(1)));
        assert_eq!(clock.sleepers(), 0);
        assert_eq!(clock.next_due(), None);
    }
}
