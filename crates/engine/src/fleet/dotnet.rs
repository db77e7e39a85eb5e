//! What a host of the .NET change feed processor does next, given the leases and the time. Pure: `guest.rs` carries it out.
//!
//! The rules are those of its `EqualPartitionsBalancingStrategy`, because two hosts that balance by different rules never
//! come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::ETag;
use jiff::Timestamp;

use crate::lease::Stored;

/// A lease as it is seen in one pass, in the order of the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight<'a> {
    pub(super) id: &'a str,
    /// `None` where nobody has it, or whoever had it stopped renewing it.
    pub(super) owner: Option<&'a str>,
}

/// The leases that host `me` takes in this pass: those that nobody has up to an equal share, or else one of whoever has most.
pub(super) fn balance<'a>(me: &str, leases: &[Sight<'a>]) -> Vec<&'a str> {
    // In the order in which they are met, as theirs are: of several who have most the last one gives.
    let mut owners: Vec<(&str, usize)> = Vec::new();
    for owner in leases.iter().filter_map(|lease| lease.owner) {
        match owners.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, count)) => *count += 1,
            None => owners.push((owner, 1)),
        }
    }
    if !owners.iter().any(|(owner, _)| *owner == me) {
        owners.push((me, 0));
    }
    // A host that has nothing is seen by nobody else.
    let target = if leases.len() > owners.len() { leases.len().div_ceil(owners.len()) } else { 1 };
    let mine = owners.iter().find(|(owner, _)| *owner == me).map_or(0, |(_, count)| *count);
    let need = target.saturating_sub(mine);
    if need == 0 {
        return Vec::new();
    }
    let free: Vec<&str> =
        leases.iter().filter(|lease| lease.owner.is_none()).map(|lease| lease.id).take(need).collect();
    if !free.is_empty() {
        return free;
    }
    let Some(&(victim, most)) = owners.iter().max_by_key(|(_, count)| *count) else { return Vec::new() };
    if most <= target - usize::from(need > 1) {
        return Vec::new();
    }
    leases.iter().find(|lease| lease.owner == Some(victim)).map(|lease| lease.id).into_iter().collect()
}

/// Which leases somebody renews.
///
/// The rule is theirs: the time in the lease, by the clock of whoever wrote it, against our own. What we saw being written in
/// between is renewed all the same; otherwise a clock that runs ahead would make us steal every lease of the fleet, again and
/// again.
#[derive(Debug)]
pub(super) struct Renewals {
    expiry: Duration,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    etag: ETag,
    /// When we found that it had been written since the look before.
    written: Option<Monotonic>,
}

impl Renewals {
    pub(super) fn new(expiry: Duration) -> Self {
        Self { expiry, seen: BTreeMap::new() }
    }

    /// The owner of a lease that is seen now, unless it has expired.
    pub(super) fn owner<'a>(&mut self, stored: &'a Stored, now: Timestamp, at: Monotonic) -> Option<&'a str> {
        let id = stored.lease.id().as_str();
        let fresh = match self.seen.get_mut(id) {
            None => {
                self.seen.insert(id.to_owned(), Seen { etag: stored.etag.clone(), written: None });
                false
            }
            Some(seen) => {
                if seen.etag != stored.etag {
                    *seen = Seen { etag: stored.etag.clone(), written: Some(at) };
                }
                seen.written.is_some_and(|written| at.since(written) < self.expiry)
            }
        };
        let age = stored.lease.written_at().map(|then| now.duration_since(then));
        let renewed = age.is_some_and(|age| Duration::try_from(age).unwrap_or_default() <= self.expiry);
        stored.lease.owner().filter(|_| fresh || renewed)
    }

    pub(super) fn forget_all_but(&mut self, is_there: impl Fn(&str) -> bool) {
        self.seen.retain(|id, _| is_there(id));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::Document;
    use serde_json::json;

    use super::*;

    /// Leases by owner: `-` is nobody.
    fn sights(owners: &str) -> Vec<(String, Option<String>)> {
        let owner = |(index, owner): (usize, &str)| (format!("l{index}"), (owner != "-").then(|| owner.to_owned()));
        owners.split_whitespace().enumerate().map(owner).collect()
    }

    fn takes(me: &str, leases: &[(String, Option<String>)]) -> Vec<String> {
        let sights: Vec<_> = leases.iter().map(|(id, owner)| Sight { id, owner: owner.as_deref() }).collect();
        balance(me, &sights).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn cases_of_the_equal_share() {
        for (me, owners, expected) in [
            ("a", "", &[][..]),
            ("a", "-", &["l0"]),
            ("a", "- - -", &["l0", "l1", "l2"]),
            // Free ones up to the share, then no stealing in the same pass.
            ("a", "b - - b", &["l1", "l2"]),
            ("a", "b b b - b", &["l3"]),
            // One from who has most, of equals the last.
            ("a", "b b b b", &["l0"]),
            ("a", "b c b c b c", &["l1"]),
            ("a", "b b a", &[]),
            ("a", "b b b a", &["l0"]),
            // As many hosts as leases: nobody has more than one.
            ("a", "b c", &[]),
            ("a", "b b c", &["l0"]),
            ("a", "a a b -", &[]),
            ("a", "a - - -", &["l1", "l2", "l3"]),
        ] {
            assert_eq!(takes(me, &sights(owners)), expected, "{me} among {owners}");
        }
    }

    /// Passes of all hosts, one after the other, until nobody takes anything more; how many leases moved, and how often
    /// everybody looked.
    fn settle(hosts: usize, mut leases: Vec<(String, Option<String>)>) -> (usize, usize, Vec<usize>) {
        let (mut moves, mut passes) = (0, 0);
        loop {
            let before = moves;
            for host in 0..hosts {
                for taken in takes(&format!("h{host}"), &leases) {
                    let lease = leases.iter_mut().find(|(id, _)| *id == taken).unwrap();
                    lease.1 = Some(format!("h{host}"));
                    moves += 1;
                }
            }
            if moves == before {
                let count = |host: usize| leases.iter().filter(|(_, owner)| *owner == Some(format!("h{host}"))).count();
                return (moves, passes, (0..hosts).map(count).collect());
            }
            passes += 1;
        }
    }

    #[test]
    fn a_fleet_comes_to_equal_shares_as_slowly_as_theirs_does() {
        let held_by = |hosts: usize, leases: usize| {
            (0..leases).map(|lease| (format!("l{lease:04}"), Some(format!("h{}", lease % hosts)))).collect()
        };
        assert_eq!(settle(2, held_by(1, 10)), (5, 5, vec![5, 5]));
        assert_eq!(settle(2, held_by(1, 100)), (50, 50, vec![50, 50]));
        let (moves, _, shares) = settle(5, held_by(4, 100));
        assert_eq!((moves, shares), (20, vec![20; 5]));
    }

    #[test]
    fn a_lease_expires_by_the_time_in_it_unless_we_saw_it_written() {
        let stored = |etag: &str, owner: &str, at: &str| {
            let body = json!({
                "id": "p..0", "Owner": owner, "timestamp": at, "FeedRange": {"Range": {"min": "", "max": "FF"}},
            });
            Stored::parse(&Document { etag: ETag::new(etag), body: Bytes::from(body.to_string()) }).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        let mut renewals = Renewals::new(Duration::from_secs(60));
        let young = stored("1", "net", "2026-01-01T00:09:30.1234567Z");
        let old = stored("1", "net", "2026-01-01T00:08:00Z");
        assert_eq!(renewals.owner(&young, now, at(0)), Some("net"));
        assert_eq!(renewals.owner(&old, now, at(13)), None);
        assert_eq!(renewals.owner(&stored("1", " ", "2026-01-01T00:09:30Z"), now, at(14)), None);
        // Written since, by a clock two minutes behind ours: somebody is there.
        let behind = stored("2", "net", "2026-01-01T00:08:10Z");
        assert_eq!(renewals.owner(&behind, now, at(26)), Some("net"));
        assert_eq!(renewals.owner(&behind, now, at(85)), Some("net"));
        assert_eq!(renewals.owner(&behind, now, at(86)), None);
        // By a clock that is ahead it is renewed until we come to its time.
        assert_eq!(renewals.owner(&stored("2", "net", "2026-01-01T00:12:00Z"), now, at(90)), Some("net"));
        renewals.forget_all_but(|_| false);
        assert_eq!(renewals.owner(&behind, now, at(99)), None, "it is seen for the first time");
    }
}
