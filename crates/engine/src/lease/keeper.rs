//! Sees to it that every range has a lease, and takes them.

use std::sync::Arc;

use feedmill_store_api::{Applied, Container, ErrorKind, FeedStart};

use super::document::{LeaseDocument, Stored};
use super::error::Error;
use super::held::HeldLease;
use super::table::{Replaced, Table};
use super::topology::{self, Coverage};
use crate::StartFrom;
use crate::retry::is_outage;

/// The leases of one processor over one source.
#[derive(Clone)]
pub(crate) struct Keeper {
    table: Table,
    source: Arc<dyn Container>,
    start: StartFrom,
    exclusive: bool,
}

/// Which leases may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// At start: what is free or has our host's name; all of them where nobody else can be.
    Start,
    /// After a loss: what is free, or still ours. Not what has our host's name alone: another life of this host, or
    /// another host of this name, would be fought for the lease.
    Again,
}

/// What became of an attempt to take a lease.
pub(crate) enum Acquired {
    Held(Box<HeldLease>),
    /// Another owner has it; it is left alone.
    HeldBy(String),
    /// It is no more.
    Missing,
}

impl Keeper {
    pub(crate) fn new(table: Table, source: Arc<dyn Container>, start: StartFrom, exclusive: bool) -> Self {
        Self { table, source, start, exclusive }
    }

    /// Creates what is missing, each lease with its start position in it, and returns all leases.
    pub(crate) async fn prepare(&self) -> Result<Vec<Stored>, Error> {
        let attempted = format!("look up the ranges of {}", self.source.name());
        let ranges = self.table.patience.outlast(&attempted, || self.source.feed_ranges()).await;
        // Ranges before leases: a split in between then leaves a lease over two ranges, which is seen; the other way
        // round it would look like a gap.
        let ranges = ranges.map_err(Error::store(attempted))?;
        let leases = self.table.list().await?;
        let is_old = self.table.is_marked().await?;
        let covered: Vec<_> = leases.iter().map(|stored| stored.lease.range().clone()).collect();
        let coverage = topology::cover(&ranges, &covered);
        self.report(&coverage, is_old);
        for range in &coverage.missing {
            let start = match self.start {
                // A lease was lost. Between it and now nobody knows what was delivered, so all of it is.
                StartFrom::Now if is_old => FeedStart::Beginning,
                start => self.resolve(start, range).await?,
            };
            let lease = LeaseDocument::new(&self.table.prefix, range.clone(), &start, self.table.by_partition_key())?;
            self.table.create(lease).await?;
        }
        if !is_old {
            self.table.mark().await?;
        }
        if coverage.missing.is_empty() { Ok(leases) } else { self.table.list().await }
    }

    /// Takes the lease where `claim` allows it. Outlasts outages.
    pub(crate) async fn acquire(&self, mut stored: Stored, claim: Claim) -> Result<Acquired, Error> {
        let attempted = format!("take lease {}", stored.lease.id());
        let mut backoff = self.table.patience.backoff();
        let mut doubt = false;
        loop {
            if let Some(owner) = self.other_owner(&stored.lease, claim) {
                return Ok(Acquired::HeldBy(owner.to_owned()));
            }
            let start = match stored.lease.start() {
                Some(start) => start,
                // A lease of .NET that never had a checkpoint: its start is stored before the first delivery too.
                None => self.resolve(self.start, stored.lease.range()).await?,
            };
            let wanted = stored.lease.clone().taken_by(&self.table.owner).starting(&start);
            match self.table.replace(&stored, wanted.clone()).await {
                Replaced::Written(stored, _) => return Ok(self.held(stored, start)),
                Replaced::Refused(Some(found)) if doubt && found.lease.is_same_taking(&wanted) => {
                    return Ok(self.held(found, start));
                }
                Replaced::Refused(Some(found)) => {
                    stored = found;
                    doubt = false;
                }
                Replaced::Refused(None) => return Ok(Acquired::Missing),
                Replaced::Failed(error) if is_outage(error.kind()) => {
                    doubt |= error.applied() == Applied::Perhaps;
                    self.table.patience.wait(&mut backoff, &attempted, &error).await;
                }
                Replaced::Failed(error) => return Err(Error::store(attempted)(error)),
            }
        }
    }

    /// Looks at the lease as it is now, and takes it where `claim` allows it.
    pub(crate) async fn acquire_again(&self, known: &Stored, claim: Claim) -> Result<Acquired, Error> {
        let attempted = format!("read lease {}", known.lease.id());
        match self.table.patience.outlast(&attempted, || self.table.read(&known.lease)).await {
            Ok(Some(stored)) => self.acquire(stored, claim).await,
            Ok(None) => Ok(Acquired::Missing),
            Err(error) => Err(Error::store(attempted)(error)),
        }
    }

    fn held(&self, stored: Stored, start: FeedStart) -> Acquired {
        Acquired::Held(Box::new(HeldLease::new(self.table.clone(), stored, start)))
    }

    fn other_owner<'a>(&self, lease: &'a LeaseDocument, claim: Claim) -> Option<&'a str> {
        let owner = lease.owner()?;
        let us = &self.table.owner;
        let may_take = match claim {
            Claim::Start => self.exclusive || owner.eq_ignore_ascii_case(&us.host),
            Claim::Again => owner == us.host && lease.incarnation() == Some(&us.incarnation),
        };
        (!may_take).then_some(owner)
    }

    /// `now` becomes the position of one empty poll: what is stored must mean the same at every later start.
    async fn resolve(&self, start: StartFrom, range: &feedmill_store_api::FeedRange) -> Result<FeedStart, Error> {
        match start {
            StartFrom::Beginning => Ok(FeedStart::Beginning),
            StartFrom::Time(time) => Ok(FeedStart::Time(time)),
            StartFrom::Now => {
                let attempted = format!("find the head of {} {range}", self.source.name());
                let poll = || self.source.read_page(range, &FeedStart::Now, 1);
                match self.table.patience.outlast(&attempted, poll).await {
                    Ok(page) => Ok(FeedStart::Position(page.position)),
                    // The range is already split; whoever reads it reports that. Nothing may be skipped meanwhile.
                    Err(error) if error.kind() == ErrorKind::Gone => Ok(FeedStart::Beginning),
                    Err(error) => Err(Error::store(attempted)(error)),
                }
            }
        }
    }

    fn report(&self, coverage: &Coverage, is_old: bool) {
        let (prefix, source) = (&self.table.prefix, self.source.name());
        if is_old {
            for range in &coverage.missing {
                tracing::error!(%prefix, source, %range, "a lease is missing; it is made again");
            }
        }
        for (one, other) in &coverage.overlapping {
            tracing::error!(%prefix, source, %one, %other, "leases overlap; their changes are delivered twice");
        }
        for range in &coverage.spanning {
            tracing::error!(%prefix, source, %range, "a lease covers a range that was split");
        }
    }
}
