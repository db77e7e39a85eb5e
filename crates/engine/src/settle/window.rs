use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_store_api::ErrorKind;
use futures::channel::oneshot;
use parking_lot::Mutex;

use super::metrics;

/// A store that answers this many times slower than its quick answers has a queue: more requests only lengthen it.
const SLOW_FACTOR: u32 = 4;
/// Latencies below this are never called slow: they are our own scheduling.
const SLOW_MIN: Duration = Duration::from_millis(20);
/// Of so many places one goes to who has waited longest, however much they had already: nobody waits for ever.
const OLDEST_EVERY: u64 = 4;

/// Limits the requests in flight: grows by one a window of good answers, halves when the store throttles, and does not
/// grow while answers are slow.
///
/// Where more wait than there are places, those go first whose delivery has sent the least, so that the ten items of one post
/// do not wait for the million of another.
#[derive(Clone, Debug)]
pub(super) struct Window(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    in_flight: usize,
    /// Good answers since the limit last changed.
    good: usize,
    /// Smoothed latency of quick answers.
    quick: Duration,
    /// Who waits, in the order in which they came.
    waiting: BTreeMap<u64, Waiter>,
    /// The same by what they have sent.
    by_sent: BTreeSet<(u64, u64)>,
    came: u64,
    let_in: u64,
}

#[derive(Debug)]
struct Waiter {
    sent: u64,
    place: oneshot::Sender<Place>,
}

/// A place among the requests in flight, free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Window>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(window) = self.0.take() {
            let mut state = window.0.state.lock();
            state.in_flight -= 1;
            window.admit(&mut state);
        }
    }
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        metrics::window(max);
        let state = State {
            limit: max,
            in_flight: 0,
            good: 0,
            quick: Duration::ZERO,
            waiting: BTreeMap::new(),
            by_sent: BTreeSet::new(),
            came: 0,
            let_in: 0,
        };
        Self(Arc::new(Shared { max, state: Mutex::new(state) }))
    }

    /// `sent`: what whoever asks has had already, in writes.
    pub(super) async fn enter(&self, sent: u64) -> Place {
        let given = {
            let mut state = self.0.state.lock();
            if state.in_flight < state.limit && state.waiting.is_empty() {
                state.in_flight += 1;
                return Place(Some(self.clone()));
            }
            let (place, given) = oneshot::channel();
            let number = state.came;
            state.came += 1;
            state.waiting.insert(number, Waiter { sent, place });
            state.by_sent.insert((sent, number));
            given
        };
        given.await.expect("nobody who waits is forgotten")
    }

    /// Requests that are under way, and those that wait.
    pub(super) fn requests(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        (state.in_flight, state.waiting.len())
    }

    fn admit(&self, state: &mut State) {
        while state.in_flight < state.limit {
            let Some(waiter) = state.next() else { return };
            match waiter.place.send(Place(Some(self.clone()))) {
                Ok(()) => state.in_flight += 1,
                // Nobody waits for it any more. It was never taken.
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }

    /// Gives the place back and learns from how it went.
    pub(super) fn leave(&self, place: Place, took: Duration, failure: Option<ErrorKind>) {
        let mut state = self.0.state.lock();
        match failure {
            Some(ErrorKind::Throttled { .. } | ErrorKind::Unavailable) => {
                state.limit = (state.limit / 2).max(1);
                state.good = 0;
                metrics::window(state.limit);
            }
            _ => self.learn(&mut state, took),
        }
        drop(state);
        drop(place);
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
        if state.good >= state.limit && state.limit < self.0.max {
            state.good = 0;
            state.limit += 1;
            metrics::window(state.limit);
        }
    }
}

impl State {
    fn next(&mut self) -> Option<Waiter> {
        self.let_in += 1;
        let by_age = self.let_in.is_multiple_of(OLDEST_EVERY);
        let number = if by_age { *self.waiting.first_key_value()?.0 } else { self.by_sent.first()?.1 };
        let waiter = self.waiting.remove(&number)?;
        self.by_sent.remove(&(waiter.sent, number));
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    async fn pass(window: &Window, failure: Option<ErrorKind>) {
        let place = window.enter(0).await;
        window.leave(place, Duration::from_millis(1), failure);
    }

    fn limit(window: &Window) -> usize {
        let state = window.0.state.lock();
        assert_eq!((state.in_flight, state.waiting.len(), state.by_sent.len()), (0, 0, 0));
        state.limit
    }

    #[tokio::test]
    async fn a_throttle_halves_the_window_and_good_answers_win_it_back_one_by_one() {
        let window = Window::new(8);
        pass(&window, Some(ErrorKind::Throttled { after: Duration::ZERO })).await;
        assert_eq!(limit(&window), 4);
        for _ in 0..4 {
            pass(&window, None).await;
        }
        assert_eq!(limit(&window), 5);
        for _ in 0..100 {
            pass(&window, None).await;
        }
        assert_eq!(limit(&window), 8);
    }

    #[tokio::test]
    async fn the_window_never_closes_entirely() {
        let window = Window::new(4);
        for _ in 0..20 {
            pass(&window, Some(ErrorKind::Unavailable)).await;
        }
        assert_eq!(limit(&window), 1);
    }

    #[tokio::test]
    async fn slow_answers_keep_the_window_from_growing() {
        let window = Window::new(4);
        for _ in 0..4 {
            pass(&window, None).await;
        }
        pass(&window, Some(ErrorKind::Unavailable)).await;
        for _ in 0..16 {
            let place = window.enter(0).await;
            window.leave(place, Duration::from_millis(500), None);
        }
        assert_eq!(limit(&window), 2);
    }

    /// The order in which waiters get the only place, by their numbers.
    fn order(window: &Window, mut waiting: Vec<(usize, BoxFuture<'_, Place>)>) -> Vec<usize> {
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let came = waiting.iter_mut().position(|(_, waiter)| waiter.now_or_never().is_some());
            order.extend(came.map(|came| waiting.remove(came).0));
        }
        assert_eq!(limit(window), 1);
        order
    }

    #[tokio::test]
    async fn who_has_sent_little_goes_first_and_every_fourth_who_waits_longest() {
        let window = Window::new(1);
        let first = window.enter(0).await;
        let mut waiting: Vec<_> =
            (0..8).map(|number| (number, window.enter(if number < 6 { 1_000 } else { 1 }).boxed())).collect();
        assert!(waiting.iter_mut().all(|(_, waiter)| waiter.now_or_never().is_none()));
        drop(first);
        assert_eq!(order(&window, waiting), [6, 7, 0, 1, 2, 3, 4, 5]);

        let first = window.enter(0).await;
        let mut waiting: Vec<_> =
            (0..9).map(|number| (number, window.enter(if number == 0 { 1_000 } else { 1 }).boxed())).collect();
        assert!(waiting.iter_mut().all(|(_, waiter)| waiter.now_or_never().is_none()));
        drop(first);
        assert!(order(&window, waiting).iter().position(|&number| number == 0) < Some(4));
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_no_place() {
        let window = Window::new(1);
        let first = window.enter(0).await;
        let mut gone = window.enter(0).boxed();
        let mut stays = window.enter(5).boxed();
        assert!((&mut gone).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        drop(gone);
        drop(first);
        drop(stays.await);
        // Given, and never looked at.
        let first = window.enter(0).await;
        let mut given = window.enter(0).boxed();
        assert!((&mut given).now_or_never().is_none());
        drop(first);
        drop(given);
        assert_eq!(limit(&window), 1);
    }
}
