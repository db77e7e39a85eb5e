//! Sees to it that every range has a lease, and takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_clock::Monotonic;
use feedmill_store_api::{Applied, Container, ErrorKind, FeedRange, FeedStart};
use tokio::sync::Semaphore;

use super::document::{LeaseDocument, Stored};
use super::error::Error;
use super::held::HeldLease;
use super::table::{Replaced, Table};
use super::topology::{self, Coverage};
use crate::limits::{BOOTSTRAP_WAIT, SHARED_ATTEMPTS_MAX, TAKING_AT_ONCE};
use crate::protection::Protection;
use crate::retry::is_outage;
use crate::{LeaseMode, StartFrom};

/// The leases of one processor over one source.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(super) table: Table,
    pub(super) source: Arc<dyn Container>,
    start: StartFrom,
    /// How many leases each physical range should have at least.
    ranges_per_partition: usize,
    taking: Arc<Semaphore>,
}

/// All leases of a processor over a source.
pub(crate) struct Listed {
    pub(crate) leases: Vec<Stored>,
    /// The source's physical ranges when they were listed.
    pub(crate) ranges: Vec<FeedRange>,
}

impl Listed {
    /// Leases that should be several, by their ids, each with its parts.
    pub(crate) fn finer(&self, per_partition: usize) -> BTreeMap<String, Vec<FeedRange>> {
        let parts = |stored: &Stored| topology::finer(stored.lease.range(), &self.ranges, per_partition);
        let named = self.leases.iter().map(|stored| (stored.lease.id().as_str().to_owned(), parts(stored)));
        named.filter(|(_, parts)| !parts.is_empty()).collect()
    }
}

/// What became of an attempt to take a lease.
pub(crate) enum Taken {
    Held(Box<HeldLease>),
    /// Somebody was faster, or it is no more: as it was found.
    Others(Option<Box<Stored>>),
}

impl Keeper {
    pub(crate) fn new(table: Table, source: Arc<dyn Container>, start: StartFrom, ranges_per_partition: usize) -> Self {
        let taking = Arc::new(Semaphore::new(TAKING_AT_ONCE));
        Self { table, source, start, ranges_per_partition, taking }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.table.prefix
    }

    /// Creates what is missing, each lease with its start position in it, and returns all leases.
    pub(crate) async fn prepare(&self) -> Result<Listed, Error> {
        let (listed, coverage) = self.look().await?;
        let is_old = self.table.is_marked().await?;
        if coverage.is_whole() && is_old {
            return Ok(listed);
        }
        if self.table.mode == LeaseMode::Shared && !is_old {
            return self.prepare_locked().await;
        }
        let coverage = if is_old {
            // A listing is no snapshot: while a range is being split it may show neither the whole nor its parts.
            self.look().await?.1
        } else {
            self.first(&listed).await?
        };
        self.repair(&coverage, is_old).await?;
        if !is_old {
            self.table.mark().await?;
        }
        Ok(self.look().await?.0)
    }

    /// The first leases, as .NET hosts make them: one host at a time.
    async fn prepare_locked(&self) -> Result<Listed, Error> {
        let lock = loop {
            if let Some(lock) = self.table.lock().await? {
                break lock;
            }
            self.table.patience.clock.sleep(BOOTSTRAP_WAIT).await;
            if self.table.is_marked().await? {
                return Ok(self.look().await?.0);
            }
        };
        // Somebody may have been done just before.
        if !self.table.is_marked().await? {
            let coverage = self.first(&self.look().await?.0).await?;
            self.repair(&coverage, false).await?;
            self.table.mark().await?;
        }
        self.table.unlock(lock).await?;
        Ok(self.look().await?.0)
    }

    /// All leases as they are.
    pub(crate) async fn list(&self) -> Result<Vec<Stored>, Error> {
        self.table.list().await
    }

    /// All leases, and what they make of the source's ranges.
    async fn look(&self) -> Result<(Listed, Coverage), Error> {
        // Ranges before leases: a split in between then leaves a lease over two ranges, which is seen; the other way
        // round it would look like a gap.
        let ranges = self.ranges().await?;
        let leases = self.table.list().await?;
        let coverage = topology::cover(&ranges, &covered(&leases));
        Ok((Listed { leases, ranges }, coverage))
    }

    /// What the first leases shall cover that these do not.
    async fn first(&self, listed: &Listed) -> Result<Coverage, Error> {
        let ranges = listed.ranges.iter();
        let cut = ranges.flat_map(|range| topology::cut(range, self.ranges_per_partition)).collect();
        let agreed = if Protection::AgreedRanges.holds() { self.table.agree(cut).await? } else { cut };
        Ok(topology::cover(&agreed, &covered(&listed.leases)))
    }

    async fn repair(&self, coverage: &Coverage, is_old: bool) -> Result<(), Error> {
        self.report(coverage, is_old);
        for range in &coverage.missing {
            let start = match self.start {
                // A lease was lost. Between it and now nobody knows what was delivered, so all of it is.
                StartFrom::Now if is_old => FeedStart::Beginning,
                start => self.resolve(start, range).await?,
            };
            let (prefix, by_partition_key) = (&self.table.prefix, self.table.by_partition_key());
            let lease = if Protection::StoredStart.holds() {
                LeaseDocument::new(prefix, range.clone(), &start, by_partition_key)?
            } else {
                LeaseDocument::without_start(prefix, range.clone(), by_partition_key)?
            };
            self.table.create(lease).await?;
        }
        Ok(())
    }

    pub(super) async fn ranges(&self) -> Result<Vec<FeedRange>, Error> {
        let attempted = format!("look up the ranges of {}", self.source.name());
        let ranges = self.table.patience.outlast(&attempted, || self.source.feed_ranges()).await;
        ranges.map_err(Error::store(attempted))
    }

    /// Takes the lease, which was free or a dead owner's when it was `stored`. Tries once: after a failure of the store
    /// others may have it with every right.
    pub(crate) async fn take(&self, stored: Stored) -> Result<Taken, Error> {
        let attempted = format!("take lease {}", stored.lease.id());
        let _turn = self.taking.acquire().await;
        let start = match stored.lease.start() {
            Some(start) => start,
            // A lease of .NET that never had a checkpoint: its start is stored before the first delivery too.
            None => self.resolve(self.start, stored.lease.range()).await?,
        };
        let (mut stored, mut attempts) = (stored, 0);
        loop {
            let mut wanted = stored.lease.clone().taken_by(&self.table.owner, self.table.mode);
            if Protection::StoredStart.holds() && stored.lease.start().is_none() {
                wanted = wanted.starting(&start);
            }
            let sent_at = self.table.patience.clock.monotonic();
            match self.table.replace(&stored, wanted.clone()).await {
                Replaced::Written(stored, _) => return Ok(self.held(stored, start, sent_at)),
                // Its owner renewed it in between, which is no reason not to steal it.
                Replaced::Refused(Some(found))
                    if self.table.mode == LeaseMode::Shared
                        && attempts < SHARED_ATTEMPTS_MAX
                        && found.lease.owner() == stored.lease.owner() =>
                {
                    attempts += 1;
                    stored = found;
                }
                Replaced::Refused(found) => return Ok(Taken::Others(found.map(Box::new))),
                Replaced::Failed(error) if is_outage(error.kind()) => {
                    let doubt = error.applied() == Applied::Perhaps;
                    self.table.patience.wait(&mut self.table.patience.backoff(), &attempted, &error).await;
                    return match self.read(&stored).await? {
                        Some(found) if doubt && found.lease.is_same_taking(&wanted) => {
                            Ok(self.held(found, start, sent_at))
                        }
                        found => Ok(Taken::Others(found.map(Box::new))),
                    };
                }
                Replaced::Failed(error) => return Err(Error::store(attempted)(error)),
            }
        }
    }

    /// The lease its last owner handed to us: it is ours as it is.
    pub(crate) fn given(&self, stored: Stored) -> Option<HeldLease> {
        let start = stored.lease.start()?;
        let now = self.table.patience.clock.monotonic();
        Some(HeldLease::new(self.table.clone(), stored, start, now))
    }

    /// The lease as it is now. Outlasts outages.
    pub(crate) async fn read(&self, known: &Stored) -> Result<Option<Stored>, Error> {
        let attempted = format!("read lease {}", known.lease.id());
        let found = self.table.patience.outlast(&attempted, || self.table.read(&known.lease)).await;
        found.map_err(Error::store(attempted))
    }

    /// Whether the lease has us for its owner, in this life.
    pub(crate) fn is_ours(&self, stored: &Stored) -> bool {
        stored.lease.owned_by().as_ref() == Some(&*self.table.owner)
    }

    fn held(&self, stored: Stored, start: FeedStart, written_at: Monotonic) -> Taken {
        // What was stored counts: of a lease that others moved on in between it is further.
        let start = stored.lease.start().unwrap_or(start);
        Taken::Held(Box::new(HeldLease::new(self.table.clone(), stored, start, written_at)))
    }

    /// `now` becomes the position of one empty poll: what is stored must mean the same at every later start.
    async fn resolve(&self, start: StartFrom, range: &FeedRange) -> Result<FeedStart, Error> {
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
    }
}

fn covered(leases: &[Stored]) -> Vec<FeedRange> {
    leases.iter().map(|stored| stored.lease.range().clone()).collect()
}
