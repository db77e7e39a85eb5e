use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::RequestCharge;
use parking_lot::Mutex;

/// A delivery that has sent so many writes is large. Whoever has fewer is through before it matters.
pub(super) const LARGE_WRITES: u64 = 32;
/// What large deliveries take of a container that refused a request, to begin with: the rest is for the small ones.
const SHARE: f64 = 0.7;
/// By how much of what the container gave they come back to the whole of it in a second. So the end of a second is spoilt for
/// the small ones every ten seconds at most, and more than four fifths of what there is are used.
const GROWTH: f64 = 0.03;
/// They are never held to less than this of it: what is refused early in a second says little of what there is.
const SHARE_MIN: f64 = 0.25;
/// What the container is believed to give falls by this with each refusal that came after less.
const FORGETTING: f64 = 0.95;
/// Who may take so many times what a container gave is not held to anything, until it refuses something again.
const FORGOTTEN: f64 = 10.0;
/// Request units a second that are left to large deliveries however little there is.
const UNITS_MIN: f64 = 100.0;
/// Before anything was charged: a write of a feed item.
const UNITS_OF_A_WRITE: f64 = 10.0;
const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(250);

/// How fast large deliveries write into one container.
///
/// Whoever goes beyond what a container has for a second makes it refuse everybody for the rest of that second. So large
/// deliveries hold themselves to a share of what it gave when it last did so, and small ones find something left. Where nothing
/// was ever refused nobody waits.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

/// Where somebody stands in the line, in request units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(f64);

#[derive(Debug)]
struct State {
    /// Request units a second; `None` until something is refused.
    rate: Option<f64>,
    /// What the container gave us in the seconds in which it refused something.
    given: f64,
    went_on_at: Monotonic,
    refused_at: Monotonic,
    /// Request units of all turns that were given out, and of those that have come.
    taken: f64,
    served: f64,
    units_of_a_write: f64,
    /// What was charged in the second that began then, and in the one before.
    second: Monotonic,
    charged: f64,
    charged_before: f64,
}

impl Default for State {
    fn default() -> Self {
        let origin = Monotonic::from_origin(Duration::ZERO);
        Self {
            rate: None,
            given: 0.0,
            went_on_at: origin,
            refused_at: origin,
            taken: 0.0,
            served: 0.0,
            units_of_a_write: UNITS_OF_A_WRITE,
            second: origin,
            charged: 0.0,
            charged_before: 0.0,
        }
    }
}

impl Pace {
    /// A turn for so many writes of a large delivery; `None` where nobody has to wait.
    pub(super) fn turn(&self, now: Monotonic, writes: usize) -> Option<Turn> {
        let mut state = self.0.lock();
        state.go_on(now)?;
        let turn = state.taken.max(state.served);
        state.taken = turn + state.units_of_a_write * writes as f64;
        Some(Turn(turn))
    }

    /// How long to wait before this is asked again; zero once it is that turn.
    pub(super) fn wait(&self, now: Monotonic, turn: Turn) -> Duration {
        let mut state = self.0.lock();
        let Some(rate) = state.go_on(now) else { return Duration::ZERO };
        let left = (turn.0 - state.served).max(0.0);
        // Rounded up, and not for long: the pace may change.
        let seconds = if left > 0.0 { left / rate + 0.001 } else { 0.0 };
        Duration::from_secs_f64(seconds.min(LOOK.as_secs_f64()))
    }

    /// So many writes of whatever delivery were accepted.
    pub(super) fn accepted(&self, now: Monotonic, writes: usize, charge: RequestCharge) {
        let mut state = self.0.lock();
        state.count_in(now);
        state.charged += charge.units();
        let of_each = charge.units() / writes.max(1) as f64;
        state.units_of_a_write = (state.units_of_a_write * 15.0 + of_each) / 16.0;
    }

    /// The container had nothing left.
    pub(super) fn refused(&self, now: Monotonic) {
        let mut state = self.0.lock();
        state.count_in(now);
        if state.rate.is_some() && now.since(state.refused_at) < SECOND {
            // Whatever was under way together is refused together.
            return;
        }
        state.refused_at = now;
        state.given = state.charged.max(state.charged_before).max(FORGETTING * state.given);
        let most = state.go_on(now).map_or(state.given, |rate| rate.min(state.given));
        if state.given < UNITS_MIN {
            // Others have had all of it, which says nothing of what there is.
            return;
        }
        state.rate = Some((SHARE * most).max(SHARE_MIN * state.given).max(UNITS_MIN));
        state.went_on_at = now;
    }
}

impl State {
    fn go_on(&mut self, now: Monotonic) -> Option<f64> {
        let rate = self.rate?;
        let seconds = now.since(self.went_on_at).as_secs_f64();
        self.went_on_at = now;
        self.served += rate * seconds;
        // Where there is more than there was it is found ever faster.
        let rate = rate + rate.max(self.given) * (GROWTH * seconds).min(1.0);
        self.rate = (rate < FORGOTTEN * self.given).then_some(rate);
        if self.rate.is_none() {
            (self.taken, self.served) = (0.0, 0.0);
        }
        self.rate
    }

    fn count_in(&mut self, now: Monotonic) {
        let passed = now.since(self.second);
        if passed >= SECOND {
            self.charged_before = if passed < 2 * SECOND { self.charged } else { 0.0 };
            self.charged = 0.0;
            self.second = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    /// Writes of ten request units each in this second, and then a refusal.
    fn spend(pace: &Pace, second: u64, writes: u64) {
        for write in 0..writes {
            pace.accepted(at(second * 1_000 + write), 1, RequestCharge::new(10.0));
        }
        pace.refused(at(second * 1_000 + 999));
    }

    /// Writes whose turn comes in a second.
    fn passes(pace: &Pace, second: u64) -> usize {
        let (now, end) = (at(second * 1_000), at(second * 1_000 + 999));
        let turns: Vec<_> = (0..2_000).map_while(|_| pace.turn(now, 1)).collect();
        turns.into_iter().filter(|turn| pace.wait(end, *turn).is_zero()).count()
    }

    #[test]
    fn where_nothing_was_refused_nobody_waits() {
        let pace = Pace::default();
        pace.accepted(at(5_000), 100, RequestCharge::new(1_000.0));
        assert!(pace.turn(at(5_000), 100).is_none());
        // Nor where others have had everything.
        let pace = Pace::default();
        pace.refused(at(5_000));
        assert!(pace.turn(at(5_000), 100).is_none());
    }

    #[test]
    fn after_a_refusal_large_deliveries_leave_something_and_come_back_to_all_of_it_slowly() {
        let pace = Pace::default();
        spend(&pace, 5, 800);
        // Refusals of one second are one.
        (0..10).for_each(|_| pace.refused(at(5_999)));
        let first = passes(&pace, 6);
        assert!((550..=590).contains(&first), "{first}");
        let pace = Pace::default();
        spend(&pace, 5, 800);
        assert!(pace.wait(at(15_000), Turn(f64::MAX)) == LOOK);
        let later = passes(&pace, 15);
        assert!((770..=840).contains(&later), "{later}");
        spend(&pace, 17, 800);
        assert!(pace.turn(at(18_000), 1).is_some() && pace.0.lock().rate.unwrap() < 6_000.0);
    }

    #[test]
    fn however_often_a_container_refuses_large_deliveries_go_on_with_a_part_of_it() {
        let pace = Pace::default();
        spend(&pace, 5, 800);
        (6..12).for_each(|second| pace.refused(at(second * 1_000)));
        assert!(passes(&pace, 12) >= 140);
        // Once it has refused nothing for long, nobody waits any more.
        assert!((13..400).any(|second| pace.turn(at(second * 1_000), 1).is_none()));
    }
}
