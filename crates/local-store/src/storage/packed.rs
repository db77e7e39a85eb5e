use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::Direction;

/// A leaf's room is a multiple of this, and at most this or an eighth larger than what it holds: as allocators round sizes.
const ROOM_STEP_BYTES: usize = 256;

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

/// The first key that a leaf may hold, with what most comparisons need at hand: following a pointer for each would cost more
/// than all else that a look-up does.
#[derive(Clone, Debug)]
struct Fence {
    head: u128,
    bytes: Box<[u8]>,
}

impl Fence {
    fn new(bytes: &[u8]) -> Self {
        Self { head: head(bytes), bytes: bytes.into() }
    }
}

/// The first sixteen bytes as a number that compares like them.
fn head(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    let known = bytes.len().min(16);
    head[..known].copy_from_slice(&bytes[..known]);
    u128::from_be_bytes(head)
}

/// What fences and the keys looked for among them have in common.
trait Place {
    fn head(&self) -> u128;
    fn bytes(&self) -> &[u8];
}

impl Place for Fence {
    fn head(&self) -> u128 {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

struct Probe<'a>(u128, &'a [u8]);

impl<'a> Probe<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(head(bytes), bytes)
    }
}

impl Place for Probe<'_> {
    fn head(&self) -> u128 {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        self.1
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Fence {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn Place).cmp(other as &dyn Place)
    }
}

impl PartialOrd for Fence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fence {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Fence {}

impl<'a> Borrow<dyn Place + 'a> for Fence {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

/// Entries are `suffix length, value length` (LEB128), suffix, value.
#[derive(Debug, Default)]
struct Leaf {
    /// What all keys begin with. The lower bound begins with it too, so its bytes are kept there.
    prefix_bytes: usize,
    /// Where the last entry was put, and how many before it were each put right after the one before.
    last_at: u16,
    in_a_row: u16,
    /// Where each entry begins. All but the first are below the leaf's bound.
    starts: Vec<u16>,
    packed: Vec<u8>,
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

impl Leaf {
    fn pack(prefix_bytes: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut leaf = Self { prefix_bytes, starts: Vec::with_capacity(entries.len()), ..Self::default() };
        for (at, (key, value)) in entries.iter().enumerate() {
            leaf.insert(at, &key[prefix_bytes..], value);
        }
        leaf
    }

    fn unpack(&self, bound: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefix = &bound[..self.prefix_bytes];
        let whole = |(suffix, value): (&[u8], &[u8])| ([prefix, suffix].concat(), value.to_vec());
        (0..self.starts.len()).map(|at| whole(self.entry(at))).collect()
    }

    /// Suffix and value.
    fn entry(&self, at: usize) -> (&[u8], &[u8]) {
        let rest = &self.packed[usize::from(self.starts[at])..];
        let (suffix_bytes, rest) = read_length(rest);
        let (value_bytes, rest) = read_length(rest);
        let (suffix, rest) = rest.split_at(suffix_bytes);
        (suffix, &rest[..value_bytes])
    }

    fn find(&self, bound: &[u8], key: &[u8]) -> Result<usize, usize> {
        let prefix = &bound[..self.prefix_bytes];
        let Some(suffix) = key.strip_prefix(prefix) else {
            return Err(if key < prefix { 0 } else { self.starts.len() });
        };
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.entry(middle).0.cmp(suffix) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn insert(&mut self, at: usize, suffix: &[u8], value: &[u8]) {
        let start = self.starts.get(at).map_or(self.packed.len(), |&start| usize::from(start));
        let mut lengths = [0; 20];
        let mut length_bytes = write_length(&mut lengths, 0, suffix.len());
        length_bytes = write_length(&mut lengths, length_bytes, value.len());
        let added = length_bytes + suffix.len() + value.len();
        let old_end = self.packed.len();
        if self.packed.capacity() < old_end + added {
            let room = (old_end + added).max(old_end + old_end / 8).next_multiple_of(ROOM_STEP_BYTES);
            self.packed.reserve_exact(room - old_end);
        }
        self.packed.resize(old_end + added, 0);
        self.packed.copy_within(start..old_end, start + added);
        self.packed[start..start + length_bytes].copy_from_slice(&lengths[..length_bytes]);
        self.packed[start + length_bytes..start + length_bytes + suffix.len()].copy_from_slice(suffix);
        self.packed[start + added - value.len()..start + added].copy_from_slice(value);
        let start = u16::try_from(start).expect("only an entry of its own passes the leaf's bound, and it starts at 0");
        self.starts.insert(at, start);
        for later in &mut self.starts[at + 1..] {
            *later += u16::try_from(added).expect("an entry before others is within the leaf's bound");
        }
    }

    /// Follows whether entries come in key order.
    fn note(&mut self, at: usize) {
        let follows = at == usize::from(self.last_at) + 1;
        self.in_a_row = if follows { self.in_a_row.saturating_add(1) } else { 0 };
        self.last_at = u16::try_from(at).unwrap_or(u16::MAX);
    }

    /// Gives the length of the value that was there.
    fn remove(&mut self, at: usize) -> usize {
        let start = usize::from(self.starts.remove(at));
        let end = self.starts.get(at).map_or(self.packed.len(), |&start| usize::from(start));
        let (suffix_bytes, rest) = read_length(&self.packed[start..]);
        let (value_bytes, _) = read_length(rest);
        debug_assert!(suffix_bytes + value_bytes < end - start, "an entry has lengths before it");
        self.packed.drain(start..end);
        let removed = end - start;
        for later in &mut self.starts[at..] {
            *later -= u16::try_from(removed).expect("an entry before others is within the leaf's bound");
        }
        self.shrink();
        value_bytes
    }

    /// Gives back room once it is worth the copying.
    fn shrink(&mut self) {
        if self.packed.capacity() > self.packed.len() + self.packed.len() / 4 + 2 * ROOM_STEP_BYTES {
            self.packed.shrink_to(self.packed.len().next_multiple_of(ROOM_STEP_BYTES));
            self.starts.shrink_to_fit();
        }
    }
}

pub(super) struct PackedCursor<'a> {
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
    fn new(map: &'a PackedMap, from: &[u8], to: &[u8], direction: Direction) -> Self {
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

    pub(super) fn advance(&mut self) -> bool {
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

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn value(&self) -> &'a [u8] {
        self.value
    }
}

fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
    let mut length = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return (length, &bytes[at + 1..]);
        }
    }
    unreachable!("a length ends with a byte below 0x80")
}

fn write_length(bytes: &mut [u8], mut at: usize, mut length: usize) -> usize {
    while length >= 0x80 {
        bytes[at] = (length & 0x7F) as u8 | 0x80;
        length >>= 7;
        at += 1;
    }
    bytes[at] = length as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Vec<u8>, usize),
        Remove(Vec<u8>),
        Range(Vec<u8>, Vec<u8>),
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few distinct bytes and shared beginnings, so that prefixes, splits and replacements all happen.
        (prop::collection::vec(0_u8..3, 0..3), 0_u16..400)
            .prop_map(|(prefix, number)| [prefix.as_slice(), b"common/", &number.to_be_bytes()].concat())
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let value_bytes = prop_oneof![8 => 0_usize..60, 2 => 60_usize..900, 1 => 3_000_usize..9_000];
        let step = prop_oneof![
            6 => (key(), value_bytes).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
            4 => key().prop_map(Step::Remove),
            1 => (key(), key()).prop_map(|(from, to)| Step::Range(from, to)),
        ];
        prop::collection::vec(step, 1..600)
    }

    fn collect(map: &PackedMap, from: &[u8], to: &[u8], direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut cursor = map.cursor(from, to, direction);
        let mut entries = Vec::new();
        while cursor.advance() {
            entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
        }
        entries
    }

    fn check_range(map: &PackedMap, model: &BTreeMap<Vec<u8>, Vec<u8>>, from: &[u8], to: &[u8]) {
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| from <= key.as_slice() && key.as_slice() < to)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(collect(map, from, to, Direction::Forward), expected);
        expected.reverse();
        assert_eq!(collect(map, from, to, Direction::Backward), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn it_is_an_ordered_map(steps in steps()) {
            let (mut map, mut model) = (PackedMap::new(2_048), BTreeMap::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(key, bytes) => {
                        let value = vec![number as u8; bytes];
                        map.insert(&key, &value);
                        model.insert(key, value);
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key).is_some()),
                    Step::Range(from, to) => check_range(&map, &model, &from, &to),
                }
            }
            for (key, value) in &model {
                prop_assert_eq!(map.get(key), Some(value.as_slice()));
            }
            check_range(&map, &model, &[], &[0xFF]);
            prop_assert_eq!(map.len(), model.len());
            let bytes = model.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            prop_assert_eq!(map.bytes(), bytes);
        }
    }

    #[test]
    fn entries_cost_little_more_than_their_bytes() {
        let mut map = PackedMap::new(2_048);
        // Keys as of documents: a hash, then an id that begins alike for all of one key. Every seventh comes later.
        for number in (0..60_000_u64).filter(|number| number % 7 != 0).chain((0..60_000).step_by(7)) {
            let hash = (number / 200).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            map.insert(
                &[&hash, &hash, format!("person-{}:post-{number:06}", number / 200).as_bytes()].concat(),
                &[7; 10],
            );
        }
        let allocated: usize = map
            .leaves
            .iter()
            .map(|(fence, leaf)| 96 + fence.bytes.len() + leaf.packed.capacity() + 2 * leaf.starts.capacity())
            .sum();
        assert!(allocated < map.bytes(), "{} bytes for {} of keys and values", allocated, map.bytes());
    }
}
