//! What a host has to do about each lease, by what it knows. Pure: `mod.rs` carries it out.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{View, prefix_of, token_of};
use crate::lease::{Host, Lease, Owner, Stored, assign};
use crate::range::Order;

/// What a host knows, and of itself.
pub(super) struct Knowledge<'a> {
    pub(super) me: &'a Owner,
    pub(super) serves: &'a BTreeSet<String>,
    /// Of our own leases, as we announced them: others plan by these too.
    pub(super) weights: &'a BTreeMap<String, BTreeMap<String, u64>>,
    pub(super) view: &'a View,
    pub(super) is_dead: &'a dyn Fn(&Owner) -> bool,
    pub(super) is_paused: &'a dyn Fn(&str) -> bool,
    pub(super) runs: &'a dyn Fn(&str) -> bool,
    /// The last epoch in which we worked on a lease.
    pub(super) worked: &'a BTreeMap<String, u64>,
}

/// What follows from it.
#[derive(Debug, Default)]
pub(super) struct Duties {
    /// To ranges that run.
    pub(super) orders: Vec<(String, Order)>,
    /// Leases to work on, and whether they are ours as they are.
    pub(super) starts: Vec<(String, bool)>,
    /// Leases that living hosts should hand to us.
    pub(super) expected: BTreeSet<String>,
    /// Every lease that is not paused is worked on by somebody who lives.
    pub(super) settled: bool,
}

/// Who has a lease, from where we stand.
enum Holder {
    Nobody,
    /// This life of ours, but nothing runs.
    Us,
    Runs,
    /// Another, or an earlier life of ours, that may still live.
    Living,
}

pub(super) fn duties(known: &Knowledge<'_>) -> Duties {
    let others: Vec<_> = known
        .view
        .hosts()
        .filter(|host| host.host != known.me.host && !host.stopped && !(known.is_dead)(&host.owner()))
        .map(|host| (host, host.serves.keys().cloned().collect::<BTreeSet<_>>()))
        .collect();
    let mut hosts = vec![Host { name: &known.me.host, serves: known.serves }];
    hosts.extend(others.iter().map(|(host, serves)| Host { name: &host.host, serves }));
    let by_name: BTreeMap<&str, usize> = hosts.iter().enumerate().map(|(index, host)| (host.name, index)).collect();
    let weights: Vec<_> = std::iter::once(known.weights).chain(others.iter().map(|(host, _)| &host.serves)).collect();

    let mut duties = Duties { settled: true, ..Duties::default() };
    let mut leases: Vec<(&str, Holder)> = Vec::new();
    let mut planned: Vec<Lease<'_>> = Vec::new();
    for (id, stored) in known.view.leases() {
        let prefix = prefix_of(id).unwrap_or_default();
        if (known.is_paused)(prefix) {
            duties.orders.push((id.to_owned(), Order::Release));
            continue;
        }
        let holder = holder(known, id, stored);
        let owner = match holder {
            Holder::Runs | Holder::Us => Some(0),
            // A host that died and came back has its leases again.
            Holder::Nobody | Holder::Living => stored.lease.owner().and_then(|owner| by_name.get(owner).copied()),
        };
        let announced = |owner: usize| weights[owner].get(prefix).and_then(|weights| weights.get(token_of(id)));
        let weight = owner.and_then(announced).copied().unwrap_or(1);
        planned.push(Lease { id, group: prefix, owner, weight });
        leases.push((id, holder));
    }
    let plan = assign(&hosts, &planned);
    for ((id, holder), host) in leases.into_iter().zip(plan) {
        let ours = host == Some(0);
        match holder {
            Holder::Runs if ours => duties.orders.push((id.to_owned(), Order::Work)),
            Holder::Runs => {
                if let Some((heir, _)) = host.and_then(|host| others.get(host - 1)) {
                    duties.orders.push((id.to_owned(), Order::HandOver(heir.owner())));
                }
            }
            // Whoever should have it gets it from us, drained and with its position.
            Holder::Us => {
                let stored = known.view.lease(id).expect("it was in the view above");
                let given = known.worked.get(id).is_none_or(|worked| stored.lease.epoch() > *worked);
                duties.starts.push((id.to_owned(), given));
                duties.settled = false;
            }
            Holder::Nobody if ours => {
                duties.starts.push((id.to_owned(), false));
                duties.settled = false;
            }
            Holder::Nobody => duties.settled = false,
            Holder::Living if ours => {
                duties.expected.insert(id.to_owned());
                duties.settled = false;
            }
            Holder::Living => {}
        }
    }
    duties
}

fn holder(known: &Knowledge<'_>, id: &str, stored: &Stored) -> Holder {
    if (known.runs)(id) {
        return Holder::Runs;
    }
    let Some(owner) = stored.lease.owned_by() else { return Holder::Nobody };
    if owner == *known.me {
        return Holder::Us;
    }
    let stopped = known.view.host(&owner.host).is_some_and(|host| host.owner() == owner && host.stopped);
    if stopped || (known.is_dead)(&owner) { Holder::Nobody } else { Holder::Living }
}
