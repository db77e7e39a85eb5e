use std::ops::Bound;

use super::PackedMap;
use super::fence::{Fence, Place, Probe};
use super::leaf::Leaf;
use crate::storage::Direction;

pub(in super::super) struct PackedCursor<'a> {
    leaves: std::collections::btree_map::Range<'a, Fence, Leaf>,
    current: Option<(&'a [u8], &'a Leaf)>,
    /// Forward: the next entry. Backward: one past the next entry.
    at: usize,
    direction: Direction,
    /// Where to stop: below this key going forward, at or above it going backward.
    until: Box<[u8]>,
    key: Vec<u8>,
    value: &'a [u8],
}

impl<'a> PackedCursor<'a> {
    pub(super) fn new(map: &'a PackedMap, from: &[u8], to: &[u8], direction: Direction) -> Self {
        let (first, _) = map.leaf(from);
        let (first, last) = (Probe::new(first), Probe::new(if from < to { to } else { &[] }));
        let mut leaves = match direction {
            Direction::Forward if from < to => {
                map.leaves.range::<dyn Place, _>((Bound::Included(&first as &dyn Place), Bound::Unbounded))
            }
            _ => map.leaves.range::<dyn Place, _>((Bound::Unbounded, Bound::Excluded(&last as &dyn Place))),
        };
        let (current, start, until) = match direction {
            Direction::Forward => (leaves.next(), from, to),
            Direction::Backward => (leaves.next_back(), to, from),
        };
        let current = current.map(|(fence, leaf)| (&*fence.bytes, leaf));
        let at = current.map_or(0, |(bound, leaf)| {
            let (Ok(at) | Err(at)) = leaf.find(bound, start);
            at
        });
        Self { leaves, current, at, direction, until: until.into(), key: Vec::new(), value: &[] }
    }

    pub(in super::super) fn advance(&mut self) -> bool {
        while let Some((bound, leaf)) = self.current {
            let at = match self.direction {
                Direction::Forward => (self.at < leaf.starts.len()).then_some(self.at),
                Direction::Backward => self.at.checked_sub(1),
            };
            if let Some(at) = at {
                let (suffix, value) = leaf.entry(at);
                self.key.clear();
                self.key.extend_from_slice(&bound[..leaf.prefix_bytes]);
                self.key.extend_from_slice(suffix);
                self.value = value;
                self.at = if self.direction == Direction::Forward { at + 1 } else { at };
                return match self.direction {
                    Direction::Forward => *self.key < *self.until,
                    Direction::Backward => *self.key >= *self.until,
                };
            }
            let next = match self.direction {
                Direction::Forward => self.leaves.next(),
                Direction::Backward => self.leaves.next_back(),
            };
            self.current = next.map(|(fence, leaf)| (&*fence.bytes, leaf));
            self.at = match (self.direction, self.current) {
                (Direction::Backward, Some((_, leaf))) => leaf.starts.len(),
                _ => 0,
            };
        }
        false
    }

    pub(in super::super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(in super::super) fn value(&self) -> &'a [u8] {
        self.value
    }
}
