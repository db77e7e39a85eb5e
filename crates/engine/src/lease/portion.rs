//! How many of the commits of a feed are those of one lease: a commit does not say whose keys it wrote.

/// Splits that are remembered. What lies before an older one counts as what lies before the oldest of these.
const SPLITS_MAX: usize = 4;

/// The part of a feed's commits that is a lease's own, by its part of the keys. Before a split of the physical partition the
/// commits of both halves are in one row, and each half still counts them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Portion {
    /// The first is the oldest.
    before: Vec<Split>,
    now: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    /// Its share of the commits up to this one.
    share: f64,
    upto_lsn: u64,
}

impl Portion {
    /// `share`: the part of its physical partition's keys that it has.
    pub(crate) fn of_keys(share: f64) -> Self {
        Self { before: Vec::new(), now: share }
    }

    /// `None` where it makes no sense.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut splits = text.split(' ');
        let now = splits.next_back()?.parse().ok()?;
        let split = |text: &str| {
            let (share, upto_lsn) = text.split_once('@')?;
            Some(Split { share: share.parse().ok()?, upto_lsn: upto_lsn.parse().ok()? })
        };
        Some(Self { before: splits.map(split).collect::<Option<_>>()?, now })
    }

    /// As it is stored: `0.5@120 1` has half of the commits up to 120, and all of those behind it.
    pub(super) fn text(&self) -> String {
        let before = self.before.iter().map(|split| format!("{}@{} ", split.share, split.upto_lsn));
        before.collect::<String>() + &self.now.to_string()
    }

    /// Of a part with `of_whole` of this one's keys, and `now` of those of the physical partition in which they are.
    pub(crate) fn part(&self, of_whole: f64, now: f64) -> Self {
        let part = |split: &Split| Split { share: split.share * of_whole, ..*split };
        Self { before: self.before.iter().map(part).collect(), now }
    }

    /// Of such a part, where the physical partition was split no later than at `upto_lsn`.
    pub(super) fn split(&self, of_whole: f64, upto_lsn: u64, now: f64) -> Self {
        let mut part = self.part(of_whole, now);
        part.before.push(Split { share: self.now * of_whole, upto_lsn });
        part.before.drain(..part.before.len().saturating_sub(SPLITS_MAX));
        part
    }

    /// Its own of the commits behind `after`, up to `head`: about so many, and never none where something waits. The sum over
    /// all leases is then about what waits.
    pub(crate) fn own(&self, after: u64, head: u64) -> u64 {
        let (mut from, mut own) = (after, 0.0);
        for split in &self.before {
            let upto = split.upto_lsn.min(head);
            own += upto.saturating_sub(from) as f64 * split.share;
            from = from.max(upto);
        }
        (own + head.saturating_sub(from) as f64 * self.now).ceil() as u64
    }

    pub(super) fn was_split(&self) -> bool {
        !self.before.is_empty()
    }

    pub(crate) fn now(&self) -> f64 {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_of_before_a_split_are_shared_and_those_behind_it_are_ones_own() {
        let half = Portion::of_keys(1.0).split(0.5, 100, 1.0);
        let check = |after, head, expected| assert_eq!(half.own(after, head), expected, "from {after} to {head}");
        check(0, 100, 50);
        check(40, 130, 60);
        check(100, 130, 30);
        check(110, 130, 20);
        check(99, 100, 1);
        check(130, 130, 0);
        // Behind its own head, as after a restore.
        check(130, 20, 0);
        let quarter = half.split(0.5, 200, 1.0);
        assert_eq!(quarter.own(0, 300), 25 + 50 + 100);
        assert_eq!(Portion::of_keys(0.25).own(0, 10), 3, "a part has its share");
    }

    #[test]
    fn a_portion_is_stored_as_text_and_remembers_so_many_splits() {
        let mut portion = Portion::of_keys(0.25);
        for lsn in 1..=9 {
            assert_eq!(Portion::parse(&portion.text()), Some(portion.clone()));
            portion = portion.split(0.5, lsn * 10, 1.0);
        }
        assert_eq!(portion.before.len(), SPLITS_MAX);
        assert_eq!(Portion::of_keys(1.0).split(0.5, 120, 1.0).text(), "0.5@120 1");
        for text in ["", "0.5@", "x 1", "0.5@120 "] {
            assert_eq!(Portion::parse(text), None, "{text:?}");
        }
    }
}
