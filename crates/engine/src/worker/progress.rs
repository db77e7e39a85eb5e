//! Completions out of order → the furthest page end before the first gap.

use std::collections::VecDeque;

use feedmill_store_api::Position;

use crate::protection::Protection;

/// A page's number, in feed order, within one worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageNumber(u64);

/// Pages from the first one that is not settled.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pages: VecDeque<Page>,
    first: u64,
}

#[derive(Debug)]
struct Page {
    end: PageEnd,
    /// Changes that are not settled.
    left: usize,
    /// Epoch seconds of its first change.
    since: i64,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageEnd {
    pub(super) position: Position,
    /// Of its last change.
    pub(super) lsn: u64,
}

impl Progress {
    /// A page of `changes` was read, the first one written at `since` (epoch seconds).
    pub(super) fn open(&mut self, end: PageEnd, changes: usize, since: i64) -> PageNumber {
        self.pages.push_back(Page { end, left: changes, since });
        PageNumber(self.first + self.pages.len() as u64 - 1)
    }

    /// `changes` of the page are settled.
    pub(super) fn done(&mut self, page: PageNumber, changes: usize) {
        let index = usize::try_from(page.0 - self.first).expect("a page stays until all its changes are settled");
        let left = &mut self.pages[index].left;
        *left = left.checked_sub(changes).expect("a change is settled once");
    }

    /// Takes the pages that are settled without a gap before them: how many, and where the last one ended.
    pub(super) fn settled(&mut self) -> Option<(u64, PageEnd)> {
        let mut last = None;
        let mut count = 0;
        while self.pages.front().is_some_and(|page| page.left == 0) {
            last = self.pages.pop_front();
            self.first += 1;
            count += 1;
        }
        if !Protection::FirstGap.holds()
            && let Some(page) = self.pages.iter().rfind(|page| page.left == 0)
        {
            return Some((count, page.end.clone()));
        }
        last.map(|page| (count, page.end))
    }

    /// Pages that are not taken yet.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Epoch seconds of the first page that is not settled.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.pages.front().map(|page| page.since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(number: u64) -> PageEnd {
        PageEnd { position: Position::new(number.to_string()), lsn: number }
    }

    #[test]
    fn a_gap_holds_back_everything_behind_it() {
        let mut progress = Progress::default();
        let pages: Vec<_> = (0..3).map(|number| progress.open(end(number), 2, 10 + number as i64)).collect();
        progress.done(pages[1], 2);
        progress.done(pages[2], 2);
        progress.done(pages[0], 1);
        assert_eq!(progress.settled(), None);
        assert_eq!(progress.oldest(), Some(10));
        progress.done(pages[0], 1);
        assert_eq!(progress.settled(), Some((3, end(2))));
        assert_eq!((progress.pages(), progress.oldest(), progress.settled()), (0, None, None));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_always_the_longest_prefix_of_settled_pages(
            sizes in proptest::collection::vec(1_usize..4, 1..12),
            order in any::<prop::sample::Index>().prop_flat_map(|_| proptest::collection::vec(any::<u32>(), 48)),
        ) {
            let mut progress = Progress::default();
            let pages: Vec<_> =
                sizes.iter().enumerate().map(|(n, size)| progress.open(end(n as u64), *size, n as i64)).collect();
            let mut completions: Vec<usize> =
                sizes.iter().enumerate().flat_map(|(n, size)| std::iter::repeat_n(n, *size)).collect();
            let mut keyed: Vec<_> = completions.drain(..).zip(order).collect();
            keyed.sort_by_key(|(_, order)| *order);
            let mut left = sizes.clone();
            let mut taken = 0;
            for (page, _) in keyed {
                progress.done(pages[page], 1);
                left[page] -= 1;
                let prefix = left.iter().take_while(|left| **left == 0).count();
                let settled = progress.settled();
                match settled {
                    Some((count, last)) => {
                        taken += count as usize;
                        prop_assert_eq!(last, end(taken as u64 - 1));
                    }
                    None => prop_assert_eq!(taken, prefix),
                }
                prop_assert_eq!(taken, prefix);
                prop_assert_eq!(progress.pages(), sizes.len() - taken);
            }
            prop_assert_eq!(taken, sizes.len());
        }
    }
}
