//! A map for the memory store, which has room for little besides the bytes themselves. Read `leaf.rs` after this.

mod cursor;
mod fence;
mod leaf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Direction;
pub(super) use cursor::PackedCursor;
use fence::{Fence, Place, Probe};
use leaf::Leaf;

/// After so many entries in key order, more are expected to follow.
const IN_A_ROW_MIN: u16 = 4;

/// Places in a leaf are 16 bits wide.
const LEAF_BYTES_LIMIT: usize = 1 << 15;

/// An ordered map of byte strings that costs little more than the bytes it holds.
///
/// `BTreeMap<Box<[u8]>, Box<[u8]>>` needs about 120 bytes an entry beyond the bytes, more than most entries here are long.
/// This packs entries into leaves, leaves out what all keys of a leaf begin with, and finds leaves through a `BTreeMap` of
/// their first keys. Appending in key order, as the change log does, fills leaves to the end.
#[derive(Debug)]
pub(super) struct PackedMap {
    /// By lower bound; the first is empty, so that every key has a leaf.
    leaves: BTreeMap<Fence, Leaf>,
    /// Bytes of a leaf's entries before it is split; one larger entry has a leaf to itself. Small enough that making room
    /// for an entry in the middle costs less than finding the leaf, large enough that a leaf's own cost of some 200 bytes
    /// is little for an entry.
    leaf_bytes_max: usize,
    entries: usize,
    bytes: usize,
}

impl PackedMap {
    pub(super) fn new(leaf_bytes_max: usize) -> Self {
        assert!(leaf_bytes_max <= LEAF_BYTES_LIMIT, "places in a leaf are 16 bits wide");
        let leaves = BTreeMap::from([(Fence::new(&[]), Leaf::default())]);
        Self { leaves, leaf_bytes_max, entries: 0, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Of keys and values, as given.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (bound, leaf) = self.leaf(key);
        let at = leaf.find(bound, key).ok()?;
        Some(leaf.entry(at).1)
    }

    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) {
        let leaf_bytes_max = self.leaf_bytes_max;
        let (bound, leaf) = self.leaf_mut(key);
        // A leaf's prefix is fixed when it is made; only the very first leaf, which has none, may be met by any key.
        let suffix = key.get(leaf.prefix_bytes..).filter(|_| shared(bound, key) >= leaf.prefix_bytes);
        let Some(suffix) = suffix else {
            let bound = bound.to_vec();
            self.forget_prefix(&bound);
            return self.insert(key, value);
        };
        let found = leaf.find(bound, key);
        let freed = match found {
            Ok(at) => leaf.remove(at),
            Err(_) => 0,
        };
        let (Ok(at) | Err(at)) = found;
        if leaf.starts.is_empty() || leaf.packed.len() + suffix.len() + value.len() + 6 <= leaf_bytes_max {
            leaf.note(at);
            leaf.insert(at, suffix, value);
        } else {
            let in_a_row =
                at == leaf.starts.len() || leaf.in_a_row >= IN_A_ROW_MIN && at == usize::from(leaf.last_at) + 1;
            let bound = bound.to_vec();
            self.split(&bound, at, in_a_row, key, value);
        }
        self.bytes += key.len() + value.len();
        if found.is_ok() {
            self.bytes -= key.len() + freed;
        } else {
            self.entries += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let merge_bytes_max = self.leaf_bytes_max / 4;
        let (bound, leaf) = self.leaf_mut(key);
        let Ok(at) = leaf.find(bound, key) else { return false };
        let freed = leaf.remove(at);
        if leaf.packed.len() <= merge_bytes_max {
            let (emptied, bound) = (leaf.starts.is_empty() && !bound.is_empty(), bound.to_vec());
            if emptied {
                self.leaves.remove(&Probe::new(&bound) as &dyn Place);
            } else {
                self.merge(&bound);
            }
        }
        self.entries -= 1;
        self.bytes -= key.len() + freed;
        true
    }

    pub(super) fn cursor(&self, from: &[u8], to: &[u8], direction: Direction) -> PackedCursor<'_> {
        PackedCursor::new(self, from, to, direction)
    }

    fn leaf(&self, key: &[u8]) -> (&[u8], &Leaf) {
        let (fence, leaf) = self
            .leaves
            .range::<dyn Place, _>((Bound::Unbounded, Bound::Included(&Probe::new(key) as &dyn Place)))
            .next_back()
            .expect("the first leaf's bound is below every key");
        (&fence.bytes, leaf)
    }

    fn leaf_mut(&mut self, key: &[u8]) -> (&[u8], &mut Leaf) {
        let (fence, leaf) = self
            .leaves
            .range_mut::<dyn Place, _>((Bound::Unbounded, Bound::Included(&Probe::new(key) as &dyn Place)))
            .next_back()
            .expect("the first leaf's bound is below every key");
        (&fence.bytes, leaf)
    }

    /// The bound of the first leaf above `bound`.
    fn next_bound(&self, bound: &[u8]) -> Option<&[u8]> {
        let above = (Bound::Excluded(&Probe::new(bound) as &dyn Place), Bound::Unbounded);
        self.leaves.range::<dyn Place, _>(above).next().map(|(fence, _)| &*fence.bytes)
    }

    fn take(&mut self, bound: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let leaf = self.leaves.remove(&Probe::new(bound) as &dyn Place).expect("the caller has just found it");
        leaf.unpack(bound)
    }

    fn forget_prefix(&mut self, bound: &[u8]) {
        let entries = self.take(bound);
        self.leaves.insert(Fence::new(bound), Leaf::pack(0, &entries));
    }

    /// Puts an entry into a full leaf, which becomes several.
    fn split(&mut self, bound: &[u8], at: usize, in_a_row: bool, key: &[u8], value: &[u8]) {
        let mut entries = self.take(bound);
        if in_a_row {
            // What is before the entry stays together and is not expected to grow; what is after it is out of its way. So
            // entries that come in key order, also between others, fill their leaves.
            let after = entries.split_off(at);
            let upper_bound = after.first().map(|(key, _)| key.clone());
            self.pack_above(bound, Some(key), &entries);
            self.pack_above(key, upper_bound.as_deref(), &[(key.to_vec(), value.to_vec())]);
            if let Some(upper_bound) = upper_bound {
                self.pack_above(&upper_bound, None, &after);
            }
            return;
        }
        entries.insert(at, (key.to_vec(), value.to_vec()));
        let total = entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let mut left = 0;
        let middle = entries.iter().position(|(key, value)| {
            left += key.len() + value.len();
            2 * left >= total
        });
        // Neither half may be empty, and a large entry at the end goes alone.
        let middle = middle.map_or(1, |middle| (middle + 1).clamp(1, entries.len() - 1));
        let upper_entries = entries.split_off(middle);
        let upper_bound = upper_entries[0].0.clone();
        self.pack_above(bound, Some(&upper_bound), &entries);
        self.pack_above(&upper_bound, None, &upper_entries);
    }

    /// `next` is the bound of the leaf that will follow; without it, of the one that follows now.
    fn pack_above(&mut self, bound: &[u8], next: Option<&[u8]>, entries: &[(Vec<u8>, Vec<u8>)]) {
        let prefix = next.or_else(|| self.next_bound(bound)).map_or(0, |next| shared(next, bound));
        self.pack_within(bound, prefix, entries);
    }

    /// Packs entries that may still be too much for one leaf (a large one among small ones).
    fn pack_within(&mut self, bound: &[u8], prefix: usize, entries: &[(Vec<u8>, Vec<u8>)]) {
        let bytes = entries.iter().map(|(key, value)| key.len() - prefix + value.len() + 6).sum::<usize>();
        if entries.len() == 1 || bytes <= self.leaf_bytes_max {
            self.leaves.insert(Fence::new(bound), Leaf::pack(prefix, entries));
            return;
        }
        let (left, right) = entries.split_at(entries.len() / 2);
        self.pack_within(bound, prefix, left);
        self.pack_within(&right[0].0, prefix, right);
    }

    /// Joins a leaf that has become small with its upper neighbour when both fit into three quarters of one.
    fn merge(&mut self, bound: &[u8]) {
        let from_here = (Bound::Included(&Probe::new(bound) as &dyn Place), Bound::Unbounded);
        let mut from_here = self.leaves.range::<dyn Place, _>(from_here);
        let (Some((_, leaf)), Some((next_bound, next))) = (from_here.next(), from_here.next()) else { return };
        let next_bound = &*next_bound.bytes;
        let prefix = shared(bound, next_bound).min(leaf.prefix_bytes).min(next.prefix_bytes);
        let grown = leaf.starts.len() * (leaf.prefix_bytes - prefix) + next.starts.len() * (next.prefix_bytes - prefix);
        if leaf.packed.len() + next.packed.len() + grown > self.leaf_bytes_max * 3 / 4 {
            return;
        }
        let next_bound = next_bound.to_vec();
        let mut entries = self.take(bound);
        entries.extend(self.take(&next_bound));
        self.leaves.insert(Fence::new(bound), Leaf::pack(prefix, &entries));
    }
}

fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
