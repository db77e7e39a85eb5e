//! When a run ends, and how it is known that everything has caught up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use feedmill_clock::Clock;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// When a run ends by itself.
#[derive(Clone, Debug)]
pub enum Lifetime {
    UntilStopped,
    For(Duration),
    /// Once the sources are quiet and every range has caught up with all that the others wrote.
    ///
    /// `quiet` is cancelled once nobody else writes to the sources any more: for a plain job it is cancelled already.
    UntilCaughtUp {
        quiet: CancellationToken,
    },
}

/// Rounds of polls by which it is known that everything has caught up.
///
/// Processors write each other's sources, so one empty poll of each range proves nothing. A round is over once every
/// range has polled empty in it with nothing in flight. When no delivery began or ended between the ends of two
/// rounds, nothing was in flight throughout the second one, nothing was written, and every range saw that.
#[derive(Debug)]
pub(crate) struct Rounds {
    number: watch::Sender<Round>,
    completed: AtomicU64,
    participants: AtomicUsize,
    /// The last round in which each participant was idle.
    reported: Mutex<BTreeMap<usize, u64>>,
    progress: Notify,
    activity: Activity,
}

/// One round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// 0 before the first.
    pub(crate) number: u64,
    /// Whether ranges poll for it at once; otherwise it takes the polls as they come.
    pub(crate) hasten: bool,
}

/// Counts what may have written something.
#[derive(Debug, Default)]
struct Activity {
    begun_or_ended: AtomicU64,
    in_flight: AtomicU64,
}

/// A delivery that runs.
pub(crate) struct Active {
    rounds: Arc<Rounds>,
}

/// A range's part in the rounds; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Participant {
    rounds: Arc<Rounds>,
    id: usize,
}

impl Rounds {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            number: watch::Sender::new(Round::default()),
            completed: AtomicU64::new(0),
            participants: AtomicUsize::new(0),
            reported: Mutex::default(),
            progress: Notify::new(),
            activity: Activity::default(),
        })
    }

    pub(crate) fn participant(self: &Arc<Self>) -> Participant {
        let id = self.participants.fetch_add(1, Ordering::SeqCst);
        self.reported.lock().insert(id, 0);
        Participant { rounds: Arc::clone(self), id }
    }

    /// Counts as activity until it is dropped.
    pub(crate) fn activity(self: &Arc<Self>) -> Active {
        self.activity.in_flight.fetch_add(1, Ordering::SeqCst);
        self.activity.begun_or_ended.fetch_add(1, Ordering::SeqCst);
        Active { rounds: Arc::clone(self) }
    }

    /// Completes once everything of this host has caught up. To be called when the sources are quiet.
    ///
    /// `pause` is waited between rounds while something outside the ranges (a dead letter's retry) is in flight.
    pub(crate) async fn caught_up(&self, clock: &dyn Clock, pause: Duration) {
        let mut before = None;
        loop {
            let now = self.round(true).await;
            if now.is_some() && now == before {
                return;
            }
            if now.is_none() {
                clock.sleep(pause).await;
            }
            before = now;
        }
    }

    /// Round after round as polls come, for others to know when this host rests. Never completes.
    pub(crate) async fn go_round(&self, clock: &dyn Clock, pause: Duration) {
        loop {
            self.round(false).await;
            clock.sleep(pause).await;
        }
    }

    /// The activity after it, where nothing runs.
    async fn round(&self, hasten: bool) -> Option<u64> {
        self.number.send_modify(|round| *round = Round { number: round.number + 1, hasten });
        self.over(self.begun()).await;
        self.completed.store(self.begun(), Ordering::SeqCst);
        self.at_rest()
    }

    /// The last round that began.
    pub(crate) fn begun(&self) -> u64 {
        self.number.borrow().number
    }

    /// The last round that ended.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::SeqCst)
    }

    async fn over(&self, round: u64) {
        loop {
            let progress = self.progress.notified();
            let over = self.reported.lock().values().all(|idle| *idle >= round);
            if over {
                return;
            }
            progress.await;
        }
    }

    /// How many deliveries began or ended so far, when none runs.
    pub(crate) fn at_rest(&self) -> Option<u64> {
        let at_rest = self.activity.in_flight.load(Ordering::SeqCst) == 0;
        at_rest.then(|| self.activity.begun_or_ended.load(Ordering::SeqCst))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // In this order: whoever sees nothing in flight sees that this one ended.
        self.rounds.activity.begun_or_ended.fetch_add(1, Ordering::SeqCst);
        self.rounds.activity.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Participant {
    /// The round under way.
    pub(crate) fn rounds(&self) -> watch::Receiver<Round> {
        self.rounds.number.subscribe()
    }

    pub(crate) fn activity(&self) -> Active {
        self.rounds.activity()
    }

    /// A poll that began in `round` was empty, and nothing is in flight.
    pub(crate) fn idle(&self, round: u64) {
        if let Some(idle) = self.rounds.reported.lock().get_mut(&self.id) {
            *idle = round;
        }
        self.rounds.progress.notify_one();
    }

    /// Nobody needs to wait for it any more.
    pub(crate) fn leave(&self) {
        self.rounds.reported.lock().remove(&self.id);
        self.rounds.progress.notify_one();
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use feedmill_clock::ManualClock;
    use jiff::Timestamp;

    use super::*;

    struct World {
        rounds: Arc<Rounds>,
        ended: tokio::task::JoinHandle<()>,
    }

    impl World {
        fn begin(rounds: &Arc<Rounds>) -> Self {
            let rounds = Arc::clone(rounds);
            let ended = tokio::spawn({
                let rounds = Arc::clone(&rounds);
                let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
                async move { rounds.caught_up(&clock, Duration::ZERO).await }
            });
            Self { rounds, ended }
        }

        async fn settle(&self) -> u64 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.rounds.begun()
        }
    }

    #[tokio::test]
    async fn two_quiet_rounds_end_it() {
        let rounds = Rounds::new();
        let (a, b) = (rounds.participant(), rounds.participant());
        let world = World::begin(&rounds);
        assert_eq!(world.settle().await, 1);
        a.idle(1);
        assert_eq!(world.settle().await, 1);
        b.idle(1);
        assert_eq!(world.settle().await, 2);
        assert!(!world.ended.is_finished());
        a.idle(2);
        b.idle(2);
        world.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_delivery_that_ends_after_others_polled_asks_for_two_more_rounds() {
        let rounds = Rounds::new();
        let (a, b) = (rounds.participant(), rounds.participant());
        let delivery = a.activity();
        let world = World::begin(&rounds);
        world.settle().await;
        b.idle(1);
        drop(delivery);
        a.idle(1);
        assert_eq!(world.settle().await, 2);
        // Between the rounds' ends something is delivered: what `b` saw in round 2 may be old.
        b.idle(2);
        drop(a.activity());
        a.idle(2);
        assert_eq!(world.settle().await, 3);
        assert!(!world.ended.is_finished());
        a.idle(3);
        b.idle(3);
        world.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_range_that_left_holds_nobody_up() {
        let rounds = Rounds::new();
        let (a, b) = (rounds.participant(), rounds.participant());
        let world = World::begin(&rounds);
        world.settle().await;
        a.leave();
        b.idle(1);
        world.settle().await;
        b.idle(2);
        world.ended.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_ends_while_something_is_in_flight() {
        let rounds = Rounds::new();
        let a = rounds.participant();
        let delivery = rounds.activity();
        let world = World::begin(&rounds);
        for _ in 0..5 {
            let round = world.settle().await;
            a.idle(round);
        }
        assert!(!world.ended.is_finished());
        drop(delivery);
        while !world.ended.is_finished() {
            let round = world.settle().await;
            a.idle(round);
        }
    }
}
