use std::fmt;
use std::ops::Deref;

use feedmill_store_api::{FeedRange, KeyPart, PartitionKey};

/// Bytes of one component's hash.
pub(crate) const HASH_BYTES: usize = 16;

/// Components of a hierarchical key, as the service allows.
pub(crate) const PARTS_MAX: usize = 3;

/// The two highest bits of a hash are cleared, so the key space ends here.
const SPACE_MAX: u128 = u128::MAX >> 2;

/// Where a partition key lies in the key space: version 2 of the service's hash, one hash for each component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EffectiveKey {
    bytes: [u8; HASH_BYTES * PARTS_MAX],
    parts: u8,
}

impl EffectiveKey {
    /// Of a key with at most [`PARTS_MAX`] parts.
    pub(crate) fn of(key: &PartitionKey) -> Self {
        debug_assert!(key.parts().len() <= PARTS_MAX, "containers have at most three key paths");
        let mut effective = Self { bytes: [0; HASH_BYTES * PARTS_MAX], parts: 0 };
        let mut encoded = Vec::with_capacity(64);
        for (part, bytes) in key.parts().iter().zip(effective.bytes.chunks_mut(HASH_BYTES)) {
            encoded.clear();
            encode(part, &mut encoded);
            bytes.copy_from_slice(&(murmur3_x64_128(&encoded) & SPACE_MAX).to_be_bytes());
            effective.parts += 1;
        }
        effective
    }
}

impl Deref for EffectiveKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.parts) * HASH_BYTES]
    }
}

/// Upper-case hex, as feed ranges are written.
impl fmt::Display for EffectiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for EffectiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Where `index` of `count` equal parts of the key space begins, as feed ranges are written; `""` and `FF` are the bounds of
/// the whole.
pub(crate) fn boundary(index: u32, count: u32) -> String {
    match index {
        0 => String::new(),
        _ if index >= count => "FF".to_owned(),
        _ => {
            // One below the part's share: the service cuts in two at 1FFF…, not at 2000….
            let (index, count) = (u128::from(index), u128::from(count));
            let (quotient, remainder) = ((SPACE_MAX + 1) / count, (SPACE_MAX + 1) % count);
            format!("{:032X}", quotient * index + (remainder * index).div_ceil(count) - 1)
        }
    }
}

/// In which of `count` equal parts a key or a bound lies: the last one that does not begin above it.
pub(crate) fn part_of(bytes: &[u8], count: u16) -> u16 {
    part_of_hash(hash_of(bytes), count)
}

/// The last of `count` equal parts that has keys below this bound.
pub(crate) fn last_part_below(bound: &[u8], count: u16) -> u16 {
    part_of_hash(hash_of(bound).saturating_sub(1), count)
}

fn hash_of(bytes: &[u8]) -> u128 {
    let mut hash = [0; HASH_BYTES];
    for (to, from) in hash.iter_mut().zip(bytes) {
        *to = *from;
    }
    u128::from_be_bytes(hash)
}

fn part_of_hash(hash: u128, count: u16) -> u16 {
    // Twelve bits more than there are: the product is taken in two halves.
    let (share, count_wide) = (hash.min(SPACE_MAX) + 1, u128::from(count));
    let (high, low) = (share >> 64, share & u128::from(u64::MAX));
    let part = (high * count_wide + ((low * count_wide) >> 64)) >> 62;
    u16::try_from(part).unwrap_or(u16::MAX).min(count - 1)
}

/// The part of the key space that has this key and nothing else.
pub fn key_range(key: &PartitionKey) -> FeedRange {
    let min = EffectiveKey::of(key).to_string();
    let max = format!("{min}00");
    FeedRange::new(min, max).expect("hex of any length is below itself with something after it")
}

/// A bound of a feed range as bytes that compare with effective keys as the hex does.
pub(crate) fn bound_bytes(hex: &str) -> Vec<u8> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    let pair = |pair: &[u8]| nibble(pair[0]) << 4 | pair.get(1).map_or(0, |&low| nibble(low));
    hex.as_bytes().chunks(2).map(pair).collect()
}

/// One component as the service hashes it: a type byte, then the value; strings end with 0xFF.
fn encode(part: &KeyPart, encoded: &mut Vec<u8>) {
    match part {
        KeyPart::Undefined => encoded.push(0x00),
        KeyPart::Null => encoded.push(0x01),
        KeyPart::Bool(false) => encoded.push(0x02),
        KeyPart::Bool(true) => encoded.push(0x03),
        KeyPart::Number(number) => {
            encoded.push(0x05);
            encoded.extend(number.to_le_bytes());
        }
        KeyPart::String(text) => {
            encoded.push(0x08);
            encoded.extend(text.as_bytes());
            encoded.push(0xFF);
        }
    }
}

/// MurmurHash3, x64, 128 bits, seed 0: the second half of the result is the higher one.
fn murmur3_x64_128(bytes: &[u8]) -> u128 {
    const C1: u64 = 0x87C3_7B91_1142_53D5;
    const C2: u64 = 0x4CF5_AD43_2745_937F;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word: u64, &byte| word << 8 | u64::from(byte));
    let mix1 = |word: u64| word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |word: u64| word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let finish = |mut hash: u64| {
        hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ hash >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^ hash >> 33
    };

    let (mut h1, mut h2) = (0_u64, 0_u64);
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52DC_E729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5AB5);
    }
    if tail.len() > 8 {
        h2 ^= mix2(word(&tail[8..]));
    }
    h1 ^= mix1(word(&tail[..tail.len().min(8)]));
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    // The service writes the two little-endian words out and reverses all sixteen bytes.
    u128::from(h2) << 64 | u128::from(h1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_to_what_the_service_says() {
        let check = |part: KeyPart, expected: &str| {
            let key = PartitionKey::from_parts(vec![part.clone()]);
            assert_eq!(EffectiveKey::of(&key).to_string(), expected, "{part:?}");
        };
        check(KeyPart::String("p1".into()), "062B23DEC15212F01B9A85F4E93A940C");
        check(KeyPart::String(String::new()), "32E9366E637A71B4E710384B2F4970A0");
        check(KeyPart::String("partitionKey".into()), "013AEFCF77FA271571CF665A58C933F1");
        check(KeyPart::Null, "378867E4430E67857ACE5C908374FE16");
        check(KeyPart::Undefined, "11622DAA78F835834610ABE56EFF5CB5");
        check(KeyPart::Bool(true), "0E711127C5B5A8E4726AC6DD306A3E59");
        check(KeyPart::Bool(false), "2FE1BE91E90A3439635E0E9E37361EF2");
        check(KeyPart::Number(127.0), "0C507ACAC853ECA7977BF4CEFB562A25");
    }

    #[test]
    fn each_part_of_a_hierarchical_key_has_its_own_hash() {
        let whole = EffectiveKey::of(&PartitionKey::from_parts(vec![KeyPart::Null, KeyPart::Bool(true)]));
        assert_eq!(whole.to_string(), "378867E4430E67857ACE5C908374FE160E711127C5B5A8E4726AC6DD306A3E59");
    }

    #[test]
    fn two_partitions_are_cut_where_the_service_cuts_them() {
        assert_eq!([0, 1, 2].map(|index| boundary(index, 2)), ["", "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "FF"]);
        let three = [1, 2].map(|index| boundary(index, 3));
        assert_eq!(three, ["15555555555555555555555555555555", "2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    }

    #[test]
    fn a_part_has_the_keys_from_its_boundary_on() {
        for count in [1, 2, 3, 5, 7, 16, 24, 1_000, 7_680] {
            for index in [0, 1, 2, count / 3, count / 2, count - 1].into_iter().filter(|&index| index < count) {
                let lower = hash_of(&bound_bytes(&boundary(u32::from(index), u32::from(count))));
                assert_eq!(part_of_hash(lower, count), index, "the first key of {index} of {count}");
                assert_eq!(part_of_hash(lower.saturating_sub(1), count), index.saturating_sub(1), "and the one before");
            }
            assert_eq!(last_part_below(&bound_bytes("FF"), count), count - 1);
        }
    }

    #[test]
    fn bounds_in_bytes_compare_with_keys_as_hex_does() {
        let key = EffectiveKey::of(&PartitionKey::from("p1"));
        let hex = key.to_string();
        for bound in
            ["", "0", "06", "062", "062B23DEC15212F01B9A85F4E93A940C", "062B23DEC15212F01B9A85F4E93A940C0", "FF"]
        {
            assert_eq!(key.cmp_bytes(bound), hex.as_str().cmp(bound), "{bound}");
        }
    }

    impl EffectiveKey {
        fn cmp_bytes(&self, bound: &str) -> std::cmp::Ordering {
            (**self).cmp(bound_bytes(bound).as_slice())
        }
    }
}
