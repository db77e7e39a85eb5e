use std::fmt;

use serde::{Deserialize, Serialize};

/// A half-open interval of effective partition keys, upper-case hex; `""` is the lowest, `FF` above all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct FeedRange {
    min: String,
    max: String,
}

#[derive(Serialize, Deserialize)]
struct Text {
    min: String,
    max: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a feed range: [{min}, {max}): the bounds are upper-case hex and min is below max")]
pub struct InvalidRange {
    min: String,
    max: String,
}

impl FeedRange {
    pub fn new(min: impl Into<String>, max: impl Into<String>) -> Result<Self, InvalidRange> {
        let (min, max) = (min.into(), max.into());
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        if hex(&min) && hex(&max) && min < max { Ok(Self { min, max }) } else { Err(InvalidRange { min, max }) }
    }

    pub fn full() -> Self {
        Self { min: String::new(), max: "FF".to_owned() }
    }

    /// Inclusive.
    pub fn min(&self) -> &str {
        &self.min
    }

    /// Exclusive.
    pub fn max(&self) -> &str {
        &self.max
    }

    pub fn contains(&self, other: &Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    pub fn contains_key(&self, effective_key: &str) -> bool {
        self.min.as_str() <= effective_key && effective_key < self.max.as_str()
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.min < other.max && other.min < self.max
    }

    /// What both have, if there is anything.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let min = self.min.as_str().max(&other.min);
        let max = self.max.as_str().min(&other.max);
        Self::new(min, max).ok()
    }

    /// `{min}-{max}`, the lease token of a version-1 lease.
    pub fn token(&self) -> String {
        format!("{}-{}", self.min, self.max)
    }
}

impl TryFrom<Text> for FeedRange {
    type Error = InvalidRange;
    fn try_from(text: Text) -> Result<Self, InvalidRange> {
        Self::new(text.min, text.max)
    }
}

impl From<FeedRange> for Text {
    fn from(range: FeedRange) -> Self {
        Self { min: range.min, max: range.max }
    }
}

impl fmt::Display for FeedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_touch_but_do_not_overlap() {
        let low = FeedRange::new("", "1FFF").unwrap();
        let high = FeedRange::new("1FFF", "FF").unwrap();
        assert!(!low.overlaps(&high) && !high.overlaps(&low));
        assert!(FeedRange::full().contains(&low) && FeedRange::full().contains(&high));
        assert!(high.contains_key("1FFF") && !low.contains_key("1FFF"));
        assert_eq!(low.token(), "-1FFF");
        assert_eq!(low.intersection(&high), None);
        assert_eq!(low.intersection(&FeedRange::full()), Some(low));
    }

    #[test]
    fn empty_and_malformed_ranges_are_refused() {
        for (min, max) in [("A", "A"), ("B", "A"), ("", ""), ("a", "b"), ("", "XY")] {
            assert!(FeedRange::new(min, max).is_err(), "[{min}, {max})");
        }
    }
}
