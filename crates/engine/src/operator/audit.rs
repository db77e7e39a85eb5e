//! Proves that leases cover their containers' ranges with no gap and no overlap, and makes it so.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_store_api::{Container, FeedRange, FeedStart};
use serde::{Deserialize, Serialize};

use super::lag::Stretch;
use super::{Feed, Operator};
use crate::LeaseError;
use crate::lease::{LeaseDocument, Stored, Wanted, faults, listed, mended, parts};
use crate::listing::{Listing, ids_beginning_with};

/// What an audit of one processor over one source found, and what would mend it.
#[derive(Debug)]
pub struct Audit {
    pub processor: String,
    pub source: String,
    /// Leases that were understood.
    pub leases: usize,
    pub faults: Vec<Fault>,
    pub repairs: Vec<Repair>,
    steps: Vec<Step>,
}

/// Something wrong with leases. Leases are named by their tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// No lease covers these keys: what happens to them is delivered to nobody.
    Gap { range: FeedRange },
    /// Two leases cover these keys: what happens to them is delivered twice.
    Overlap { range: FeedRange, leases: [String; 2] },
    /// A lease over a container that is not there any more.
    Orphan { id: String },
    /// A lease that cannot be understood; nothing is done about it.
    Unreadable { reason: String },
}

/// What a repair does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "repair", rename_all = "kebab-case")]
pub enum Repair {
    /// A lease for keys that have none of their own.
    #[serde(rename_all = "camelCase")]
    Make { range: FeedRange, from: String, delivered_again: u64 },
    /// A lease goes on from where another one over some of its keys was, which is further back.
    #[serde(rename_all = "camelCase")]
    Rewind { range: FeedRange, lease: String, from: String, delivered_again: u64 },
    /// A lease whose keys others have, or nobody needs; its record is kept.
    Remove { id: String },
}

#[derive(Debug)]
enum Step {
    Make(FeedRange, FeedStart),
    Rewind(Stored, FeedStart),
    /// With the prefix of its id.
    Remove(String, Stored),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { range } => write!(f, "no lease covers {range}: its changes are delivered to nobody"),
            Self::Overlap { range, leases: [one, other] } => {
                write!(f, "leases {one} and {other} both cover {range}: its changes are delivered twice")
            }
            Self::Orphan { id } => write!(f, "lease {id} is over a container that is not there any more"),
            Self::Unreadable { reason } => f.write_str(reason),
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make { range, from, delivered_again } => {
                write!(f, "make a lease over {range} that begins at {from}; {}", again(*delivered_again))
            }
            Self::Rewind { lease, from, delivered_again, .. } => {
                write!(f, "let lease {lease} go on from {from}; {}", again(*delivered_again))
            }
            Self::Remove { id } => write!(f, "remove lease {id}, and keep its record"),
        }
    }
}

fn again(commits: u64) -> String {
    match commits {
        0 => "nothing is delivered again".to_owned(),
        commits => format!("about {commits} commits are delivered, again where they were before"),
    }
}

impl Operator {
    /// Of every source of `processor`.
    pub async fn audit(&self, processor: &str) -> Result<Vec<Audit>, LeaseError> {
        let mut audits = Vec::new();
        for feed in self.feeds.iter().filter(|feed| feed.processor == processor) {
            audits.push(self.audit_feed(feed).await?);
        }
        if let Some(first) = audits.first_mut() {
            self.find_orphans(processor, first).await?;
        }
        Ok(audits)
    }

    async fn audit_feed(&self, feed: &Feed) -> Result<Audit, LeaseError> {
        let attempted = format!("audit the leases of {} over {}", feed.processor, feed.source.name());
        // Ranges before leases, as whoever keeps them does it.
        let ranges = self.ranges(&feed.source, &attempted).await?;
        let (mut leases, mut found) = (Vec::new(), Vec::new());
        for body in self.bodies(&format!("{}..", feed.table.prefix()), &attempted).await? {
            match listed(body) {
                Ok(stored) => leases.push(stored),
                Err(error) => found.push(Fault::Unreadable { reason: error.to_string() }),
            }
        }
        let covered: Vec<_> = leases.iter().map(|stored| stored.lease.range().clone()).collect();
        let wrong = faults(&ranges, &covered);
        // One that is not understood may be the one that covers a gap.
        let is_understood = found.is_empty();
        found.extend(wrong.gaps.into_iter().map(|range| Fault::Gap { range }));
        let token = |lease: usize| leases[lease].lease.token().to_owned();
        found.extend(wrong.overlaps.into_iter().map(|(one, other, range)| {
            let leases = [token(one), token(other)];
            Fault::Overlap { range, leases }
        }));
        let (mut repairs, mut steps) = (Vec::new(), Vec::new());
        if is_understood && !found.is_empty() {
            let wanted = mended(&ranges, &covered);
            for wanted in &wanted {
                if let Some((repair, step)) = self.mend(feed, &leases, wanted, &attempted).await? {
                    repairs.push(repair);
                    steps.push(step);
                }
            }
            // Last: between two owners nothing else says that keys belong to anybody.
            let stays = |lease: usize| wanted.iter().any(|wanted| wanted.stays && wanted.of == Some(lease));
            for (_, stored) in leases.iter().enumerate().filter(|(lease, _)| !stays(*lease)) {
                repairs.push(Repair::Remove { id: stored.lease.id().as_str().to_owned() });
                steps.push(Step::Remove(feed.table.prefix().to_owned(), stored.clone()));
            }
        }
        let (processor, source) = (feed.processor.clone(), feed.source.name().to_owned());
        Ok(Audit { processor, source, leases: leases.len(), faults: found, repairs, steps })
    }

    /// What makes of a lease what it should be, if it is not.
    async fn mend(
        &self,
        feed: &Feed,
        leases: &[Stored],
        wanted: &Wanted,
        attempted: &str,
    ) -> Result<Option<(Repair, Step)>, LeaseError> {
        // A lease that never had a place has everything before it.
        let start = |lease: usize| leases[lease].lease.start().unwrap_or(FeedStart::Beginning);
        let range = wanted.range.clone();
        let before = wanted.of.map(start);
        let mut earliest = before.clone().unwrap_or(FeedStart::Beginning);
        for other in &wanted.no_further {
            earliest = self.earlier(&feed.source, &range, earliest, start(*other), attempted).await?;
        }
        let behind = self.behind(&from_place(feed, &range, &earliest), attempted).await?.changes;
        let from = shown(&earliest);
        if !wanted.stays {
            let known = match &before {
                Some(before) => self.behind(&from_place(feed, &range, before), attempted).await?.changes,
                None => 0,
            };
            let repair = Repair::Make { range: range.clone(), from, delivered_again: behind.saturating_sub(known) };
            return Ok(Some((repair, Step::Make(range, earliest))));
        }
        let (Some(of), Some(before)) = (wanted.of, before) else { return Ok(None) };
        if earliest == before {
            return Ok(None);
        }
        let known = self.behind(&from_place(feed, &range, &before), attempted).await?.changes;
        let lease = leases[of].lease.token().to_owned();
        let repair = Repair::Rewind { range, lease, from, delivered_again: behind.saturating_sub(known) };
        Ok(Some((repair, Step::Rewind(leases[of].clone(), earliest))))
    }

    /// Of two places in the feed of a range the one behind which more comes. Positions say nothing about each other, so both
    /// are read from.
    async fn earlier(
        &self,
        source: &Arc<dyn Container>,
        range: &FeedRange,
        one: FeedStart,
        other: FeedStart,
        attempted: &str,
    ) -> Result<FeedStart, LeaseError> {
        if one == other {
            return Ok(one);
        }
        // What comes behind a time is no tail of the feed where ranges were merged.
        if since(&one) != since(&other) || one == FeedStart::Beginning || other == FeedStart::Beginning {
            return Ok(FeedStart::Beginning);
        }
        let (mut one_first, mut other_first) = (false, false);
        for part in parts(range, &self.ranges(source, attempted).await?) {
            let mut next = [u64::MAX; 2];
            for (next, start) in next.iter_mut().zip([&one, &other]) {
                let read = || source.read_page(&part, start, 1);
                let page = self.patience.outlast(attempted, read).await.map_err(LeaseError::store(attempted))?;
                *next = page.changes.first().map_or(u64::MAX, |change| change.lsn);
            }
            one_first |= next[0] < next[1];
            other_first |= next[1] < next[0];
        }
        Ok(match (one_first, other_first) {
            // Each is ahead somewhere, and a lease has one place.
            (true, true) => FeedStart::Beginning,
            (false, true) => other,
            _ => one,
        })
    }

    /// Leases of the processor over containers that were dropped: their resource ids are nobody's.
    async fn find_orphans(&self, processor: &str, audit: &mut Audit) -> Result<(), LeaseError> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let attempted = format!("look for leases of {processor} over containers that are gone");
        let failed = |error| LeaseError::store(&attempted)(error);
        let mut known = Vec::new();
        for name in self.patience.outlast(&attempted, || self.database.containers()).await.map_err(failed)? {
            let open = || self.database.container(&name);
            let container = self.patience.outlast(&attempted, open).await.map_err(failed)?;
            known.push(self.prefix(processor, container.rid()));
        }
        for body in self.bodies(&self.prefix(processor, ""), &attempted).await? {
            let Ok(Named { id }) = serde_json::from_slice::<Named>(&body) else { continue };
            let Some((prefix, _)) =
                id.rsplit_once("..").filter(|(prefix, _)| !known.iter().any(|known| known == prefix))
            else {
                continue;
            };
            audit.faults.push(Fault::Orphan { id: id.clone() });
            if let Ok(stored) = listed(body) {
                audit.steps.push(Step::Remove(prefix.to_owned(), stored));
                audit.repairs.push(Repair::Remove { id });
            }
        }
        Ok(())
    }

    /// Carries out what an audit would do. Whoever works on a lease that changes stops; what was settled and not stored there
    /// is delivered again.
    pub async fn repair(&self, audit: &Audit) -> Result<(), LeaseError> {
        let feed =
            self.feeds.iter().find(|feed| feed.processor == audit.processor && feed.source.name() == audit.source);
        let unknown =
            || LeaseError::Unknown { processor: audit.processor.clone(), source_container: audit.source.clone() };
        let feed = feed.ok_or_else(unknown)?;
        for step in &audit.steps {
            match step {
                Step::Make(range, start) => feed.table.create_free(range.clone(), start).await?,
                Step::Rewind(stored, start) => {
                    self.change_stored(&feed.table, stored, |lease| lease.freed().moved_to(start)).await?;
                }
                Step::Remove(prefix, stored) => {
                    let table = self.table(prefix);
                    // Free first: whoever has it would otherwise go on storing how far it is.
                    if let Some(freed) = self.change_stored(&table, stored, LeaseDocument::freed).await? {
                        table.remove(&freed).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn bodies(&self, prefix: &str, attempted: &str) -> Result<Vec<Bytes>, LeaseError> {
        let mut listing = Listing::of(&*self.leases, &self.patience, attempted, ids_beginning_with(prefix));
        let mut bodies = Vec::new();
        while let Some(page) = listing.next().await.map_err(LeaseError::store(attempted))? {
            bodies.extend(page);
        }
        Ok(bodies)
    }
}

fn since(start: &FeedStart) -> Option<jiff::Timestamp> {
    match start {
        FeedStart::Time(since) | FeedStart::PositionSince { since, .. } => Some(*since),
        FeedStart::Beginning | FeedStart::Now | FeedStart::Position(_) => None,
    }
}

fn from_place<'a>(feed: &'a Feed, range: &'a FeedRange, start: &'a FeedStart) -> Stretch<'a> {
    Stretch { source: &feed.source, range, start, portion: None, table: None }
}

fn shown(start: &FeedStart) -> String {
    match start {
        FeedStart::Beginning => "the beginning".to_owned(),
        FeedStart::Now => "now".to_owned(),
        FeedStart::Time(time) => time.to_string(),
        FeedStart::Position(position) | FeedStart::PositionSince { position, .. } => position.to_string(),
    }
}
