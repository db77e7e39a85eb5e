//! When all hosts together have caught up.

use std::collections::BTreeMap;

use super::heartbeat::Rests;
use crate::lease::Owner;

/// A heartbeat, as far as this goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) beat: u64,
    pub(super) rests: Option<Rests>,
}

/// The next heartbeat may have been on its way when everybody was seen at rest; the one behind it was sent after that.
const BEATS: u64 = 2;

/// Waits until nothing is in flight on any host and every range was polled empty after that.
#[derive(Debug, Default)]
pub(super) struct Rest {
    since: Option<BTreeMap<Owner, (u64, Rests)>>,
}

impl Rest {
    /// The hosts that live as they were seen last, `None` where a lease is between two of them.
    pub(super) fn look(&mut self, now: Option<BTreeMap<Owner, Sign>>) -> bool {
        let now: Option<BTreeMap<Owner, (u64, Rests)>> = now.and_then(|hosts| {
            hosts.into_iter().map(|(owner, Sign { beat, rests })| Some((owner, (beat, rests?)))).collect()
        });
        let (Some(since), Some(now)) = (&self.since, &now) else {
            self.since = now;
            return false;
        };
        let goes_on = since.len() == now.len()
            && since.iter().all(|(owner, (_, rested))| {
                now.get(owner).is_some_and(|(_, rests)| rests.deliveries == rested.deliveries)
            });
        if !goes_on {
            self.since = Some(now.clone());
            return false;
        }
        since.iter().all(|(owner, (beat, _))| now[owner].1.polled_since >= beat + BEATS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each host: its heartbeat, how many deliveries it counts, and since which heartbeat it polled empty.
    fn hosts(signs: &[(u64, Option<(u64, u64)>)]) -> Option<BTreeMap<Owner, Sign>> {
        let owner = |index: usize| Owner { host: index.to_string(), incarnation: String::new() };
        let rests = |(deliveries, polled_since)| Rests { deliveries, polled_since };
        let sign = |(beat, rested): (u64, Option<(u64, u64)>)| Sign { beat, rests: rested.map(rests) };
        Some(signs.iter().enumerate().map(|(index, at)| (owner(index), sign(*at))).collect())
    }

    #[test]
    fn all_rest_once_each_polled_empty_after_all_were_seen_at_rest() {
        let mut rest = Rest::default();
        assert!(!rest.look(hosts(&[(1, Some((5, 0))), (7, None)])));
        assert!(!rest.look(hosts(&[(4, Some((5, 3))), (8, Some((2, 7)))])));
        assert!(!rest.look(hosts(&[(7, Some((5, 6))), (10, Some((2, 9)))])));
        // It delivered something meanwhile: the time begins anew.
        assert!(!rest.look(hosts(&[(8, Some((6, 7))), (11, Some((2, 10)))])));
        assert!(!rest.look(hosts(&[(12, Some((6, 10))), (14, Some((2, 12)))])));
        assert!(rest.look(hosts(&[(12, Some((6, 10))), (15, Some((2, 13)))])));
        assert!(!rest.look(None));
        assert!(!rest.look(hosts(&[(20, Some((6, 19))), (20, Some((2, 19)))])));
        assert!(!rest.look(hosts(&[(30, Some((6, 29))), (30, Some((2, 29))), (1, Some((0, 0)))])), "a host joined");
    }
}
