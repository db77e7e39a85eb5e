//! Which host should have which lease: the same answer on every host that knows the same.

use std::collections::{BTreeMap, BTreeSet};

/// A host that lives.
#[derive(Clone, Debug)]
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    /// The groups of leases it can work on.
    pub(crate) serves: &'a BTreeSet<String>,
}

/// A lease somebody should have.
#[derive(Clone, Debug)]
pub(crate) struct Lease<'a> {
    pub(crate) id: &'a str,
    /// What a host must serve to have it: its processor and source.
    pub(crate) group: &'a str,
    /// Index of the living host that has it.
    pub(crate) owner: Option<usize>,
    /// At least 1, that of an idle range.
    pub(crate) weight: u64,
}

/// Uneven shares of what was measured are left alone up to this part of a host's mean share, so that noise moves nothing.
const DEAD_BAND: u64 = 16;

/// The host of each lease, by index; `None` where no host serves its group.
///
/// Sticky: a lease stays where it is unless moving it brings the heaviest and the lightest host closer together, and each
/// move leaves the giver no lighter than the taker. So a plan carried out is a plan that moves nothing more, and one
/// carried out in part asks for the rest.
pub(crate) fn assign(hosts: &[Host<'_>], leases: &[Lease<'_>]) -> Vec<Option<usize>> {
    let by_name = order(hosts.len(), |a, b| hosts[*a].name.cmp(hosts[*b].name));
    let mut classes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    let mut eligible_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in order(leases.len(), |a, b| leases[*a].id.cmp(leases[*b].id)) {
        let group = leases[index].group;
        let eligible = eligible_of
            .entry(group)
            .or_insert_with(|| by_name.iter().copied().filter(|host| hosts[*host].serves.contains(group)).collect());
        match classes.get_mut(eligible) {
            Some(class) => class.push(index),
            None => {
                classes.insert(eligible.clone(), vec![index]);
            }
        }
    }
    let mut shares = Shares { leases, loads: vec![0; hosts.len()], of: vec![None; leases.len()] };
    for (eligible, class) in &classes {
        shares.keep(eligible, class);
    }
    for (eligible, class) in &classes {
        shares.hand_out(eligible, class);
    }
    // Classes share hosts: evening out one may tip another. It ends, because each move makes the sum of the squares of
    // the loads smaller.
    while classes.iter().map(|(eligible, class)| shares.even_out(eligible, class)).sum::<usize>() > 0 {}
    shares.of
}

struct Shares<'a> {
    leases: &'a [Lease<'a>],
    loads: Vec<u64>,
    of: Vec<Option<usize>>,
}

impl Shares<'_> {
    fn keep(&mut self, eligible: &[usize], class: &[usize]) {
        for &lease in class {
            if let Some(owner) = self.leases[lease].owner.filter(|owner| eligible.contains(owner)) {
                self.give(lease, owner);
            }
        }
    }

    /// Free ones, the heaviest first, each to who has least.
    fn hand_out(&mut self, eligible: &[usize], class: &[usize]) {
        let mut free: Vec<usize> = class.iter().copied().filter(|lease| self.of[*lease].is_none()).collect();
        // Stable: equal weights stay in the order of their ids.
        free.sort_by_key(|lease| std::cmp::Reverse(self.leases[*lease].weight));
        let rank: BTreeMap<usize, usize> = eligible.iter().enumerate().map(|(rank, host)| (*host, rank)).collect();
        let mut lightest: BTreeSet<(u64, usize, usize)> =
            eligible.iter().map(|host| (self.loads[*host], rank[host], *host)).collect();
        for lease in free {
            let Some((_, rank, host)) = lightest.pop_first() else { return };
            self.give(lease, host);
            lightest.insert((self.loads[host], rank, host));
        }
    }

    /// Moves what brings the heaviest and the lightest closer together, and returns how many moved.
    fn even_out(&mut self, eligible: &[usize], class: &[usize]) -> usize {
        if eligible.len() < 2 {
            return 0;
        }
        let mut moves = 0;
        let mut held: BTreeMap<usize, BTreeSet<(u64, usize)>> = BTreeMap::new();
        let mut measured = 0;
        for (order, &lease) in class.iter().enumerate() {
            let weight = self.leases[lease].weight;
            measured += weight.saturating_sub(1);
            if let Some(host) = self.of[lease] {
                held.entry(host).or_default().insert((weight, order));
            }
        }
        let band = measured / eligible.len() as u64 / DEAD_BAND;
        let mut by_load: BTreeSet<(u64, usize)> =
            eligible.iter().enumerate().map(|(rank, host)| (self.loads[*host], rank)).collect();
        while let Some((order, giver, taker)) = self.next_move(eligible, &by_load, &held, band) {
            let lease = class[order];
            let weight = self.leases[lease].weight;
            let (from, to) = (eligible[giver], eligible[taker]);
            by_load.remove(&(self.loads[from], giver));
            by_load.remove(&(self.loads[to], taker));
            self.loads[from] -= weight;
            self.give(lease, to);
            by_load.insert((self.loads[from], giver));
            by_load.insert((self.loads[to], taker));
            held.entry(from).or_default().remove(&(weight, order));
            held.entry(to).or_default().insert((weight, order));
            moves += 1;
        }
        moves
    }

    /// The heaviest host that can, and what it gives to the lightest: place in the class, and both by rank.
    fn next_move(
        &self,
        eligible: &[usize],
        by_load: &BTreeSet<(u64, usize)>,
        held: &BTreeMap<usize, BTreeSet<(u64, usize)>>,
        band: u64,
    ) -> Option<(usize, usize, usize)> {
        let (least, taker) = *by_load.first()?;
        for &(load, giver) in by_load.iter().rev() {
            #[cfg(test)]
            tests::LOOKS.set(tests::LOOKS.get() + 1);
            let gap = load - least;
            // An idle lease weighs 1, so nothing can be gained from a smaller gap.
            if gap < 2 || gap <= band {
                return None;
            }
            let heaviest = held.get(&eligible[giver]).and_then(|held| held.range(..=(gap / 2, usize::MAX)).next_back());
            if let Some((_, order)) = heaviest {
                return Some((*order, giver, taker));
            }
        }
        None
    }

    fn give(&mut self, lease: usize, host: usize) {
        self.of[lease] = Some(host);
        self.loads[host] += self.leases[lease].weight;
    }
}

fn order(count: usize, by: impl Fn(&usize, &usize) -> std::cmp::Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(by);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Hosts that were looked at for what they could give.
        pub(super) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[derive(Debug)]
    struct Case {
        hosts: Vec<(String, BTreeSet<String>)>,
        leases: Vec<(String, String, Option<usize>, u64)>,
    }

    impl Case {
        fn new(hosts: usize, leases: usize) -> Self {
            let serves: BTreeSet<String> = ["g".to_owned()].into();
            Self {
                hosts: (0..hosts).map(|host| (format!("h{host:03}"), serves.clone())).collect(),
                leases: (0..leases).map(|lease| (format!("l{lease:05}"), "g".to_owned(), None, 1)).collect(),
            }
        }

        fn assign(&self) -> Vec<Option<usize>> {
            let hosts: Vec<_> = self.hosts.iter().map(|(name, serves)| Host { name, serves }).collect();
            let leases: Vec<_> = self
                .leases
                .iter()
                .map(|(id, group, owner, weight)| Lease { id, group, owner: *owner, weight: *weight })
                .collect();
            assign(&hosts, &leases)
        }

        /// Carries the plan out; how many leases changed hands.
        fn carry_out(&mut self) -> usize {
            let plan = self.assign();
            let moved = self.leases.iter().zip(&plan).filter(|(lease, host)| lease.2 != **host).count();
            for (lease, host) in self.leases.iter_mut().zip(plan) {
                lease.2 = host;
            }
            moved
        }

        fn loads(&self) -> Vec<u64> {
            let mut loads = vec![0; self.hosts.len()];
            for (_, _, owner, weight) in &self.leases {
                if let Some(owner) = owner {
                    loads[*owner] += weight;
                }
            }
            loads
        }

        fn joined(mut self, hosts: usize) -> Self {
            self.hosts = Self::new(hosts, 0).hosts;
            self
        }
    }

    #[test]
    fn one_more_host_takes_its_share_and_nothing_else_moves() {
        for (leases, before, after, moves) in [(100, 1, 2, 50), (1_920, 10, 11, 174), (10, 3, 4, 2), (7, 1, 10, 6)] {
            let mut case = Case::new(before, leases);
            case.carry_out();
            let mut case = case.joined(after);
            assert_eq!(case.carry_out(), moves, "{leases} leases from {before} to {after} hosts");
            let loads = case.loads();
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
            assert_eq!(case.carry_out(), 0);
        }
    }

    #[test]
    fn the_leases_of_a_host_that_is_gone_are_shared_out_and_the_rest_stay() {
        let mut case = Case::new(4, 40);
        case.carry_out();
        for lease in &mut case.leases {
            lease.2 = lease.2.filter(|owner| *owner != 3);
        }
        case.hosts.pop();
        assert_eq!(case.carry_out(), 10);
        let loads = case.loads();
        assert!(loads.iter().all(|load| (13..=14).contains(load)), "{loads:?}");
    }

    #[test]
    fn a_hot_lease_counts_for_many_and_small_changes_of_weight_move_nothing() {
        let mut case = Case::new(2, 20);
        for lease in &mut case.leases {
            lease.3 = 17;
        }
        case.leases[0].3 = 17 * 10;
        case.carry_out();
        let loads = case.loads();
        assert!(loads[0].abs_diff(loads[1]) <= 17, "{loads:?}");
        case.leases[5].3 += 9;
        assert_eq!(case.carry_out(), 0, "within the dead band");
        case.leases[0].3 *= 3;
        assert!(case.carry_out() > 0);
    }

    #[test]
    fn a_lease_goes_only_where_its_group_is_served() {
        let mut case = Case::new(3, 12);
        case.hosts[2].1 = ["other".to_owned()].into();
        case.leases[0].1 = "other".to_owned();
        case.leases[1].1 = "nobody's".to_owned();
        let plan = case.assign();
        assert_eq!((plan[0], plan[1]), (Some(2), None));
        assert!(plan[2..].iter().all(|host| matches!(host, Some(0 | 1))));
    }

    #[test]
    fn ten_thousand_leases_on_a_hundred_hosts_are_planned() {
        let mut case = Case::new(100, 10_000);
        for (index, lease) in case.leases.iter_mut().enumerate() {
            lease.3 = 1 + (index as u64 * 7919) % 32;
        }
        case.carry_out();
        let mut case = case.joined(110);
        case.carry_out();
        let loads = case.loads();
        let mean = loads.iter().sum::<u64>() / 110;
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= mean / DEAD_BAND, "{loads:?}");
    }

    /// Leases that moved, and hosts that were looked at for them, when hosts join a fleet that was at rest.
    fn looks(hosts: usize, leases: usize) -> (usize, usize) {
        let mut case = Case::new(hosts, leases);
        for (index, lease) in case.leases.iter_mut().enumerate() {
            lease.3 = 1 + (index as u64 * 7919) % 32;
        }
        case.carry_out();
        LOOKS.set(0);
        assert_eq!(case.carry_out(), 0);
        assert!(LOOKS.get() <= 2, "{} looks at rest", LOOKS.get());
        let mut case = case.joined(hosts + hosts / 10);
        LOOKS.set(0);
        (case.carry_out(), LOOKS.get())
    }

    #[test]
    fn a_plan_takes_about_one_look_a_move_whatever_the_number_of_leases() {
        for (hosts, leases) in [(10, 1_000), (100, 1_000), (100, 10_000), (200, 10_000)] {
            let (moves, looks) = looks(hosts, leases);
            assert!(moves <= leases / 5, "{moves} of {leases} leases move for a tenth more hosts");
            assert!(looks <= 2 * moves + 2 * hosts, "{looks} looks for {moves} moves among {hosts} hosts");
        }
    }

    prop_compose! {
        fn cases()(hosts in 1_usize..6, leases in proptest::collection::vec((0_usize..8, 1_u64..20, 0_usize..3), 0..40)) -> Case {
            let mut case = Case::new(hosts, leases.len());
            for (index, host) in case.hosts.iter_mut().enumerate() {
                host.1 = (0..3).filter(|group| (index + group) % 3 != 0 || index == 0).map(|group| group.to_string()).collect();
            }
            for (lease, (owner, weight, group)) in case.leases.iter_mut().zip(leases) {
                lease.1 = group.to_string();
                lease.2 = Some(owner).filter(|owner| *owner < hosts);
                lease.3 = weight;
            }
            case
        }
    }

    proptest! {
        #[test]
        fn every_lease_has_a_host_that_serves_it_and_a_plan_carried_out_moves_nothing_more(mut case in cases()) {
            let plan = case.assign();
            for (lease, host) in case.leases.iter().zip(&plan) {
                prop_assert!(case.hosts[host.unwrap()].1.contains(&lease.1));
            }
            case.carry_out();
            prop_assert_eq!(case.carry_out(), 0);
        }

        #[test]
        fn the_order_in_which_things_are_known_does_not_matter(case in cases(), turn in 0_usize..40) {
            let plan = case.assign();
            let mut turned = case;
            if !turned.leases.is_empty() {
                let turn = turn % turned.leases.len();
                turned.leases.rotate_left(turn);
                let mut expected = plan;
                expected.rotate_left(turn);
                prop_assert_eq!(turned.assign(), expected);
            }
        }

        #[test]
        fn a_plan_carried_out_in_part_ends_at_rest(mut case in cases(), picks in proptest::collection::vec(any::<bool>(), 200)) {
            let mut picks = picks.into_iter();
            for _ in 0..200 {
                let plan = case.assign();
                for (lease, host) in case.leases.iter_mut().zip(plan) {
                    if lease.2.is_none() || picks.next().unwrap_or(true) {
                        lease.2 = host;
                    }
                }
            }
            prop_assert_eq!(case.carry_out(), 0);
        }

        #[test]
        fn where_nothing_is_free_the_heaviest_gets_no_heavier_and_the_lightest_no_lighter(mut case in cases()) {
            let hosts = case.hosts.len();
            for (index, lease) in case.leases.iter_mut().enumerate() {
                lease.1 = "0".to_owned();
                lease.2 = Some(lease.2.unwrap_or(index) % hosts);
            }
            for host in &mut case.hosts {
                host.1.insert("0".to_owned());
            }
            let before = case.loads();
            case.carry_out();
            let after = case.loads();
            prop_assert!(after.iter().max() <= before.iter().max() && after.iter().min() >= before.iter().min());
        }
    }
}
