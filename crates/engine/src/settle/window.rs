use std::time::Duration;

use feedmill_store_api::ErrorKind;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::metrics;

/// A store that answers this many times slower than its quick answers has a queue: more requests only lengthen it.
const SLOW_FACTOR: u32 = 4;
/// Latencies below this are never called slow: they are our own scheduling.
const SLOW_MIN: Duration = Duration::from_millis(20);

/// Limits the requests in flight: grows by one a window of good answers, halves when the store throttles, and does not
/// grow while answers are slow.
#[derive(Debug)]
pub(super) struct Window {
    permits: Semaphore,
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits to take away as they come back.
    owed: usize,
    /// Good answers since the limit last changed.
    good: usize,
    /// Smoothed latency of quick answers.
    quick: Duration,
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        metrics::window(max);
        let state = State { limit: max, owed: 0, good: 0, quick: Duration::ZERO };
        Self { permits: Semaphore::new(max), max, state: Mutex::new(state) }
    }

    pub(super) async fn enter(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// Gives the place back and learns from how it went.
    pub(super) fn leave(&self, permit: SemaphorePermit<'_>, took: Duration, failure: Option<ErrorKind>) {
        let mut state = self.state.lock();
        match failure {
            Some(ErrorKind::Throttled { .. } | ErrorKind::Unavailable) => {
                let lower = (state.limit / 2).max(1);
                state.owed += state.limit - lower;
                state.limit = lower;
                state.good = 0;
                metrics::window(lower);
            }
            _ => self.learn(&mut state, took),
        }
        if state.owed > 0 {
            state.owed -= 1;
            permit.forget();
        }
    }

    fn learn(&self, state: &mut State, took: Duration) {
        let slow = took > SLOW_MIN && !state.quick.is_zero() && took > state.quick * SLOW_FACTOR;
        if slow {
            // Believed slowly, so that a store that has become slower for good is accepted in the end.
            state.quick += (took - state.quick) / 256;
            state.good = 0;
            return;
        }
        state.quick = if state.quick.is_zero() { took } else { (state.quick * 15 + took) / 16 };
        state.good += 1;
        if state.good >= state.limit && state.limit < self.max {
            state.good = 0;
            state.limit += 1;
            metrics::window(state.limit);
            if state.owed > 0 {
                state.owed -= 1;
            } else {
                self.permits.add_permits(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(window: &Window, failure: Option<ErrorKind>) {
        let permit = window.enter().await;
        window.leave(permit, Duration::from_millis(1), failure);
    }

    #[tokio::test]
    async fn a_throttle_halves_the_window_and_good_answers_win_it_back_one_by_one() {
        let window = Window::new(8);
        pass(&window, Some(ErrorKind::Throttled { after: Duration::ZERO })).await;
        assert_eq!(window.state.lock().limit, 4);
        for _ in 0..4 {
            pass(&window, None).await;
        }
        assert_eq!(window.state.lock().limit, 5);
        for _ in 0..100 {
            pass(&window, None).await;
        }
        assert_eq!(window.state.lock().limit, 8);
        assert_eq!(window.permits.available_permits(), 8);
    }

    #[tokio::test]
    async fn the_window_never_closes_entirely() {
        let window = Window::new(4);
        for _ in 0..20 {
            pass(&window, Some(ErrorKind::Unavailable)).await;
        }
        assert_eq!(window.state.lock().limit, 1);
        assert_eq!(window.permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn slow_answers_keep_the_window_from_growing() {
        let window = Window::new(4);
        for _ in 0..4 {
            pass(&window, None).await;
        }
        pass(&window, Some(ErrorKind::Unavailable)).await;
        for _ in 0..16 {
            let permit = window.enter().await;
            window.leave(permit, Duration::from_millis(500), None);
        }
        assert_eq!(window.state.lock().limit, 2);
    }
}
