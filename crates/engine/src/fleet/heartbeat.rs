//! The heartbeat document: who is there, which of its lives, what it can work on and how heavy its leases are.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use bytes::Bytes;
use feedmill_store_api::{DocumentId, InvalidId, PartitionKey};
use serde::{Deserialize, Serialize};

use crate::lease::Owner;

/// Outside every `{prefix}..`, so that nobody takes it for a lease. One a host, whatever the number of its processors.
const PREFIX: &str = "feedmill.host.";
/// A host that died leaves its document behind for this long.
const TTL_SECONDS: u32 = 24 * 60 * 60;
/// A host that stopped in order is of no interest once everybody has seen it.
const STOPPED_TTL_SECONDS: u32 = 10 * 60;

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heartbeat {
    id: String,
    /// In containers by `/partitionKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    pub(crate) host: String,
    pub(crate) incarnation: String,
    /// Grows with each one of a life.
    pub(crate) beat: u64,
    /// Of the program.
    pub(crate) revision: String,
    /// Hosts of one fleet should agree on it.
    pub(crate) options_hash: String,
    /// By lease prefix, the leases that weigh more than an idle one, by token.
    pub(crate) serves: BTreeMap<String, BTreeMap<String, u64>>,
    /// By lease prefix, how fast what is done for it goes; nothing where nothing is done.
    #[serde(default)]
    pub(crate) does: BTreeMap<String, Pace>,
    /// Where no delivery runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rests: Option<Rests>,
    /// It has ended and holds nothing any more.
    #[serde(default)]
    pub(crate) stopped: bool,
    ttl: u32,
}

/// What is done for one processor and source, at the rate of the last ten seconds; for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pace {
    /// Settled, or written down as dead letters.
    pub changes_per_hour: u64,
    /// Everything that its ranges cause: feed, checkpoints, settling.
    pub request_units_per_hour: u64,
    /// Deliveries that failed, by their own fault or the store's, each attempt of them.
    pub failures_per_hour: u64,
    /// Ranges that somebody must look at.
    pub halted: u64,
}

impl AddAssign for Pace {
    fn add_assign(&mut self, more: Self) {
        self.changes_per_hour += more.changes_per_hour;
        self.request_units_per_hour += more.request_units_per_hour;
        self.failures_per_hour += more.failures_per_hour;
        self.halted += more.halted;
    }
}

/// A host that delivers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rests {
    /// How many deliveries began or ended so far.
    pub(crate) deliveries: u64,
    /// The heartbeat since which everything it has was polled empty.
    pub(crate) polled_since: u64,
}

impl Heartbeat {
    pub(crate) fn new(
        owner: &Owner,
        revision: &str,
        options_hash: &str,
        by_partition_key: bool,
    ) -> Result<Self, InvalidId> {
        let id = id(&owner.host)?.into_string();
        Ok(Self {
            partition_key: by_partition_key.then(|| id.clone()),
            id,
            host: owner.host.clone(),
            incarnation: owner.incarnation.clone(),
            beat: 0,
            revision: revision.to_owned(),
            options_hash: options_hash.to_owned(),
            serves: BTreeMap::new(),
            does: BTreeMap::new(),
            rests: None,
            stopped: false,
            ttl: TTL_SECONDS,
        })
    }

    /// `None` for a document that is none.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|heartbeat| is_id(&heartbeat.id))
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner { host: self.host.clone(), incarnation: self.incarnation.clone() }
    }

    /// Differs between any two heartbeats of any lives.
    pub(crate) fn sign(&self) -> String {
        format!("{} {}", self.incarnation, self.beat)
    }

    pub(crate) fn body(&self) -> Bytes {
        let ttl = if self.stopped { STOPPED_TTL_SECONDS } else { TTL_SECONDS };
        let heartbeat = Self { ttl, ..self.clone() };
        Bytes::from(serde_json::to_vec(&heartbeat).expect("strings and numbers are JSON"))
    }
}

/// Of the host's heartbeat; fails for a name that makes no id.
pub(crate) fn id(host: &str) -> Result<DocumentId, InvalidId> {
    DocumentId::new(format!("{PREFIX}{host}"))
}

pub(crate) fn key(id: &DocumentId) -> PartitionKey {
    PartitionKey::from(id.as_str())
}

pub(crate) fn is_id(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// What every heartbeat's id begins with.
pub(crate) fn id_prefix() -> &'static str {
    PREFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_reads_back_as_it_was_written_and_a_lease_is_none() {
        let owner = Owner { host: "pod-1".to_owned(), incarnation: "a1".to_owned() };
        let mut heartbeat = Heartbeat::new(&owner, "1.0", "ff", true).unwrap();
        heartbeat.serves.entry("p".to_owned()).or_default().insert("-FF".to_owned(), 17);
        heartbeat.does.insert("p".to_owned(), Pace { changes_per_hour: 5, ..Pace::default() });
        heartbeat.rests = Some(Rests { deliveries: 3, polled_since: 1 });
        assert_eq!(Heartbeat::parse(&heartbeat.body()), Some(heartbeat.clone()));
        heartbeat.stopped = true;
        let stopped = Heartbeat::parse(&heartbeat.body()).unwrap();
        assert!(stopped.ttl < heartbeat.ttl);
        assert_eq!(Heartbeat::parse(br#"{"id":"p..-FF","Owner":"pod-1"}"#), None);
        assert!(id("a/b").is_err());
    }
}
