//! The hand-over of leases, every possible course of it: three hosts; a lease and the two that its range is split into;
//! hosts that freeze, wake up and crash; writes that land whenever they like or never.
//!
//! What is modelled are the rules of `engine/src/fleet` and `engine/src/lease`, not their code: the simulation runs that.

use std::collections::{BTreeSet, VecDeque};

const HOSTS: usize = 3;
/// The whole, and its two parts.
const LEASES: usize = 3;
const WHOLE: usize = 0;
/// No lease changes hands more often: enough for a giving, a taking and one that is late to meet. What holds for the whole
/// holds for a part and for the other, so one of them is taken once.
const EPOCHS_MAX: [u8; LEASES] = [3, 1, 0];
/// Writes that are late at the same time.
const LATE_MAX: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Runs,
    Frozen,
    /// Frozen for so long that it may send nothing more, and others may count it as dead.
    Overdue,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    life: Life,
    /// Leases that it works on, and the epoch it knows.
    works: [Option<u8>; LEASES],
    /// The last epoch in which it worked on each.
    worked: [u8; LEASES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lease {
    owner: Option<usize>,
    epoch: u8,
}

/// A write on its way whose sender waits for it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    lease: usize,
    /// The version on whose condition it was sent.
    over: Lease,
    owner: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    hosts: [Host; HOSTS],
    leases: [Option<Lease>; LEASES],
    late: Vec<Late>,
    is_split: bool,
    /// Somebody was the owner in an epoch in which somebody else was.
    shared_epoch: bool,
}

/// Which rules hold.
#[derive(Clone, Copy, Debug)]
struct Rules {
    writes_are_conditional: bool,
    /// Whoever was overdue stops before it does anything else.
    deadline: bool,
    /// A host counts as dead only once it is overdue.
    waits_for_expiry: bool,
    /// The parts have leases before the whole loses its own.
    parts_first: bool,
    /// Whoever stopped working in an epoch takes the lease anew: something it sent may still be on its way.
    takes_anew: bool,
}

const ALL: Rules =
    Rules { writes_are_conditional: true, deadline: true, waits_for_expiry: true, parts_first: true, takes_anew: true };

impl State {
    fn beginning() -> Self {
        let host = Host { life: Life::Runs, works: [None; LEASES], worked: [0; LEASES] };
        let free = Lease { owner: None, epoch: 0 };
        Self {
            hosts: [host; HOSTS],
            leases: [Some(free), None, None],
            late: vec![],
            is_split: false,
            shared_epoch: false,
        }
    }

    /// What must never be, if it is.
    fn breach(&self) -> Option<&'static str> {
        if self.shared_epoch {
            return Some("two owners in one epoch");
        }
        if self.leases[WHOLE].is_none() && self.leases[1..].iter().any(Option::is_none) {
            return Some("keys that no lease covers");
        }
        // The whole is not read any more once it is split.
        let read = if self.is_split { 1..LEASES } else { WHOLE..1 };
        let delivers = |lease: usize| {
            self.hosts.iter().filter(move |host| host.life == Life::Runs && host.works[lease].is_some()).count()
        };
        read.into_iter().any(|lease| delivers(lease) > 1).then_some("two hosts deliver the same keys")
    }

    fn is_dead(&self, host: usize, rules: Rules) -> bool {
        match self.hosts[host].life {
            Life::Runs => false,
            Life::Frozen => !rules.waits_for_expiry,
            Life::Overdue | Life::Crashed => true,
        }
    }

    /// `owner` gets the lease in its next epoch, where it still is as it was.
    fn write(&mut self, Late { lease, over, owner }: Late, rules: Rules) -> bool {
        let Some(stored) = self.leases[lease] else { return false };
        if rules.writes_are_conditional && stored != over {
            return false;
        }
        let next = Lease { owner: Some(owner), epoch: over.epoch + 1 };
        self.shared_epoch |= stored.epoch == next.epoch && stored.owner != next.owner;
        self.leases[lease] = Some(next);
        true
    }

    /// The same with the hosts in order: their names mean nothing.
    fn named_in_order(mut self) -> Self {
        let mut order = [0, 1, 2];
        order.sort_by_key(|&host| {
            let mine = |owner: usize| owner == host;
            let owns = self.leases.map(|lease| lease.and_then(|lease| lease.owner).is_some_and(mine));
            let late: Vec<_> = self.late.iter().map(|late| (late.lease, mine(late.owner))).collect();
            (self.hosts[host], owns, late)
        });
        let named = |owner: usize| order.iter().position(|&host| host == owner).expect("it is one of them");
        self.hosts = order.map(|host| self.hosts[host]);
        for lease in self.leases.iter_mut().flatten() {
            lease.owner = lease.owner.map(named);
        }
        for late in &mut self.late {
            late.owner = named(late.owner);
            late.over.owner = late.over.owner.map(named);
        }
        self.late.sort_unstable();
        self
    }

    fn begin(&mut self, host: usize, lease: usize, epoch: u8) {
        self.hosts[host].works[lease] = Some(epoch);
        self.hosts[host].worked[lease] = epoch;
    }

    /// What it is given while others may count it as dead, others may be taking.
    fn takes_all_anew(&mut self, host: usize) {
        for (worked, lease) in self.hosts[host].worked.iter_mut().zip(self.leases) {
            if let Some(lease) = lease.filter(|lease| lease.owner == Some(host)) {
                *worked = lease.epoch;
            }
        }
    }

    /// Everything that may happen next.
    fn successors(&self, rules: Rules) -> Vec<Self> {
        let mut all = Vec::new();
        let mut then = |change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            all.push(next.named_in_order());
        };
        if !self.is_split {
            then(&|next| next.is_split = true);
        }
        for index in 0..self.late.len() {
            then(&|next| {
                let late = next.late.remove(index);
                next.write(late, rules);
            });
            then(&|next| {
                next.late.remove(index);
            });
        }
        for host in 0..HOSTS {
            match self.hosts[host].life {
                Life::Runs => {
                    then(&|next| next.hosts[host].life = Life::Frozen);
                    then(&|next| next.hosts[host].life = Life::Crashed);
                    for lease in 0..LEASES {
                        self.work(host, lease, rules, &mut then);
                    }
                }
                Life::Frozen => {
                    then(&|next| next.hosts[host].life = Life::Overdue);
                    then(&|next| next.hosts[host].life = Life::Runs);
                }
                Life::Overdue => then(&|next| {
                    next.hosts[host].life = Life::Runs;
                    if rules.deadline {
                        next.hosts[host].works = [None; LEASES];
                    }
                    if rules.takes_anew {
                        next.takes_all_anew(host);
                    }
                }),
                Life::Crashed => {}
            }
        }
        all
    }

    /// What a host that runs may do about a lease.
    fn work(&self, host: usize, lease: usize, rules: Rules, then: &mut impl FnMut(&dyn Fn(&mut Self))) {
        let works = self.hosts[host].works[lease];
        let Some(stored) = self.leases[lease] else {
            if works.is_some() {
                then(&|next| next.hosts[host].works[lease] = None);
            }
            return;
        };
        match works {
            // Handed to it, or taken by a write whose reply it never saw.
            None if stored.owner == Some(host)
                && (stored.epoch > self.hosts[host].worked[lease] || !rules.takes_anew) =>
            {
                then(&|next| next.begin(host, lease, stored.epoch));
            }
            None => {
                let may_take = |owner| owner == host || self.is_dead(owner, rules);
                if stored.owner.is_none_or(may_take) && stored.epoch < EPOCHS_MAX[lease] {
                    let write = Late { lease, over: stored, owner: host };
                    then(&|next| {
                        if next.write(write, rules) {
                            next.begin(host, lease, stored.epoch + 1);
                        }
                    });
                    self.late(write, then);
                }
            }
            // It follows the table, and sees that the lease is another's.
            Some(epoch) if stored != (Lease { owner: Some(host), epoch }) => {
                then(&|next| next.hosts[host].works[lease] = None);
            }
            Some(epoch) => {
                if lease == WHOLE && self.is_split {
                    self.divide(host, rules, then);
                } else if epoch < EPOCHS_MAX[lease] {
                    for heir in (0..HOSTS).filter(|heir| *heir != host) {
                        let write = Late { lease, over: stored, owner: heir };
                        then(&|next| {
                            next.hosts[host].works[lease] = None;
                            next.write(write, rules);
                        });
                        then(&|next| {
                            next.hosts[host].works[lease] = None;
                            if next.late.len() < LATE_MAX {
                                next.late.push(write);
                            }
                        });
                    }
                }
            }
        }
    }

    fn late(&self, write: Late, then: &mut impl FnMut(&dyn Fn(&mut Self))) {
        if self.late.len() < LATE_MAX {
            then(&|next| next.late.push(write));
        }
    }

    /// One step of putting parts in the place of the whole; a crash may come between any two.
    fn divide(&self, host: usize, rules: Rules, then: &mut impl FnMut(&dyn Fn(&mut Self))) {
        let missing: Vec<usize> = (1..LEASES).filter(|part| self.leases[*part].is_none()).collect();
        let removes = |next: &mut Self| {
            next.leases[WHOLE] = None;
            next.hosts[host].works[WHOLE] = None;
        };
        match missing.first() {
            Some(&part) if rules.parts_first => {
                then(&|next| next.leases[part] = Some(Lease { owner: None, epoch: 0 }));
            }
            _ => then(&removes),
        }
    }
}

/// How many states there are, or the first breach and how many steps lead to it.
fn explore(rules: Rules) -> Result<usize, (&'static str, u32)> {
    let beginning = State::beginning();
    let mut seen = BTreeSet::from([beginning.clone()]);
    let mut open = VecDeque::from([(beginning, 0)]);
    while let Some((state, steps)) = open.pop_front() {
        if let Some(breach) = state.breach() {
            return Err((breach, steps));
        }
        for next in state.successors(rules) {
            if seen.insert(next.clone()) {
                open.push_back((next, steps + 1));
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn no_course_of_a_hand_over_breaks_a_rule() {
    let states = explore(ALL).unwrap_or_else(|(breach, steps)| panic!("{breach}, after {steps} steps"));
    assert!(states > 100_000, "only {states} states: the model has become too small to say anything");
}

#[test]
fn without_any_one_of_its_rules_the_model_breaks() {
    let without = |change: fn(&mut Rules)| {
        let mut rules = ALL;
        change(&mut rules);
        explore(rules).expect_err("it should break").0
    };
    assert_eq!(without(|rules| rules.writes_are_conditional = false), "two owners in one epoch");
    assert_eq!(without(|rules| rules.deadline = false), "two hosts deliver the same keys");
    assert_eq!(without(|rules| rules.waits_for_expiry = false), "two hosts deliver the same keys");
    assert_eq!(without(|rules| rules.parts_first = false), "keys that no lease covers");
    assert_eq!(without(|rules| rules.takes_anew = false), "two hosts deliver the same keys");
}
