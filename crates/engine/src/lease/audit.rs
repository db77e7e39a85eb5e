//! What is wrong with a set of leases, and which set would be right with as little change as may be. Pure.

use std::collections::BTreeSet;

use feedmill_store_api::FeedRange;

use super::topology;

/// What is wrong, by places in the list of leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Parts of the container's ranges that no lease covers.
    pub(crate) gaps: Vec<FeedRange>,
    /// Two leases, and the keys that both cover.
    pub(crate) overlaps: Vec<(usize, usize, FeedRange)>,
}

/// A lease as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) range: FeedRange,
    /// The lease whose place it has; `None` where nobody had these keys.
    pub(crate) of: Option<usize>,
    /// Whether that lease stays as it is, but for its position.
    pub(crate) stays: bool,
    /// It must be no further than these are: they had some of its keys, and are removed or cut.
    pub(crate) no_further: BTreeSet<usize>,
}

pub(crate) fn faults(ranges: &[FeedRange], leases: &[FeedRange]) -> Wrong {
    let mut overlaps = Vec::new();
    for (one, range) in leases.iter().enumerate() {
        for (other, also) in leases.iter().enumerate().skip(one + 1) {
            overlaps.extend(range.intersection(also).map(|common| (one, other, common)));
        }
    }
    Wrong { gaps: topology::cover(ranges, leases).missing, overlaps }
}

/// Leases that cover each key once. Where two cover the same, the narrower one stays and the wider one gives way: it is a
/// range whose parts have leases. Of two that only touch each other's keys, the upper one is cut.
pub(crate) fn mended(ranges: &[FeedRange], leases: &[FeedRange]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = leases
        .iter()
        .enumerate()
        .map(|(of, range)| Wanted { range: range.clone(), of: Some(of), stays: true, no_further: BTreeSet::new() })
        .collect();
    while let Some((kept, given)) = colliding(&wanted) {
        let gives_way = wanted.remove(given);
        let kept = kept - usize::from(given < kept);
        let stays = &mut wanted[kept];
        stays.no_further.extend(gives_way.of.filter(|of| stays.of != Some(*of)));
        stays.no_further.extend(&gives_way.no_further);
        let (whole, part) = (&gives_way.range, &stays.range.clone());
        let rests = [FeedRange::new(whole.min(), part.min()), FeedRange::new(part.max(), whole.max())];
        let rests = rests.into_iter().flatten();
        wanted.extend(rests.map(|range| Wanted { range, stays: false, ..gives_way.clone() }));
    }
    let covered: Vec<_> = wanted.iter().map(|wanted| wanted.range.clone()).collect();
    let gaps = topology::cover(ranges, &covered).missing.into_iter();
    wanted.extend(gaps.map(|range| Wanted { range, of: None, stays: false, no_further: BTreeSet::new() }));
    wanted.sort_by(|a, b| a.range.cmp(&b.range));
    wanted
}

/// Two that cover the same keys: which stays, and which gives way.
fn colliding(wanted: &[Wanted]) -> Option<(usize, usize)> {
    for (one, a) in wanted.iter().enumerate() {
        for (other, b) in wanted.iter().enumerate().skip(one + 1) {
            if !a.range.overlaps(&b.range) {
                continue;
            }
            let (a, b) = (&a.range, &b.range);
            let b_within = a.contains(b) && a != b;
            let b_below = b.min() < a.min() && !b.contains(a);
            return Some(if b_within || b_below { (other, one) } else { (one, other) });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> FeedRange {
        let (min, max) = text.split_once('-').unwrap();
        FeedRange::new(min, max).unwrap()
    }

    fn ranges(texts: &[&str]) -> Vec<FeedRange> {
        texts.iter().map(|text| range(text)).collect()
    }

    /// Each wanted lease as `range of lease`, `=` where it stays, and whom it must not be ahead of.
    fn mend(leases: &[&str]) -> Vec<String> {
        let shown = |wanted: Wanted| {
            let of = wanted.of.map_or_else(|| "nobody".to_owned(), |of| of.to_string());
            let behind = wanted.no_further.iter().map(|of| format!(" <{of}")).collect::<String>();
            format!("{} {of}{}{behind}", wanted.range.token(), if wanted.stays { "=" } else { "" })
        };
        mended(&ranges(&["-20", "20-FF"]), &ranges(leases)).into_iter().map(shown).collect()
    }

    #[test]
    fn what_is_right_stays_and_gaps_are_nobodys() {
        assert_eq!(mend(&["-20", "20-FF"]), ["-20 0=", "20-FF 1="]);
        assert_eq!(mend(&["-10", "20-FF"]), ["-10 0=", "10-20 nobody", "20-FF 1="]);
        assert_eq!(mend(&[]), ["-20 nobody", "20-FF nobody"]);
        // Over both, which whoever reads it divides.
        assert_eq!(mend(&["-FF"]), ["-FF 0="]);
    }

    #[test]
    fn a_whole_gives_way_to_its_parts_and_neither_key_nor_place_is_lost() {
        assert_eq!(mend(&["-20", "-10", "10-20", "20-FF"]), ["-10 1= <0", "10-20 2= <0", "20-FF 3="]);
        // Somebody only began.
        assert_eq!(mend(&["-20", "10-18", "20-FF"]), ["-10 0", "10-18 1= <0", "18-20 0", "20-FF 2="]);
        // The same range twice.
        assert_eq!(mend(&["-20", "-20", "20-FF"]), ["-20 0= <1", "20-FF 2="]);
        // The upper one is cut where they cross.
        assert_eq!(mend(&["10-30", "-18", "30-FF"]), ["-18 1= <0", "18-30 0", "30-FF 2="]);
        assert_eq!(mend(&["-18", "10-30", "30-FF"]), ["-18 0= <1", "18-30 1", "30-FF 2="]);
    }

    #[test]
    fn faults_are_named() {
        let wrong = faults(&ranges(&["-20", "20-FF"]), &ranges(&["-18", "10-20", "-18"]));
        assert_eq!(wrong.gaps, ranges(&["20-FF"]));
        assert_eq!(wrong.overlaps, [(0, 1, range("10-18")), (0, 2, range("-18")), (1, 2, range("10-18"))]);
    }

    proptest! {
        #[test]
        fn every_key_has_one_lease_that_is_no_further_than_any_that_had_it(
            leases in proptest::collection::vec((0_u8..250, 0_u8..255), 0..7),
            key in 0_u8..255,
        ) {
            let leases: Vec<_> = leases
                .into_iter()
                .filter_map(|(min, max)| FeedRange::new(format!("{min:02X}"), format!("{max:02X}")).ok())
                .collect();
            let all = ranges(&["-50", "50-FF"]);
            let wanted = mended(&all, &leases);
            let key = format!("{key:02X}");
            let having: Vec<_> = wanted.iter().filter(|wanted| wanted.range.contains_key(&key)).collect();
            prop_assert_eq!(having.len(), 1);
            for (had, _) in leases.iter().enumerate().filter(|(_, range)| range.contains_key(&key)) {
                prop_assert!(having[0].of == Some(had) || having[0].no_further.contains(&had));
            }
            for wanted in &wanted {
                if wanted.stays {
                    prop_assert_eq!(&wanted.range, &leases[wanted.of.unwrap()]);
                }
            }
            let right: Vec<_> = wanted.into_iter().map(|wanted| wanted.range).collect();
            prop_assert_eq!(faults(&all, &right), Wrong::default());
        }
    }
}
