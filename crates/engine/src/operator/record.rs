use feedmill_store_api::{FeedRange, FeedStart};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fleet::{Heartbeat, Pace};
use crate::lease::{Owner, Stored};

/// A lease as it is shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRecord {
    pub id: String,
    pub processor: String,
    pub source: String,
    pub range: FeedRange,
    /// `None` when it is free.
    pub owner: Option<String>,
    /// Grows whenever the lease changes hands.
    pub epoch: u64,
    /// The last checkpoint.
    pub position: Option<String>,
    /// Where it began, where it has no checkpoint: `beginning` or a time.
    pub start: Option<String>,
    /// Of its last write, by its writer's clock.
    pub written_at: Option<Timestamp>,
    #[serde(skip)]
    pub(super) stored: Stored,
}

/// A host as its heartbeat shows it, or, where it has none, its leases.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRecord {
    pub host: String,
    /// `None` of a host of .NET.
    pub incarnation: Option<String>,
    /// Of the program. `None` of a host without a heartbeat.
    pub revision: Option<String>,
    /// Differs between hosts that run with different options. `None` of a host without a heartbeat.
    pub options_hash: Option<String>,
    /// It has ended in order.
    pub stopped: bool,
    /// For which processors and sources it does something, and how fast.
    pub does: Vec<Doing>,
    /// When it was last heard of: by the store's clock; of a host without a heartbeat by its own, when it last renewed a lease.
    pub written_at: Option<Timestamp>,
}

/// What a host does for one processor and source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doing {
    pub processor: String,
    pub source: String,
    #[serde(flatten)]
    pub pace: Pace,
}

impl LeaseRecord {
    pub(super) fn new(processor: &str, source: &str, stored: Stored) -> Self {
        let lease = &stored.lease;
        let start = match lease.start() {
            Some(FeedStart::Beginning) => Some("beginning".to_owned()),
            Some(FeedStart::Time(time)) => Some(time.to_string()),
            _ => None,
        };
        Self {
            id: lease.id().as_str().to_owned(),
            processor: processor.to_owned(),
            source: source.to_owned(),
            range: lease.range().clone(),
            owner: lease.owner().map(str::to_owned),
            epoch: lease.epoch(),
            position: lease.position().map(str::to_owned),
            start,
            written_at: lease.written_at(),
            stored,
        }
    }

    pub(super) fn order(&self) -> (&str, &str, &FeedRange) {
        (&self.processor, &self.source, &self.range)
    }
}

impl HostRecord {
    /// The owner of a lease, who has no heartbeat.
    pub(super) fn of_owner(record: &LeaseRecord) -> Option<Self> {
        let Owner { host, incarnation } = record.stored.lease.owned_by()?;
        let incarnation = Some(incarnation).filter(|incarnation| !incarnation.is_empty());
        let (revision, options_hash, stopped, written_at) = (None, None, false, record.written_at);
        Some(Self { host, incarnation, revision, options_hash, stopped, does: Vec::new(), written_at })
    }

    /// `names`: the processor and the source of a lease prefix.
    pub(super) fn new(
        heartbeat: Heartbeat,
        names: impl Fn(&str) -> Option<(String, String)>,
        written_at: Option<Timestamp>,
    ) -> Self {
        let Heartbeat { host, incarnation, revision, options_hash, stopped, does, .. } = heartbeat;
        let (incarnation, revision, options_hash) = (Some(incarnation), Some(revision), Some(options_hash));
        let doing = |(prefix, pace): (String, Pace)| {
            let (processor, source) = names(&prefix)?;
            Some(Doing { processor, source, pace })
        };
        let does = does.into_iter().filter_map(doing).collect();
        Self { host, incarnation, revision, options_hash, stopped, does, written_at }
    }
}

/// From the store's own field.
pub(crate) fn written_at(body: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Written {
        _ts: i64,
    }
    let written: Written = serde_json::from_slice(body).ok()?;
    Timestamp::from_second(written._ts).ok()
}
