//! What a host knows of the lease container: its processors' leases, the hosts, who is paused.

use std::collections::{BTreeMap, BTreeSet};

use feedmill_store_api::{Document, ETag, FeedRange};
use serde::Deserialize;

use super::heartbeat::{self, Heartbeat};
use crate::lease::{self, Pause, Stored};
use crate::range::Left;

/// The leases of some prefixes and everything about those who may have them. Fed from listings and from the feed.
#[derive(Debug, Default)]
pub(crate) struct View {
    prefixes: BTreeSet<String>,
    leases: BTreeMap<String, Stored>,
    hosts: BTreeMap<String, Heartbeat>,
    paused: BTreeMap<String, bool>,
}

/// What a document of the lease container was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A lease of ours, by its id.
    Lease(String),
    /// One that was removed in this epoch.
    Removed(String, u64),
    Other,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
}

impl View {
    pub(crate) fn new(prefixes: impl IntoIterator<Item = String>) -> Self {
        Self { prefixes: prefixes.into_iter().collect(), ..Self::default() }
    }

    /// A document as it was found or as it became.
    pub(crate) fn apply(&mut self, etag: &ETag, body: &bytes::Bytes) -> Result<Seen, lease::Error> {
        let Ok(Named { id }) = serde_json::from_slice::<Named<'_>>(body) else { return Ok(Seen::Other) };
        if heartbeat::is_id(&id) {
            if let Some(heartbeat) = Heartbeat::parse(body) {
                self.hosts.insert(heartbeat.host.clone(), heartbeat);
            }
        } else if let Some(pause) = Pause::parse(body) {
            self.paused.insert(pause.processor, pause.paused);
        } else if let Some((lease, epoch)) = lease::removed(&id, body) {
            if self.leases.get(&lease).is_some_and(|known| known.lease.epoch() <= epoch) {
                self.forget(&lease);
            }
            return Ok(Seen::Removed(lease, epoch));
        } else if self.is_lease(&id) {
            let stored = Stored::parse(&Document { etag: etag.clone(), body: body.clone() })?;
            return Ok(if self.learn(stored) { Seen::Lease(id.into_owned()) } else { Seen::Other });
        }
        Ok(Seen::Other)
    }

    /// Whether it is news: an older epoch than what is known is not.
    pub(crate) fn learn(&mut self, stored: Stored) -> bool {
        let id = stored.lease.id().as_str();
        if self.leases.get(id).is_some_and(|known| known.lease.epoch() > stored.lease.epoch()) {
            return false;
        }
        self.leases.insert(id.to_owned(), stored);
        true
    }

    /// Of one prefix, exactly these.
    pub(crate) fn replace(&mut self, prefix: &str, leases: Vec<Stored>) {
        let beginning = format!("{prefix}..");
        self.leases.retain(|id, _| !id.starts_with(&beginning));
        self.leases.extend(leases.into_iter().map(|stored| (stored.lease.id().as_str().to_owned(), stored)));
    }

    /// What the end of the work on a lease says of it and its parts.
    pub(crate) fn left(&mut self, lease: &str, left: Left) {
        match left {
            Left::Given(stored) | Left::Others(Some(stored)) => {
                self.learn(*stored);
            }
            Left::Others(None) => self.forget(lease),
            Left::Divided(parts) => {
                self.forget(lease);
                for part in parts {
                    self.learn(part);
                }
            }
            Left::Fenced | Left::Stopped => {}
        }
    }

    pub(crate) fn forget(&mut self, lease: &str) {
        self.leases.remove(lease);
    }

    pub(crate) fn lease(&self, id: &str) -> Option<&Stored> {
        self.leases.get(id)
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.leases.iter().map(|(id, stored)| (id.as_str(), stored))
    }

    /// Ranges of leases over parts of this one's range.
    pub(crate) fn parts(&self, id: &str, range: &FeedRange) -> Vec<FeedRange> {
        // Ids are in the order of the ranges' beginnings.
        let prefix = prefix_of(id).unwrap_or_default();
        let within = format!("{prefix}..{}", range.min())..format!("{prefix}..{}", range.max());
        let others = self.leases.range(within).filter(|(other, _)| *other != id);
        let ranges = others.map(|(_, stored)| stored.lease.range().clone()).filter(|other| other != range);
        ranges.filter(|other| range.min() <= FeedRange::min(other) && FeedRange::max(other) <= range.max()).collect()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Heartbeat> {
        self.hosts.values()
    }

    pub(crate) fn host(&self, name: &str) -> Option<&Heartbeat> {
        self.hosts.get(name)
    }

    pub(crate) fn is_paused(&self, processor: &str) -> bool {
        self.paused.get(processor).copied().unwrap_or(false)
    }

    fn is_lease(&self, id: &str) -> bool {
        prefix_of(id).is_some_and(|prefix| self.prefixes.contains(prefix))
    }
}

/// Of a lease's id; a token has no dots.
pub(crate) fn prefix_of(lease: &str) -> Option<&str> {
    lease.rsplit_once("..").map(|(prefix, _)| prefix)
}

/// Of a lease's id.
pub(crate) fn token_of(lease: &str) -> &str {
    lease.rsplit_once("..").map_or(lease, |(_, token)| token)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    /// Hosts of ours, of .NET and of Java write there, and people.
    #[test]
    fn whatever_lies_in_the_lease_container_is_understood_or_refused() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut view = View::new(["p".to_owned()]);
            let Ok(Seen::Lease(id)) = view.apply(&ETag::new("1"), &Bytes::copy_from_slice(bytes)) else { return };
            let stored = view.lease(&id).expect("it was seen").clone();
            let written = Bytes::from(stored.lease.clone().into_record().to_string());
            assert_eq!(view.apply(&ETag::new("2"), &written).unwrap(), Seen::Lease(id.clone()));
            let again = &view.lease(&id).unwrap().lease;
            assert_eq!((again.range(), again.position()), (stored.lease.range(), stored.lease.position()));
            assert!(again.is_same_taking(&stored.lease));
        });
    }

    #[test]
    fn parts_of_a_range_are_those_within_it_that_are_not_the_whole() {
        let mut view = View::new(["p".to_owned(), "q".to_owned()]);
        let range = |min: &str, max: &str| FeedRange::new(min, max).unwrap();
        let all = [("p", "", "20"), ("p", "", "10"), ("p", "10", "18"), ("p", "18", "30"), ("q", "", "10")];
        for (prefix, min, max) in all {
            let id = format!("{prefix}..{min}-{max}");
            let lease = json!({"id": id, "LeaseToken": "t", "FeedRange": {"Range": range(min, max)}});
            view.apply(&ETag::new("1"), &Bytes::from(lease.to_string())).unwrap();
        }
        assert_eq!(view.parts("p..-20", &range("", "20")), [range("", "10"), range("10", "18")]);
        assert_eq!(view.parts("p..10-18", &range("10", "18")), []);
        assert_eq!(view.parts("q..-10", &range("", "10")), []);
    }
}
