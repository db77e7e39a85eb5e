//! What operators ask about leases and do to them.
//!
//! Everything done here is a conditional write in the next epoch: a fleet that runs follows the lease table, so it learns
//! of it within a heartbeat, and what a worker settled meanwhile cannot overwrite it.

mod audit;
mod lag;
mod record;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Container, Database, ErrorKind, FeedRange, FeedStart, Operation, PartitionKey, Position};
use jiff::Timestamp;
use serde_json::Value;

use crate::fleet::{Heartbeat, heartbeat_prefix};
use crate::lease::{LeaseDocument, Owner, Pause, Stored, Table, lease_prefix, pause_prefix};
use crate::listing::{Listing, ids_beginning_with};
use crate::retry::Patience;
use crate::{EngineError, LeaseError, LeaseMode, Options};

pub use audit::{Audit, Fault, Repair};
pub use lag::Lag;
pub(crate) use record::written_at;
pub use record::{Doing, HostRecord, LeaseRecord};
pub use transfer::{Adopted, RangeIds, Unadoptable};

/// Attempts at a write whose lease was written by others in between.
const ATTEMPTS_MAX: u32 = 8;

/// The leases of some processors, from outside the fleet that works on them.
pub struct Operator {
    database: Arc<dyn Database>,
    leases: Arc<dyn Container>,
    feeds: Vec<Feed>,
    patience: Patience,
}

/// One processor over one source.
struct Feed {
    processor: String,
    source: Arc<dyn Container>,
    table: Table,
}

/// Where a lease shall go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewindTo {
    Beginning,
    /// After everything that is there now.
    Now,
    Time(Timestamp),
    /// The etag of a page's end, as a lease shows it.
    Position(Position),
}

impl Operator {
    /// Over the leases of `feeds`, pairs of a processor's name and its source.
    pub async fn open(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
        options: &Options,
        feeds: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, EngineError> {
        let patience = Patience { clock, entropy, min: options.backoff_min, max: options.backoff_max };
        let leases = open(&*database, &patience, &options.leases).await?;
        let mut operator = Self { database, leases, feeds: Vec::new(), patience };
        for (processor, source) in feeds {
            let source = open(&*operator.database, &operator.patience, &source).await?;
            let table = operator.table(&operator.prefix(&processor, source.rid()));
            operator.feeds.push(Feed { processor, source, table });
        }
        Ok(operator)
    }

    /// Of a processor's leases over a container; of all its containers for an empty `rid`.
    fn prefix(&self, processor: &str, rid: &str) -> String {
        lease_prefix(processor, self.database.host(), self.database.rid(), rid)
    }

    fn table(&self, prefix: &str) -> Table {
        // Nobody: what operators write is free.
        let owner = Arc::new(Owner { host: String::new(), incarnation: String::new() });
        Table::new(Arc::clone(&self.leases), prefix, owner, self.patience.clone(), LeaseMode::Own)
    }

    /// All leases, by processor, source and range.
    pub async fn leases(&self) -> Result<Vec<LeaseRecord>, LeaseError> {
        let mut records = Vec::new();
        for feed in &self.feeds {
            let leases = feed.table.list().await?;
            records
                .extend(leases.into_iter().map(|lease| LeaseRecord::new(&feed.processor, feed.source.name(), lease)));
        }
        records.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(records)
    }

    /// Hosts that have a heartbeat document, whether they still live or not, and owners of these leases that have none: hosts
    /// that share leases by the rules of .NET, whose only sign of life is that they renew them.
    pub async fn hosts(&self, leases: &[LeaseRecord]) -> Result<Vec<HostRecord>, LeaseError> {
        let found = self.documents(heartbeat_prefix()).await?;
        let names = |prefix: &str| {
            let feed = self.feeds.iter().find(|feed| feed.table.prefix() == prefix)?;
            Some((feed.processor.clone(), feed.source.name().to_owned()))
        };
        let beating =
            found.iter().filter_map(|(body, written)| Some(HostRecord::new(Heartbeat::parse(body)?, names, *written)));
        let mut hosts: Vec<_> = beating.collect();
        let mut owners: BTreeMap<String, HostRecord> = BTreeMap::new();
        for owner in leases.iter().filter_map(HostRecord::of_owner) {
            if hosts.iter().any(|host| host.host == owner.host) {
                continue;
            }
            match owners.get_mut(&owner.host) {
                Some(known) if known.written_at >= owner.written_at => {}
                Some(known) => *known = owner,
                None => {
                    owners.insert(owner.host.clone(), owner);
                }
            }
        }
        hosts.extend(owners.into_values());
        Ok(hosts)
    }

    /// Processors that are paused.
    pub async fn paused(&self) -> Result<Vec<String>, LeaseError> {
        let found = self.documents(pause_prefix()).await?;
        let pauses = found.iter().filter_map(|(body, _)| Pause::parse(body));
        Ok(pauses.filter(|pause| pause.paused).map(|pause| pause.processor).collect())
    }

    /// Stops a processor on all hosts, or lets it go on.
    pub async fn pause(&self, processor: &str, paused: bool) -> Result<(), LeaseError> {
        let attempted = format!("{} {processor}", if paused { "pause" } else { "resume" });
        let by_partition_key = self.leases.partition_key_paths().iter().any(|path| path == "/partitionKey");
        let made = Pause::new(processor, paused, self.patience.clock.now(), by_partition_key).map_err(|source| {
            LeaseError::Id { prefix: pause_prefix().to_owned(), token: processor.to_owned(), source }
        });
        let (id, pause) = made?;
        let key = PartitionKey::from(id.as_str());
        let write = || self.leases.write(&key, Operation::Upsert { id: id.clone(), body: pause.body() });
        self.patience.outlast(&attempted, write).await.map_err(LeaseError::store(attempted))?;
        Ok(())
    }

    /// Takes the lease from whoever has it. `None` when it is no more.
    pub async fn release(&self, record: &LeaseRecord) -> Result<Option<LeaseRecord>, LeaseError> {
        self.change(record, LeaseDocument::freed).await
    }

    /// Lets the lease go on from elsewhere, whoever has it. `None` when it is no more.
    pub async fn rewind(&self, record: &LeaseRecord, to: &RewindTo) -> Result<Option<LeaseRecord>, LeaseError> {
        let start = match to {
            RewindTo::Beginning => FeedStart::Beginning,
            RewindTo::Time(time) => FeedStart::Time(*time),
            RewindTo::Position(position) => FeedStart::Position(position.clone()),
            RewindTo::Now => {
                let feed = self.feed(record)?;
                let attempted = format!("find the head of {} {}", record.source, record.range);
                let poll = || feed.source.read_page(&record.range, &FeedStart::Now, 1);
                let page = self.patience.outlast(&attempted, poll).await.map_err(LeaseError::store(attempted))?;
                FeedStart::Position(page.position)
            }
        };
        self.change(record, |lease| lease.freed().moved_to(&start)).await
    }

    /// The lease documents as they are stored, for keeping or for another tool.
    pub async fn export(&self) -> Result<Vec<Value>, LeaseError> {
        let leases = self.leases().await?;
        Ok(leases.into_iter().map(|record| record.stored.lease.into_record()).collect())
    }

    /// A lease of `processor` over `source` for what `adopted` says. False when there is one for this range already: it
    /// stays as it is, unless `replace`.
    pub async fn import(
        &self,
        processor: &str,
        source: &str,
        adopted: &Adopted,
        replace: bool,
    ) -> Result<bool, LeaseError> {
        let known = self.leases().await?;
        let same = known
            .iter()
            .find(|record| record.processor == processor && record.source == source && record.range == adopted.range);
        match same {
            Some(record) if replace => {
                let start = adopted.start.clone();
                Ok(self.change(record, |lease| lease.freed().moved_to(&start)).await?.is_some())
            }
            Some(_) => Ok(false),
            None => {
                let feed = self.feeds.iter().find(|feed| feed.processor == processor && feed.source.name() == source);
                let Some(feed) = feed else { return Ok(false) };
                feed.table.create_free(adopted.range.clone(), &adopted.start).await?;
                feed.table.mark().await?;
                Ok(true)
            }
        }
    }

    /// The range of a source that has only one: what a token means that does not say it.
    pub async fn only_range(&self, processor: &str, source: &str) -> Result<Option<FeedRange>, LeaseError> {
        let feed = self.feeds.iter().find(|feed| feed.processor == processor && feed.source.name() == source);
        let unknown = || LeaseError::Unknown { processor: processor.to_owned(), source_container: source.to_owned() };
        let feed = feed.ok_or_else(unknown)?;
        let attempted = format!("look up the ranges of {source}");
        let ranges = self.patience.outlast(&attempted, || feed.source.feed_ranges()).await;
        let mut ranges = ranges.map_err(LeaseError::store(attempted))?;
        Ok(if ranges.len() == 1 { ranges.pop() } else { None })
    }

    fn feed(&self, record: &LeaseRecord) -> Result<&Feed, LeaseError> {
        let feed = |feed: &&Feed| feed.processor == record.processor && feed.source.name() == record.source;
        let missing =
            || LeaseError::Unknown { processor: record.processor.clone(), source_container: record.source.clone() };
        self.feeds.iter().find(feed).ok_or_else(missing)
    }

    async fn change(
        &self,
        record: &LeaseRecord,
        change: impl Fn(LeaseDocument) -> LeaseDocument,
    ) -> Result<Option<LeaseRecord>, LeaseError> {
        let changed = self.change_stored(&self.feed(record)?.table, &record.stored, change).await?;
        Ok(changed.map(|written| LeaseRecord::new(&record.processor, &record.source, written)))
    }

    async fn change_stored(
        &self,
        table: &Table,
        stored: &Stored,
        change: impl Fn(LeaseDocument) -> LeaseDocument,
    ) -> Result<Option<Stored>, LeaseError> {
        let mut stored = stored.clone();
        for _ in 0..ATTEMPTS_MAX {
            match table.write_over(&stored, change(stored.lease.clone())).await? {
                Ok(written) => return Ok(Some(written)),
                Err(Some(found)) => stored = found,
                Err(None) => return Ok(None),
            }
        }
        let attempted = format!("write lease {}", stored.lease.id());
        let source = feedmill_store_api::Error::new(ErrorKind::Precondition, "others kept writing it in between");
        Err(LeaseError::Store { attempted, source })
    }

    /// Documents whose id begins with `prefix`, and when they were written.
    async fn documents(&self, prefix: &'static str) -> Result<Vec<(Bytes, Option<Timestamp>)>, LeaseError> {
        let attempted = format!("list {prefix} in {}", self.leases.name());
        let mut listing = Listing::of(&*self.leases, &self.patience, &attempted, ids_beginning_with(prefix));
        let mut found = Vec::new();
        while let Some(page) = listing.next().await.map_err(LeaseError::store(&attempted))? {
            found.extend(page.into_iter().map(|body| {
                let written = record::written_at(&body);
                (body, written)
            }));
        }
        Ok(found)
    }
}

async fn open(database: &dyn Database, patience: &Patience, name: &str) -> Result<Arc<dyn Container>, EngineError> {
    let attempted = format!("open container {name}");
    match patience.outlast(&attempted, || database.container(name)).await {
        Ok(container) => Ok(container),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(EngineError::MissingContainer { name: name.to_owned() })
        }
        Err(source) => Err(EngineError::Store { attempted, source }),
    }
}
