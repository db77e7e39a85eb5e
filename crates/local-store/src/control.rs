//! What an operator of the service would do, or the service by itself: not part of what a client may ask.

use std::sync::Arc;

use feedmill_store_api::{Error, ErrorKind, FeedRange, PageRequest, Query, QueryPage, ReadLevel, Result};

use crate::container::Core;
use crate::database::LocalStore;
use crate::scan::{self, Within};
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

    /// One page of a query over a part of one partition, as clients that ask each partition by itself want it.
    ///
    /// `Gone` when the range is not within one partition.
    pub fn query_range(
        &self,
        (database, container): (&str, &str),
        range: &FeedRange,
        query: &Query,
        page: &PageRequest,
    ) -> Result<QueryPage> {
        let core = self.core(database, container)?;
        if core.layout().around(range).is_none() {
            let text = format!("query {container} in {range}: the range is not within one partition");
            return Err(Error::new(ErrorKind::Gone, text));
        }
        scan::query(&core, &Within::Range(range), query, page, &ReadLevel::Quorum)
    }

    fn core(&self, database: &str, container: &str) -> Result<Arc<Core>> {
        self.find(database, container).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("find container {container} in {database}: it is not open here"))
        })
    }
}
