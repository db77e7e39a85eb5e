//! Until when this host may send anything, as far as its last heartbeat says.

use std::time::Duration;

use feedmill_clock::Monotonic;
use tokio::sync::watch;

use crate::protection::Protection;

/// Clones are one host's.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(watch::Sender<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// Nothing is sent later. `None`: nobody else can be there, so there is no such time.
    until: Option<Monotonic>,
    fenced: bool,
    /// Heartbeats that succeeded so far.
    beats: u64,
    /// How many of them came when the time of the one before was over: others may have counted us as dead.
    returns: u64,
    /// Heartbeats that failed so far.
    misses: u64,
    /// Whether the last attempt did, and when it was sent.
    beating: Option<Monotonic>,
}

impl Pulse {
    /// Of a host that has not been heard of yet: it may send nothing.
    pub(crate) fn silent() -> Self {
        Self::new(Some(Monotonic::from_origin(Duration::ZERO)))
    }

    /// Of a host that has its store to itself.
    pub(crate) fn alone() -> Self {
        Self::new(None)
    }

    fn new(until: Option<Monotonic>) -> Self {
        Self(watch::Sender::new(State { until, fenced: false, beats: 0, returns: 0, misses: 0, beating: None }))
    }

    /// A heartbeat sent at `sent_at` was taken; others wait for us until well after `sent_at + good_for`.
    pub(crate) fn beat(&self, sent_at: Monotonic, good_for: Duration) {
        let good_for = if Protection::Deadline.holds() { good_for } else { Duration::from_secs(u32::MAX.into()) };
        self.0.send_modify(|state| {
            let is_over = state.until.is_some_and(|until| until < sent_at);
            state.returns += u64::from(is_over || state.fenced);
            state.until = Some(sent_at + good_for);
            state.fenced = false;
            state.beats += 1;
            state.beating = Some(sent_at);
        });
    }

    pub(crate) fn missed(&self) {
        self.0.send_modify(|state| {
            state.misses += 1;
            state.beating = None;
        });
    }

    /// The time is over: whoever works stops, now.
    pub(crate) fn fence(&self) {
        self.0.send_modify(|state| {
            state.fenced = true;
            state.beating = None;
        });
    }

    /// Whether something may be sent at `now`. Whoever was frozen finds out by this before it is told.
    pub(crate) fn allows(&self, now: Monotonic) -> bool {
        let state = *self.0.borrow();
        !state.fenced && state.until.is_none_or(|until| now <= until)
    }

    pub(crate) fn until(&self) -> Option<Monotonic> {
        self.0.borrow().until
    }

    /// How often this host came back after others may have counted it as dead.
    pub(crate) fn returns(&self) -> u64 {
        self.0.borrow().returns
    }

    /// How often a heartbeat failed.
    pub(crate) fn misses(&self) -> u64 {
        self.0.borrow().misses
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.0.borrow().until.is_none()
    }

    /// When the last heartbeat was sent, if no later one failed.
    pub(crate) fn beating_since(&self) -> Option<Monotonic> {
        self.0.borrow().beating
    }

    pub(crate) fn watch(&self) -> Beats {
        Beats(self.0.subscribe())
    }

    /// Completes when the host is fenced; at once when it is.
    pub(crate) async fn fenced(&self) {
        let mut states = self.0.subscribe();
        if states.wait_for(|state| state.fenced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Tells of each heartbeat.
#[derive(Debug)]
pub(crate) struct Beats(watch::Receiver<State>);

impl Beats {
    /// The next one that succeeds or fails. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_allowed_after_the_deadline_nor_before_the_first_heartbeat() {
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        let pulse = Pulse::silent();
        assert!(!pulse.allows(at(1)));
        pulse.beat(at(10), Duration::from_secs(7));
        assert!(pulse.allows(at(17)));
        assert!(!pulse.allows(at(18)));
        pulse.missed();
        assert!(pulse.allows(at(17)));
        pulse.fence();
        pulse.fenced().await;
        assert!(!pulse.allows(at(11)));
        pulse.beat(at(20), Duration::from_secs(7));
        assert!(pulse.allows(at(21)));
        assert!(Pulse::alone().allows(at(1_000_000)));
    }
}
