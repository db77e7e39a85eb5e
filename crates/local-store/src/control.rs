//! What an operator of the service would do, or the service by itself: not part of what a client may ask.

use std::sync::Arc;

use feedmill_store_api::{
    ETag, Error, ErrorKind, FeedRange, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, Result, SessionToken,
};

use crate::container::Core;
use crate::database::LocalStore;
use crate::keys::Version;
use crate::resume::ResumeFilter;
use crate::scan::{self, Within};
use crate::served::safe;
use crate::split;

/// One physical partition, as the service lists partition key ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalPartition {
    /// Never used again in its container.
    pub id: u16,
    pub range: FeedRange,
    /// Ids of all partitions that it came from, ascending.
    pub parents: Vec<u16>,
    /// LSN of its newest commit.
    pub head_lsn: u64,
}

/// The commit that gave a document this etag; `None` for an etag that is not of this store.
pub fn lsn_of(etag: &ETag) -> Option<u64> {
    let number = etag.as_str().strip_prefix('"')?.strip_suffix('"')?;
    u64::from_str_radix(number, 16).ok().map(|number| Version(number).lsn())
}

impl LocalStore {
    /// The partitions of a container in key order. The database must have been opened.
    pub fn partitions(&self, database: &str, container: &str) -> Result<Vec<PhysicalPartition>> {
        let layout = self.core(database, container)?.layout();
        let partition = |partition: &Arc<crate::partition::Partition>| PhysicalPartition {
            id: partition.id,
            range: partition.range.clone(),
            parents: partition.ancestors.clone(),
            head_lsn: partition.head_lsn(),
        };
        Ok(layout.partitions.iter().map(partition).collect())
    }

    /// Cuts the partition of exactly this range into halves and gives them, lower one first. From then on the whole range is
    /// `Gone`, and each half goes on from any position of the whole. All at once for everybody, also across a crash.
    ///
    /// `Gone` when there is no such partition, `Invalid` when it is too narrow.
    pub async fn split(&self, database: &str, container: &str, range: &FeedRange) -> Result<Vec<FeedRange>> {
        let core = self.core(database, container)?;
        core.room().await?;
        let change = split::split(&core, range)?;
        core.synced(change.ticket).await?;
        Ok(change.ranges)
    }

    /// Makes one partition of two neighbours and gives its range. The two ranges can still be read, as parts of it, each
    /// from any position of its own.
    ///
    /// `Gone` when one of the two is no partition, `Invalid` when they are no neighbours in this order.
    pub async fn merge(&self, database: &str, container: &str, low: &FeedRange, high: &FeedRange) -> Result<FeedRange> {
        let core = self.core(database, container)?;
        core.room().await?;
        let change = split::merge(&core, low, high)?;
        core.synced(change.ticket).await?;
        FeedRange::new(low.min(), high.max())
            .map_err(|error| Error::new(ErrorKind::Corrupt, "join two ranges").with_source(error))
    }

    /// What whoever reads this key from now on is sure to see.
    pub fn session(&self, database: &str, container: &str, key: &PartitionKey) -> Result<SessionToken> {
        let core = self.core(database, container)?;
        let partition = core.partition(&core.effective_key(key)?);
        Ok(partition.session(partition.head_lsn()))
    }

    /// One page of a query over a part of one partition, as clients that ask each partition by itself want it.
    ///
    /// `Gone` when the range is not within one partition. What it shows survives a power cut, as with [`LocalStore::served`].
    pub async fn query_range(
        &self,
        (database, container): (&str, &str),
        range: &FeedRange,
        query: &Query,
        (page, resume): (&PageRequest, Option<&ResumeFilter>),
        level: &ReadLevel,
    ) -> Result<QueryPage> {
        let core = self.core(database, container)?;
        if core.layout().around(range).is_none() {
            let text = format!("query {container} in {range}: the range is not within one partition");
            return Err(Error::new(ErrorKind::Gone, text));
        }
        safe(self.storage(), scan::query(&core, &Within::Range(range, resume), query, page, level)).await
    }

    pub(crate) fn core(&self, database: &str, container: &str) -> Result<Arc<Core>> {
        self.find(database, container).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("find container {container} in {database}: it is not open here"))
        })
    }
}
