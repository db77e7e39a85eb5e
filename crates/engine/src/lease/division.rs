//! A range that was split: its parts get leases with its position, then its own lease goes.

use feedmill_store_api::{FeedRange, FeedStart, Position};

use super::document::{LeaseDocument, Stored};
use super::error::Error;
use super::held::HeldLease;
use super::keeper::Keeper;
use super::portion::Portion;
use super::topology;
use crate::protection::Protection;

/// What became of a range that the store no longer reads as one.
pub(crate) enum Divided {
    /// Its parts, free for whom the plan wants.
    Into(Vec<Stored>),
    /// It is one range after all: the store was in the middle of something.
    Whole,
}

impl Keeper {
    /// Puts parts in the place of a lease whose range was split; `position` is what is settled and in no checkpoint.
    ///
    /// Every step may be done again by whoever comes after a crash: a part that is there already stays as it is, and is
    /// never behind what the whole has settled. The whole goes last, because between two owners nothing else says that
    /// the keys of a part belong to anybody.
    ///
    /// `begun`: parts that have leases already, whatever the store's ranges are by now: between them and the whole nothing
    /// may stay that both cover. `portion`: how many of the feed's commits are its own.
    pub(crate) async fn divide(
        &self,
        held: &HeldLease,
        position: Option<&Position>,
        begun: &[FeedRange],
        portion: &Portion,
    ) -> Result<Divided, Error> {
        let stored = held.stored();
        let range = stored.lease.range();
        // Under whatever name: .NET hosts call leases by the ids of partition key ranges.
        let there: Vec<_> = self.table.list().await?.into_iter().filter(|part| is_part(&part.lease, range)).collect();
        let parts = if !there.is_empty() && Protection::BegunDivisions.holds() {
            topology::completed(range, &there.iter().map(|part| part.lease.range().clone()).collect::<Vec<_>>())
        } else if begun.is_empty() || !Protection::BegunDivisions.holds() {
            topology::parts(range, &self.ranges().await?)
        } else {
            topology::completed(range, begun)
        };
        if parts.len() < 2 {
            return Ok(Divided::Whole);
        }
        let start = match position {
            Some(position) => FeedStart::Position(position.clone()),
            None => held.start_again(),
        };
        if !Protection::PartsBeforeRemoval.holds() {
            self.table.remove(stored).await?;
        }
        let known = |part: &FeedRange| there.iter().find(|there| there.lease.range() == part);
        // No estimate is worth holding up a range.
        let ranges = self.ranges().await.unwrap_or_default();
        for part in parts.iter().filter(|part| known(part).is_none()) {
            let portion = self.portion(portion, range, part, &ranges).await;
            let lease = self.part(stored, part.clone(), &start)?.with_portion(portion.as_ref());
            self.table.create(lease).await?;
        }
        // Written down before the whole goes: what the feed of leases says of the parts must not come after.
        self.table.remove(stored).await?;
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            let lease = match known(&part) {
                Some(there) => there.lease.clone(),
                None => self.part(stored, part, &start)?,
            };
            let attempted = format!("read lease {}", lease.id());
            let read = self.table.patience.outlast(&attempted, || self.table.read(&lease)).await;
            found.extend(read.map_err(Error::store(attempted))?);
        }
        Ok(Divided::Into(found))
    }

    /// Of a part of `whole`. If that was split, the commits from here on are those of one physical partition of its own. `None`
    /// where nobody knows, or nothing need be kept.
    async fn portion(
        &self,
        of_whole: &Portion,
        whole: &FeedRange,
        part: &FeedRange,
        ranges: &[FeedRange],
    ) -> Option<Portion> {
        let (share, now) = (topology::share(part, std::slice::from_ref(whole)), topology::share(part, ranges));
        if ranges.iter().any(|range| range.contains(whole)) {
            return of_whole.was_split().then(|| of_whole.part(share, now));
        }
        let attempted = format!("find the head of {} {part}", self.source.name());
        let poll = || self.source.read_page(part, &FeedStart::Now, 1);
        let page = self.table.patience.outlast(&attempted, poll).await.ok()?;
        Some(of_whole.split(share, page.head_lsn, now))
    }

    fn part(&self, whole: &Stored, part: FeedRange, start: &FeedStart) -> Result<LeaseDocument, Error> {
        whole.lease.part(&self.table.prefix, part, start, self.table.by_partition_key())
    }
}

/// Whether a lease is over a part of `whole`, and not over all of it.
fn is_part(lease: &LeaseDocument, whole: &FeedRange) -> bool {
    whole.contains(lease.range()) && lease.range() != whole
}
