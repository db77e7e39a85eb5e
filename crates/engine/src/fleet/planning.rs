use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feedmill_store_api::ETag;
use serde_json::json;

use super::duty::{Knowledge, duties};
use super::heartbeat::Heartbeat;
use super::view::View;
use crate::lease::Owner;

const PREFIX: &str = "processor";

/// What one host of a fleet knows, so that a bench can measure what a cycle of it takes.
pub struct Planning {
    me: Owner,
    serves: BTreeSet<String>,
    weights: BTreeMap<String, BTreeMap<String, u64>>,
    view: View,
}

fn owner(host: usize) -> Owner {
    Owner { host: format!("host-{host:04}"), incarnation: format!("{host:032x}") }
}

impl Planning {
    /// As the first of `hosts` knows a fleet of them in which only the first `owning` have leases, as many each.
    ///
    /// Fails where the documents that it makes are not understood.
    pub fn new(hosts: usize, owning: usize, leases: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let mut view = View::new([PREFIX.to_owned()]);
        let serves: BTreeMap<_, _> = [(PREFIX.to_owned(), BTreeMap::new())].into();
        for host in 0..hosts {
            let mut says = Heartbeat::new(&owner(host), "", "", false)?;
            says.serves.clone_from(&serves);
            view.apply(&ETag::new("1"), &says.body())?;
        }
        let width = u128::MAX / leases.max(1) as u128;
        for lease in 0..leases {
            let bound = |number: usize| format!("{:032X}", width * number as u128);
            let (min, max) = (bound(lease), bound(lease + 1));
            let Owner { host, incarnation } = owner(lease % owning.max(1));
            let document = json!({
                "id": format!("{PREFIX}..{min}-{max}"), "version": 1, "LeaseToken": format!("{min}-{max}"),
                "FeedRange": {"Range": {"min": min, "max": max}}, "Owner": host, "ContinuationToken": "\"12345\"",
                "properties": {"epoch": "7", "incarnation": incarnation, "owner": host, "startFrom": "beginning"},
                "timestamp": "2026-01-01T00:00:00Z", "Mode": "Incremental Feed", "_etag": "\"1\"", "_ts": 0,
            });
            view.apply(&ETag::new("1"), &Bytes::from(document.to_string()))?;
        }
        let serving = serves.keys().cloned().collect();
        Ok(Self { me: owner(0), serves: serving, weights: serves, view })
    }

    /// One cycle: from what is known to what is to be done; for how many leases there is something to do.
    pub fn cycle(&self) -> usize {
        let runs = |lease: &str| {
            self.view.lease(lease).and_then(|stored| stored.lease.owned_by()).is_some_and(|owner| owner == self.me)
        };
        let duties = duties(&Knowledge {
            me: &self.me,
            serves: &self.serves,
            weights: &self.weights,
            view: &self.view,
            is_dead: &|_| false,
            is_paused: &|_| false,
            runs: &runs,
            worked: &BTreeMap::new(),
        });
        let orders = duties.orders.iter().filter(|(_, order)| *order != crate::range::Order::Work);
        orders.count() + duties.starts.len() + duties.expected.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_at_rest_has_nothing_to_do_and_one_with_a_new_host_gives_its_share() {
        assert_eq!(Planning::new(10, 10, 200).unwrap().cycle(), 0);
        assert_eq!(Planning::new(10, 8, 200).unwrap().cycle(), 5);
    }
}
