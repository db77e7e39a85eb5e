use std::future::Future;
use std::ops::{Add, Sub};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use jiff::Timestamp;

/// A point on a clock that never goes back and keeps counting while the machine is suspended.
///
/// Comparable only with points of the same clock in the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    pub fn from_origin(since: Duration) -> Self {
        Self(since)
    }

    /// Zero when `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// The only way anything learns the time or waits.
pub trait Clock: Send + Sync + 'static {
    /// Wall time: for what is stored or shown, never for measuring how long something took.
    fn now(&self) -> Timestamp;

    /// For deadlines and durations.
    fn monotonic(&self) -> Monotonic;

    /// Completes once `duration` has passed. Dropping the future is safe.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The work's result, or `None` when `limit` passed first; the work is then dropped.
pub async fn timeout<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(Box::pin(work), clock.sleep(limit)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(((), _)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[tokio::test]
    async fn work_that_finishes_first_wins_over_the_limit() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(timeout(&clock, Duration::from_secs(1), async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn the_limit_ends_work_that_never_does() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { timeout(&clock, Duration::from_secs(1), std::future::pending::<()>()).await }
        });
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting.await.unwrap(), None);
    }

    #[test]
    fn time_between_points_in_the_wrong_order_is_zero() {
        let early = Monotonic::from_origin(Duration::from_secs(1));
        assert_eq!(early.since(early + Duration::from_secs(1)), Duration::ZERO);
    }
}
