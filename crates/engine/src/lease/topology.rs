//! Leases against feed ranges: what is covered, by how many.

use feedmill_store_api::FeedRange;

/// What leases make of a container's ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Parts of feed ranges that no lease covers, each within one feed range.
    pub(super) missing: Vec<FeedRange>,
    /// Pairs of leases that cover the same keys: those are delivered twice.
    pub(super) overlapping: Vec<(FeedRange, FeedRange)>,
    /// Leases over more than one feed range: their range was split, and cannot be read as one.
    pub(super) spanning: Vec<FeedRange>,
}

pub(super) fn cover(ranges: &[FeedRange], leases: &[FeedRange]) -> Coverage {
    let mut leases = leases.to_vec();
    leases.sort();
    Coverage {
        missing: ranges.iter().flat_map(|range| gaps(range, &leases)).collect(),
        overlapping: overlapping(&leases),
        spanning: leases
            .iter()
            .filter(|lease| ranges.iter().filter(|range| range.overlaps(lease)).count() > 1)
            .cloned()
            .collect(),
    }
}

/// What of `range` none of the leases, sorted, covers.
fn gaps(range: &FeedRange, leases: &[FeedRange]) -> Vec<FeedRange> {
    let mut gaps = Vec::new();
    let mut covered = range.min();
    for lease in leases.iter().filter(|lease| lease.overlaps(range)) {
        if covered < lease.min() {
            gaps.extend(FeedRange::new(covered, lease.min()));
        }
        covered = covered.max(lease.max());
    }
    if covered < range.max() {
        gaps.extend(FeedRange::new(covered, range.max()));
    }
    gaps
}

fn overlapping(leases: &[FeedRange]) -> Vec<(FeedRange, FeedRange)> {
    let mut pairs = Vec::new();
    let mut furthest: Option<&FeedRange> = None;
    for lease in leases {
        if let Some(before) = furthest
            && before.overlaps(lease)
        {
            pairs.push((before.clone(), lease.clone()));
        }
        if furthest.is_none_or(|before| before.max() < lease.max()) {
            furthest = Some(lease);
        }
    }
    pairs
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

    fn check(feed: &[&str], leases: &[&str], missing: &[&str], overlapping: &[(&str, &str)], spanning: &[&str]) {
        let coverage = cover(&ranges(feed), &ranges(leases));
        assert_eq!(coverage.missing, ranges(missing), "missing, {leases:?}");
        let pairs: Vec<_> = overlapping.iter().map(|(a, b)| (range(a), range(b))).collect();
        assert_eq!(coverage.overlapping, pairs, "overlapping, {leases:?}");
        assert_eq!(coverage.spanning, ranges(spanning), "spanning, {leases:?}");
    }

    #[test]
    fn coverage_by_cases() {
        let two = ["-7F", "7F-FF"];
        check(&two, &[], &two, &[], &[]);
        check(&two, &two, &[], &[], &[]);
        check(&two, &["-7F"], &["7F-FF"], &[], &[]);
        check(&two, &["-FF"], &[], &[], &["-FF"]);
        check(&two, &["-3F", "5F-7F", "7F-FF"], &["3F-5F"], &[], &[]);
        check(&two, &["-7F", "-7F", "7F-FF"], &[], &[("-7F", "-7F")], &[]);
        check(&two, &["-5F", "3F-7F", "7F-FF"], &[], &[("-5F", "3F-7F")], &[]);
        // A merge: leases within one range stay as they are.
        check(&["-FF"], &["-7F", "7F-FF"], &[], &[], &[]);
        check(&["-FF"], &["1F-7F"], &["-1F", "7F-FF"], &[], &[]);
        check(&["-FF"], &["-FF", "1F-2F", "3F-4F"], &[], &[("-FF", "1F-2F"), ("-FF", "3F-4F")], &[]);
    }

    fn cut(points: &[u8]) -> Vec<String> {
        let mut bounds: Vec<String> = points.iter().map(|point| format!("{point:02X}")).collect();
        bounds.push("FF".to_owned());
        bounds.push(String::new());
        bounds.sort();
        bounds.dedup();
        bounds
    }

    proptest! {
        #[test]
        fn leases_and_what_is_missing_cover_every_key_and_missing_ones_cover_it_once(
            feed in proptest::collection::vec(1_u8..255, 0..5),
            leases in proptest::collection::vec((0_u8..255, 0_u8..255), 0..6),
            key in 0_u8..255,
        ) {
            let bounds = cut(&feed);
            let feed: Vec<_> = bounds.windows(2).map(|pair| FeedRange::new(&*pair[0], &*pair[1]).unwrap()).collect();
            let leases: Vec<_> = leases
                .into_iter()
                .filter_map(|(min, max)| FeedRange::new(format!("{min:02X}"), format!("{max:02X}")).ok())
                .collect();
            let coverage = cover(&feed, &leases);
            let key = format!("{key:02X}");
            let by = |ranges: &[FeedRange]| ranges.iter().filter(|range| range.contains_key(&key)).count();
            prop_assert_eq!(by(&coverage.missing), usize::from(by(&leases) == 0));
            prop_assert!(by(&leases) < 2 || !coverage.overlapping.is_empty());
            for missing in &coverage.missing {
                prop_assert!(feed.iter().any(|range| range.contains(missing)));
            }
        }
    }
}
