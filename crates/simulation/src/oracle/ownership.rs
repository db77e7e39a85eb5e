use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_local_store::key_range;
use feedmill_store_api::{FeedRange, PartitionKey};

use super::lease::{Feed, Lease, Owner};
use crate::network::Weather;

/// Who sends what operators do.
pub(crate) const OPERATOR: &str = "operator";
/// How long a host must have watched another before it may take its leases: the expiry of the default options, less what
/// clocks drift apart in that time.
const WATCHED_MIN: Duration = Duration::from_millis(8_950);
/// How long the writing of a lease may be under way.
const UNDER_WAY_MAX: Duration = Weather::LATE_MAX;
/// Of a gap between two of its own heartbeats a host may count so much, twice the interval, and no more: then it is the one
/// that was away.
const GAP_MAX: Duration = Duration::from_millis(6_050);

/// Who has which lease, and since when.
#[derive(Default)]
pub(super) struct Ownership {
    leases: BTreeMap<String, Lease>,
    /// Owners by lease and epoch.
    owners: BTreeMap<(String, u64), Owner>,
    /// Lives by incarnation.
    lives: BTreeMap<String, String>,
    /// When heartbeats of lives arrived, and who said that it has ended.
    beats: BTreeMap<String, Vec<Monotonic>>,
    stopped: BTreeSet<String>,
    /// When a life last got a lease of a feed.
    got: BTreeMap<(String, Feed), Monotonic>,
    /// When an operator last wrote a lease of a feed.
    operated: BTreeMap<Feed, Monotonic>,
    /// Epochs in which lives say that they work on ranges.
    held: BTreeMap<(String, Feed, FeedRange), u64>,
}

/// A lease changed hands, as far as its writing says.
pub(super) struct Landed {
    pub(super) breaches: Vec<String>,
    /// The life that has it from now on.
    pub(super) begins: Option<String>,
}

impl Ownership {
    pub(super) fn beat(&mut self, life: &str, incarnation: &str, stopped: bool, at: Monotonic) {
        self.lives.insert(incarnation.to_owned(), life.to_owned());
        self.beats.entry(life.to_owned()).or_default().push(at);
        if stopped {
            self.stopped.insert(life.to_owned());
        }
    }

    pub(super) fn landed(&mut self, sender: &str, lease: &Lease, at: Monotonic) -> Landed {
        let mut landed = Landed { breaches: Vec::new(), begins: None };
        if sender == OPERATOR {
            self.operated.insert(lease.feed.clone(), at);
        } else if let Some(breach) = self.taken_from_the_living(sender, lease, at) {
            landed.breaches.push(breach);
        }
        if let Some(owner) = &lease.owner {
            let known = self.owners.entry((lease.id.clone(), lease.epoch));
            let is_new = matches!(known, std::collections::btree_map::Entry::Vacant(_));
            let first = known.or_insert_with(|| owner.clone());
            if first != owner {
                let (id, epoch) = (&lease.id, lease.epoch);
                landed.breaches.push(format!("lease {id} belongs to {first:?} and to {owner:?} in epoch {epoch}"));
            }
            if let Some(life) = self.lives.get(&owner.incarnation).filter(|_| is_new) {
                self.got.insert((life.clone(), lease.feed.clone()), at);
                landed.begins = Some(life.clone());
            }
        }
        self.leases.insert(lease.id.clone(), lease.clone());
        landed
    }

    pub(super) fn removed(&mut self, lease: &str) {
        self.leases.remove(lease);
        // One that is made anew has nothing to do with it.
        self.owners.retain(|(id, _), _| id != lease);
    }

    /// Ranges that have leases.
    pub(super) fn ranges<'a>(&'a self, feed: &'a Feed) -> impl Iterator<Item = &'a FeedRange> {
        self.leases.values().filter(move |lease| lease.feed == *feed).map(|lease| &lease.range)
    }

    pub(super) fn overlaps(&self) -> Vec<String> {
        let mut leases: Vec<_> = self.leases.values().map(|lease| (&lease.feed, &lease.range)).collect();
        leases.sort();
        let pairs = leases.windows(2).map(|pair| (pair[0], pair[1]));
        let overlapping = pairs.filter(|(one, next)| one.0 == next.0 && one.1.overlaps(next.1));
        overlapping.map(|((feed, one), (_, next))| format!("leases of {feed:?} overlap: {one} and {next}")).collect()
    }

    /// A living host's lease is moved by that host alone.
    fn taken_from_the_living(&self, sender: &str, lease: &Lease, at: Monotonic) -> Option<String> {
        let before = self.leases.get(&lease.id)?;
        let owner = before.owner.as_ref().filter(|owner| lease.owner.as_ref() != Some(owner))?;
        let life = self.lives.get(&owner.incarnation)?;
        if life == sender || self.stopped.contains(life) {
            return None;
        }
        let beats = self.beats.get(life)?.iter().rev().copied();
        // It may have been about to come back when this was sent: then what counts is what was seen before.
        let mut until = at;
        let stillness = beats.map(|beat| (beat, std::mem::replace(&mut until, beat)));
        let recent = stillness.take_while(|(_, until)| at.since(*until) < UNDER_WAY_MAX);
        let watched = recent.map(|(since, until)| self.watched(sender, since, until)).max()?;
        let (id, after) = (&lease.id, &lease.owner);
        (watched < WATCHED_MIN).then(|| {
            format!("{sender} writes lease {id} of {life} to {after:?} after having watched it for {watched:?} only")
        })
    }

    /// For how long since `since` the life was there to watch, as its own heartbeats show.
    fn watched(&self, life: &str, since: Monotonic, until: Monotonic) -> Duration {
        let beats = self.beats.get(life).map_or(&[][..], Vec::as_slice);
        let ends = beats.iter().copied().skip_while(|beat| *beat <= since).chain([until]);
        let mut from = since;
        ends.map(|end| end.since(std::mem::replace(&mut from, end)).min(GAP_MAX)).sum()
    }

    /// A delivery begins: nobody else has the lease, unless an operator took it away a moment ago.
    pub(super) fn delivers(&self, life: &str, feed: &Feed, key: &PartitionKey) -> Option<String> {
        let place = key_range(key);
        let mut others = None;
        for lease in self.leases.values().filter(|lease| lease.feed == *feed && lease.range.overlaps(&place)) {
            match lease.owner.as_ref().and_then(|owner| self.lives.get(&owner.incarnation)) {
                Some(owner) if owner == life => return None,
                Some(owner) => others = Some((owner, lease)),
                None => {}
            }
        }
        let (owner, lease) = others?;
        let got = self.got.get(&(life.to_owned(), feed.clone()));
        if self.operated.get(feed).is_some_and(|operated| got.is_none_or(|got| got <= operated)) {
            return None;
        }
        let (id, epoch) = (&lease.id, lease.epoch);
        Some(format!("{life} delivers {key} while {owner} has lease {id} in epoch {epoch}"))
    }

    pub(super) fn says_it_holds(&mut self, life: &str, feed: Feed, range: FeedRange, epoch: u64) {
        self.held.insert((life.to_owned(), feed, range), epoch);
    }

    /// Nobody gives up what is its own.
    pub(super) fn says_it_lost(&self, life: &str, feed: Feed, range: FeedRange) -> Option<String> {
        let lease = self.leases.values().find(|lease| lease.feed == feed && lease.range == range)?;
        let owner = self.lives.get(&lease.owner.as_ref()?.incarnation)?;
        let epoch = self.held.get(&(life.to_owned(), feed, range))?;
        let (id, stored) = (&lease.id, lease.epoch);
        (owner == life && stored == *epoch).then(|| format!("{life} gives up lease {id}, which is its own"))
    }
}
