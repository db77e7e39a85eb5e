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

/// Effective keys there are: 128 bits of which the two highest are 0.
const KEYS: u128 = 1 << 126;

/// How many keys lie before a bound. Bounds are of 32 digits where a store hashes as Azure does now; shorter ones are meant
/// up to their end.
fn keys_before(bound: &str) -> u128 {
    // Above all keys, as `FF` is; none is at or above 4 in its first digit.
    if bound.is_empty() || bound >= "4" {
        return if bound.is_empty() { 0 } else { KEYS };
    }
    let digits: String = bound.chars().chain(std::iter::repeat('F')).take(32).collect();
    u128::from_str_radix(&digits, 16).map_or(0, |last| last + 1)
}

fn width(range: &FeedRange) -> u128 {
    keys_before(range.max()).saturating_sub(keys_before(range.min()))
}

/// `range` in `count` parts of about the same number of keys; fewer where it is too narrow.
///
/// Where powers of two are asked for, bounds are those at which partitions are split in half, so that such a split leaves no
/// narrow part behind.
pub(super) fn cut(range: &FeedRange, count: usize) -> Vec<FeedRange> {
    let (from, width, count) = (keys_before(range.min()), width(range), count.max(1) as u128);
    let mut bounds = vec![range.min().to_owned()];
    for step in 1..count {
        let below = from + width / count * step + width % count * step / count;
        let bound = format!("{:032X}", below.saturating_sub(1));
        if bounds.last().is_some_and(|last| *last < bound) && bound.as_str() < range.max() {
            bounds.push(bound);
        }
    }
    bounds.push(range.max().to_owned());
    bounds.windows(2).filter_map(|pair| FeedRange::new(&*pair[0], &*pair[1]).ok()).collect()
}

/// The parts of a lease that is at least twice as wide as one of `per_partition` equal ones of its physical range; none where
/// it is not. What lies over several physical ranges is divided along them first, by whoever reads it.
pub(super) fn finer(lease: &FeedRange, ranges: &[FeedRange], per_partition: usize) -> Vec<FeedRange> {
    let Some(physical) = ranges.iter().find(|range| range.contains(lease)) else { return Vec::new() };
    let wanted = (width(physical) / per_partition.max(1) as u128).max(1);
    let count = usize::try_from(width(lease) / wanted).unwrap_or(usize::MAX).min(per_partition);
    if count < 2 { Vec::new() } else { cut(lease, count) }
}

/// Which part of its physical range's keys a lease has: 1 for all of them, and for one over several.
pub(crate) fn share(lease: &FeedRange, ranges: &[FeedRange]) -> f64 {
    let physical = ranges.iter().find(|range| range.contains(lease));
    physical.map_or(1.0, |physical| width(lease) as f64 / width(physical).max(1) as f64)
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

    /// A bound as a split in halves makes it.
    fn half(first: &str) -> String {
        format!("{first}{}", "F".repeat(32 - first.len()))
    }

    #[test]
    fn a_range_is_cut_into_parts_that_touch_where_splits_in_halves_cut_it_too() {
        assert_eq!(cut(&FeedRange::full(), 1), [FeedRange::full()]);
        let bounds = [String::new(), half("0"), half("1"), half("2"), "FF".to_owned()];
        let quarters: Vec<_> = bounds.windows(2).map(|pair| FeedRange::new(&*pair[0], &*pair[1]).unwrap()).collect();
        assert_eq!(cut(&FeedRange::full(), 4), quarters);
        let upper = FeedRange::new(half("1"), "FF").unwrap();
        assert_eq!(cut(&upper, 2), quarters[2..]);
        let parts = cut(&FeedRange::new(half("1"), half("3")).unwrap(), 32);
        assert_eq!(parts.len(), 32);
        assert!(parts.windows(2).all(|pair| FeedRange::max(&pair[0]) == FeedRange::min(&pair[1])));
        let narrow = FeedRange::new(format!("{:032X}", 1), format!("{:032X}", 2)).unwrap();
        assert_eq!(cut(&narrow, 8).len(), 1);
        // As an older hash has them.
        let older = range("05C1C9CD673398-05C1D9CD673396");
        assert_eq!(cut(&older, 3).len(), 3);
    }

    #[test]
    fn a_lease_is_cut_finer_only_while_it_is_twice_as_wide_as_wanted() {
        let whole = [FeedRange::full()];
        let count = |lease: &FeedRange, ranges: &[FeedRange], wanted| finer(lease, ranges, wanted).len();
        assert_eq!([0, 1, 2, 3, 1_000].map(|wanted| count(&whole[0], &whole, wanted)), [0, 0, 2, 3, 1_000]);
        for first in 1..40 {
            for then in 1..40 {
                for lease in cut(&whole[0], first) {
                    let parts = finer(&lease, &whole, then);
                    assert!(parts.is_empty() || then >= 2 * first, "{first} then {then}");
                    assert!(parts.iter().all(|part| count(part, &whole, then) == 0), "{first} then {then}");
                }
            }
        }
        // A split: what is left of each half is as fine as wanted again.
        let halves = cut(&whole[0], 2);
        assert!(cut(&whole[0], 4).iter().all(|lease| count(lease, &halves, 4) == 2));
        assert_eq!(count(&whole[0], &halves, 4), 0, "it is divided along the halves first");
        // A merge: what is finer than wanted stays.
        assert!(halves.iter().all(|lease| count(lease, &whole, 1) == 0));
    }

    #[test]
    fn a_part_has_its_share_of_the_keys() {
        let whole = [FeedRange::full()];
        assert!(cut(&whole[0], 8).iter().all(|part| share(part, &whole) == 0.125));
        let halves = cut(&whole[0], 2);
        assert_eq!([share(&halves[0], &halves), share(&whole[0], &halves)], [1.0, 1.0]);
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
