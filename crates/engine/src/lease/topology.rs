//! Leases against feed ranges: what is covered, by how many.

use feedmill_store_api::FeedRange;

/// What leases make of a container's ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Parts of feed ranges that no lease covers, each within one feed range.
    pub(super) missing: Vec<FeedRange>,
    /// Pairs of leases that cover the same keys: those are delivered twice.
    pub(super) overlapping: Vec<(FeedRange, FeedRange)>,
}

impl Coverage {
    /// Every key is covered, and by one lease.
    pub(super) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.overlapping.is_empty()
    }
}

/// `lease` along the bounds of `ranges`: itself where it lies within one of them.
pub(crate) fn parts(lease: &FeedRange, ranges: &[FeedRange]) -> Vec<FeedRange> {
    let overlapping = ranges.iter().filter(|range| range.overlaps(lease));
    let part = |range: &FeedRange| FeedRange::new(range.min().max(lease.min()), range.max().min(lease.max())).ok();
    overlapping.filter_map(part).collect()
}

/// These parts of `lease`, and what is missing between them.
pub(super) fn completed(lease: &FeedRange, parts: &[FeedRange]) -> Vec<FeedRange> {
    let mut parts = parts.to_vec();
    parts.sort();
    let missing = gaps(lease, &parts);
    parts.extend(missing);
    parts.sort();
    parts
}

/// `range` in `count` parts of about the same number of keys; fewer where it is too narrow.
///
/// Effective keys are spread evenly over 128 bits of which the two highest are 0, so bounds are counted in the first 64.
pub(super) fn cut(range: &FeedRange, count: usize) -> Vec<FeedRange> {
    let number = |bound: &str, end: bool| match bound {
        "" => 0,
        // Above all keys; none is at or above 4 in its first digit.
        "FF" if end => u128::from(u64::MAX >> 2) + 1,
        _ => {
            let digits: String = bound.chars().chain(std::iter::repeat('0')).take(16).collect();
            u128::from_str_radix(&digits, 16).unwrap_or(0)
        }
    };
    let (from, to) = (number(range.min(), false), number(range.max(), true));
    let width = to.saturating_sub(from);
    let mut bounds = vec![range.min().to_owned()];
    for step in 1..count.max(1) as u128 {
        let bound = format!("{:016X}", from + width * step / count as u128);
        if bounds.last().is_some_and(|last| *last < bound) && bound.as_str() < range.max() {
            bounds.push(bound);
        }
    }
    bounds.push(range.max().to_owned());
    bounds.windows(2).filter_map(|pair| FeedRange::new(&*pair[0], &*pair[1]).ok()).collect()
}

pub(super) fn cover(ranges: &[FeedRange], leases: &[FeedRange]) -> Coverage {
    let mut leases = leases.to_vec();
    leases.sort();
    Coverage {
        missing: ranges.iter().flat_map(|range| gaps(range, &leases)).collect(),
        overlapping: overlapping(&leases),
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

    #[test]
    fn parts_that_somebody_began_with_are_completed_to_the_whole() {
        let completed = |parts: &[&str]| super::completed(&range("10-30"), &ranges(parts));
        assert_eq!(completed(&["10-18"]), ranges(&["10-18", "18-30"]));
        assert_eq!(completed(&["18-20", "25-30"]), ranges(&["10-18", "18-20", "20-25", "25-30"]));
        assert_eq!(completed(&["10-20", "20-30"]), ranges(&["10-20", "20-30"]));
    }

    fn check(feed: &[&str], leases: &[&str], missing: &[&str], overlapping: &[(&str, &str)]) {
        let coverage = cover(&ranges(feed), &ranges(leases));
        assert_eq!(coverage.missing, ranges(missing), "missing, {leases:?}");
        let pairs: Vec<_> = overlapping.iter().map(|(a, b)| (range(a), range(b))).collect();
        assert_eq!(coverage.overlapping, pairs, "overlapping, {leases:?}");
    }

    #[test]
    fn coverage_by_cases() {
        let two = ["-7F", "7F-FF"];
        check(&two, &[], &two, &[]);
        check(&two, &two, &[], &[]);
        check(&two, &["-7F"], &["7F-FF"], &[]);
        check(&two, &["-FF"], &[], &[]);
        check(&two, &["-3F", "5F-7F", "7F-FF"], &["3F-5F"], &[]);
        check(&two, &["-7F", "-7F", "7F-FF"], &[], &[("-7F", "-7F")]);
        check(&two, &["-5F", "3F-7F", "7F-FF"], &[], &[("-5F", "3F-7F")]);
        // A merge: leases within one range stay as they are.
        check(&["-FF"], &["-7F", "7F-FF"], &[], &[]);
        check(&["-FF"], &["1F-7F"], &["-1F", "7F-FF"], &[]);
        check(&["-FF"], &["-FF", "1F-2F", "3F-4F"], &[], &[("-FF", "1F-2F"), ("-FF", "3F-4F")]);
    }

    #[test]
    fn a_lease_is_divided_along_the_ranges_and_stays_whole_within_one() {
        let parts_of = |lease: &str, feed: &[&str]| parts(&range(lease), &ranges(feed));
        assert_eq!(parts_of("-FF", &["-1F", "1F-3F", "3F-FF"]), ranges(&["-1F", "1F-3F", "3F-FF"]));
        assert_eq!(parts_of("0F-2F", &["-1F", "1F-FF"]), ranges(&["0F-1F", "1F-2F"]));
        assert_eq!(parts_of("0F-1F", &["-FF"]), ranges(&["0F-1F"]));
    }

    #[test]
    fn a_range_is_cut_into_parts_that_touch() {
        assert_eq!(cut(&FeedRange::full(), 1), [FeedRange::full()]);
        assert_eq!(
            cut(&FeedRange::full(), 4),
            ranges(&[
                "-1000000000000000",
                "1000000000000000-2000000000000000",
                "2000000000000000-3000000000000000",
                "3000000000000000-FF"
            ])
        );
        let parts = cut(&range("1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF-3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"), 32);
        assert_eq!(parts.len(), 32);
        assert!(parts.windows(2).all(|pair| FeedRange::max(&pair[0]) == FeedRange::min(&pair[1])));
        assert_eq!(cut(&range("0000000000000001-0000000000000002"), 8).len(), 1);
    }

    fn points(points: &[u8]) -> Vec<String> {
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
            let bounds = points(&feed);
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
