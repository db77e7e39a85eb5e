//! When an owner counts as dead: its sign of life stood still for long enough, by our own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use feedmill_clock::Monotonic;

use super::document::Owner;

/// Watches the signs of life of others.
///
/// Time is the observer's own: comparing wall clocks would let a host that is two minutes ahead steal every lease of the
/// fleet. It runs only while the observer's own heartbeats succeed: a store that nobody reaches is not a death of
/// everyone.
#[derive(Debug)]
pub(crate) struct Expiry {
    after: Duration,
    /// The longest stretch between two looks that counts as watched.
    step_max: Duration,
    watched_to: Option<Monotonic>,
    own: OwnBeats,
    owners: BTreeMap<Owner, Stillness>,
}

/// How the observer's own heartbeats went so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnBeats {
    /// How many failed.
    pub(crate) misses: u64,
    /// How many succeeded after others may have counted it as dead.
    pub(crate) returns: u64,
}

#[derive(Debug)]
struct Stillness {
    /// The last sign seen: another one is a sign of life.
    sign: Option<String>,
    /// When it was. What passed before, since whichever look, is no time in which it stood still.
    since: Monotonic,
    stood: Duration,
    confirmed: bool,
}

impl Expiry {
    pub(crate) fn new(after: Duration, step_max: Duration) -> Self {
        Self { after, step_max, watched_to: None, own: OwnBeats::default(), owners: BTreeMap::new() }
    }

    /// Begins to watch `owner`, or notes the sign it gave; `None` for an owner without any.
    pub(crate) fn seen(&mut self, owner: &Owner, sign: Option<&str>, now: Monotonic) {
        match self.owners.get_mut(owner) {
            Some(stillness) if stillness.sign.as_deref() == sign => {}
            _ => {
                let sign = sign.map(str::to_owned);
                let stillness = Stillness { sign, since: now, stood: Duration::ZERO, confirmed: false };
                self.owners.insert(owner.clone(), stillness);
            }
        }
    }

    /// Our own heartbeats succeed: the time since the last look counts, unless one failed in it. Where we returned in it, that
    /// is as with [`Self::begin_anew`]: while something long is asked of the store, misses and the next success are both over
    /// before anybody looks.
    pub(crate) fn watch(&mut self, now: Monotonic, own: OwnBeats) {
        let before = std::mem::replace(&mut self.own, own);
        if own.returns != before.returns {
            self.begin_anew();
        } else if own.misses != before.misses {
            self.look_away();
        }
        if let Some(watched_to) = self.watched_to {
            for stillness in self.owners.values_mut() {
                stillness.stood += now.since(watched_to.max(stillness.since)).min(self.step_max);
            }
        }
        self.watched_to = Some(now);
    }

    /// Our own heartbeats fail: no time counts until [`Self::watch`] is called again.
    pub(crate) fn look_away(&mut self) {
        self.watched_to = None;
    }

    /// We were away so long that others would have counted us as dead: everybody gets the whole time again.
    pub(crate) fn begin_anew(&mut self) {
        for stillness in self.owners.values_mut() {
            stillness.stood = Duration::ZERO;
            stillness.confirmed = false;
        }
        self.watched_to = None;
    }

    /// Who stood still for long enough, and must be asked for by name before it counts as dead.
    pub(crate) fn suspects(&self) -> Vec<Owner> {
        let suspects = self.owners.iter().filter(|(_, still)| still.stood >= self.after && !still.confirmed);
        suspects.map(|(owner, _)| owner.clone()).collect()
    }

    /// A read of its heartbeat found the sign it gave last.
    pub(crate) fn confirm(&mut self, owner: &Owner) {
        if let Some(stillness) = self.owners.get_mut(owner) {
            stillness.confirmed = true;
        }
    }

    /// A lease was written that has it for its owner: whoever counted as dead is back, and gets the whole time again.
    pub(crate) fn back(&mut self, owner: &Owner, now: Monotonic) {
        if let Some(stillness) = self.owners.get_mut(owner).filter(|stillness| stillness.confirmed) {
            stillness.since = now;
            stillness.stood = Duration::ZERO;
            stillness.confirmed = false;
        }
    }

    pub(crate) fn is_dead(&self, owner: &Owner) -> bool {
        self.owners.get(owner).is_some_and(|stillness| stillness.confirmed)
    }

    /// When the next owner will have stood still for long enough.
    pub(crate) fn due_at(&self) -> Option<Monotonic> {
        let watched_to = self.watched_to?;
        let open = self.owners.values().filter(|stillness| !stillness.confirmed);
        open.map(|still| watched_to.max(still.since) + self.after.saturating_sub(still.stood)).min()
    }

    /// Forgets everybody else.
    pub(crate) fn retain(&mut self, owners: &BTreeSet<Owner>) {
        self.owners.retain(|owner, _| owners.contains(owner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn owner(incarnation: &str) -> Owner {
        Owner { host: "b".to_owned(), incarnation: incarnation.to_owned() }
    }

    fn expiry() -> Expiry {
        Expiry::new(Duration::from_secs(9), Duration::from_secs(6))
    }

    #[test]
    fn an_owner_is_suspected_once_its_sign_stood_still_and_dead_once_that_is_confirmed() {
        let (mut expiry, b) = (expiry(), owner("1"));
        expiry.seen(&b, Some("x"), at(0));
        for second in [0, 3, 6] {
            expiry.watch(at(second), OwnBeats::default());
            expiry.seen(&b, Some("x"), at(second));
        }
        assert_eq!(expiry.suspects(), []);
        assert_eq!(expiry.due_at(), Some(at(9)));
        expiry.watch(at(9), OwnBeats::default());
        assert_eq!(expiry.suspects().first(), Some(&b));
        assert!(!expiry.is_dead(&b));
        expiry.confirm(&b);
        assert!(expiry.is_dead(&b));
        assert_eq!((expiry.suspects(), expiry.due_at()), (vec![], None));
        expiry.seen(&b, Some("y"), at(9));
        assert!(!expiry.is_dead(&b), "it came back");
    }

    #[test]
    fn who_counted_as_dead_and_has_a_lease_that_was_written_since_is_back() {
        let (mut expiry, dead) = (expiry(), owner("1"));
        expiry.seen(&dead, Some("1"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        expiry.watch(at(6), OwnBeats::default());
        // Who is only suspected is not confused by it.
        expiry.back(&dead, at(6));
        expiry.watch(at(9), OwnBeats::default());
        assert_eq!(expiry.suspects(), std::slice::from_ref(&dead));
        expiry.confirm(&dead);
        assert!(expiry.is_dead(&dead));
        expiry.back(&dead, at(9));
        assert!(!expiry.is_dead(&dead) && expiry.suspects().is_empty());
        expiry.watch(at(15), OwnBeats::default());
        expiry.watch(at(18), OwnBeats::default());
        assert_eq!(expiry.suspects(), [dead]);
    }

    #[test]
    fn a_sign_of_life_begins_the_time_anew() {
        let (mut expiry, b) = (expiry(), owner("1"));
        for second in 0..100 {
            expiry.seen(&b, Some(&(second / 5).to_string()), at(second));
            expiry.watch(at(second), OwnBeats::default());
            assert_eq!(expiry.suspects(), []);
        }
    }

    #[test]
    fn what_passed_before_a_sign_was_seen_does_not_count() {
        let (mut expiry, old, new) = (expiry(), owner("1"), owner("2"));
        expiry.seen(&old, Some("x"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        // Nobody looked in between.
        expiry.seen(&new, Some("y"), at(4));
        expiry.watch(at(6), OwnBeats::default());
        expiry.watch(at(9), OwnBeats::default());
        assert_eq!((expiry.suspects(), expiry.due_at()), (vec![old.clone()], Some(at(9))));
        expiry.confirm(&old);
        assert_eq!(expiry.due_at(), Some(at(13)));
        // And of who is back.
        expiry.back(&old, at(12));
        expiry.watch(at(13), OwnBeats::default());
        assert_eq!((expiry.suspects(), expiry.due_at()), (vec![new.clone()], Some(at(13))));
        expiry.confirm(&new);
        assert_eq!(expiry.due_at(), Some(at(21)));
    }

    #[test]
    fn time_in_which_our_own_heartbeats_fail_does_not_count() {
        let (mut expiry, b) = (expiry(), owner("1"));
        expiry.seen(&b, Some("x"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        expiry.watch(at(5), OwnBeats::default());
        expiry.look_away();
        expiry.watch(at(500), OwnBeats::default());
        assert_eq!(expiry.suspects(), []);
        expiry.watch(at(503), OwnBeats::default());
        assert_eq!(expiry.suspects(), []);
        expiry.watch(at(504), OwnBeats::default());
        assert_eq!(expiry.suspects(), [b]);
    }

    #[test]
    fn a_heartbeat_of_ours_that_failed_between_two_looks_counts_against_what_was_seen() {
        let (mut expiry, b) = (expiry(), owner("1"));
        let missed = OwnBeats { misses: 1, returns: 0 };
        expiry.seen(&b, Some("x"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        expiry.watch(at(5), OwnBeats::default());
        expiry.watch(at(10), missed);
        expiry.watch(at(13), missed);
        assert_eq!((expiry.suspects(), expiry.due_at()), (vec![], Some(at(14))));
        expiry.watch(at(14), missed);
        assert_eq!(expiry.suspects(), [b]);
    }

    #[test]
    fn who_returned_between_two_looks_gives_everybody_the_whole_time_again() {
        let (mut expiry, b) = (expiry(), owner("1"));
        let returned = OwnBeats { misses: 2, returns: 1 };
        expiry.seen(&b, Some("x"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        expiry.watch(at(6), OwnBeats::default());
        expiry.watch(at(14), returned);
        expiry.watch(at(20), returned);
        assert_eq!((expiry.suspects(), expiry.due_at()), (vec![], Some(at(23))));
        expiry.watch(at(23), returned);
        assert_eq!(expiry.suspects(), [b]);
    }

    #[test]
    fn a_stretch_in_which_we_were_frozen_counts_as_one_step() {
        let (mut expiry, b) = (expiry(), owner("1"));
        expiry.seen(&b, Some("x"), at(0));
        expiry.watch(at(0), OwnBeats::default());
        expiry.watch(at(1000), OwnBeats::default());
        assert_eq!(expiry.suspects(), []);
        expiry.begin_anew();
        expiry.watch(at(1001), OwnBeats::default());
        expiry.watch(at(1006), OwnBeats::default());
        assert_eq!(expiry.suspects(), []);
        expiry.watch(at(1010), OwnBeats::default());
        assert_eq!(expiry.suspects(), [b]);
    }

    #[test]
    fn two_lives_of_one_host_are_two_owners() {
        let (mut expiry, old, new) = (expiry(), owner("1"), owner("2"));
        expiry.seen(&old, Some("x"), at(0));
        for second in 0..=9 {
            expiry.seen(&new, Some(&second.to_string()), at(second));
            expiry.watch(at(second), OwnBeats::default());
        }
        assert_eq!(expiry.suspects().as_slice(), std::slice::from_ref(&old));
        expiry.retain(&BTreeSet::from([new.clone()]));
        assert_eq!(expiry.suspects(), []);
    }
}
