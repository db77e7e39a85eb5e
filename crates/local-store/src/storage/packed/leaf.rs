use std::cmp::Ordering;

/// A leaf's room is a multiple of this, and at most this or an eighth larger than what it holds: as allocators round sizes.
const ROOM_STEP_BYTES: usize = 256;

/// Entries are `suffix length, value length` (LEB128), suffix, value.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// What all keys begin with. The lower bound begins with it too, so its bytes are kept there.
    pub(super) prefix_bytes: usize,
    /// Where the last entry was put, and how many before it were each put right after the one before.
    pub(super) last_at: u16,
    pub(super) in_a_row: u16,
    /// Where each entry begins. All but the first are below the leaf's bound.
    pub(super) starts: Vec<u16>,
    pub(super) packed: Vec<u8>,
}

impl Leaf {
    pub(super) fn pack(prefix_bytes: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut leaf = Self { prefix_bytes, starts: Vec::with_capacity(entries.len()), ..Self::default() };
        for (at, (key, value)) in entries.iter().enumerate() {
            leaf.insert(at, &key[prefix_bytes..], value);
        }
        leaf
    }

    pub(super) fn unpack(&self, bound: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefix = &bound[..self.prefix_bytes];
        let whole = |(suffix, value): (&[u8], &[u8])| ([prefix, suffix].concat(), value.to_vec());
        (0..self.starts.len()).map(|at| whole(self.entry(at))).collect()
    }

    /// Suffix and value.
    pub(super) fn entry(&self, at: usize) -> (&[u8], &[u8]) {
        let rest = &self.packed[usize::from(self.starts[at])..];
        let (suffix_bytes, rest) = read_length(rest);
        let (value_bytes, rest) = read_length(rest);
        let (suffix, rest) = rest.split_at(suffix_bytes);
        (suffix, &rest[..value_bytes])
    }

    pub(super) fn find(&self, bound: &[u8], key: &[u8]) -> Result<usize, usize> {
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

    pub(super) fn insert(&mut self, at: usize, suffix: &[u8], value: &[u8]) {
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
    pub(super) fn note(&mut self, at: usize) {
        let follows = at == usize::from(self.last_at) + 1;
        self.in_a_row = if follows { self.in_a_row.saturating_add(1) } else { 0 };
        self.last_at = u16::try_from(at).unwrap_or(u16::MAX);
    }

    /// Gives the length of the value that was there.
    pub(super) fn remove(&mut self, at: usize) -> usize {
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
    pub(super) fn shrink(&mut self) {
        if self.packed.capacity() > self.packed.len() + self.packed.len() / 4 + 2 * ROOM_STEP_BYTES {
            self.packed.shrink_to(self.packed.len().next_multiple_of(ROOM_STEP_BYTES));
            self.starts.shrink_to_fit();
        }
    }
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
