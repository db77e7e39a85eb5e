//! Keys and small values as bytes. Numbers in keys are big-endian, so that bytes sort as numbers do.

use crate::epk::EffectiveKey;

/// Operations of one commit fit into this many bits.
const OPERATION_BITS: u32 = 7;

const _: () = assert!(feedmill_store_api::limits::BATCH_OPERATIONS_MAX <= 1 << OPERATION_BITS);

/// The change log is kept in this many parts by effective key, so that reading a sixteenth of a partition does not cost a
/// whole one, while reading all of it needs no more than sixteen places at once.
pub(crate) const BUCKETS: u8 = 16;

/// Which write made a document what it is: the commit's LSN and the operation within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64);

impl Version {
    pub(crate) fn new(lsn: u64, operation: usize) -> Self {
        Self(lsn << OPERATION_BITS | operation as u64)
    }

    /// Above every version of `lsn` and below every later one's.
    pub(crate) fn after(lsn: u64) -> Self {
        Self((lsn + 1) << OPERATION_BITS)
    }

    pub(crate) fn lsn(self) -> u64 {
        self.0 >> OPERATION_BITS
    }
}

/// Which part of the change log a key belongs to.
pub(crate) fn bucket(effective_key: &[u8]) -> u8 {
    // The two highest bits are always 0.
    effective_key.first().map_or(0, |&byte| (byte >> 2).min(BUCKETS - 1))
}

pub(crate) fn document(key: &EffectiveKey, id: &str) -> Vec<u8> {
    [&**key, id.as_bytes()].concat()
}

pub(crate) fn version(bucket: u8, version: Version) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9);
    bytes.push(bucket);
    bytes.extend(version.0.to_be_bytes());
    bytes
}

/// The version in a key that [`version`] made.
pub(crate) fn version_of(key: &[u8]) -> Option<Version> {
    let (_, version) = key.split_first()?;
    Some(Version(u64::from_be_bytes(version.try_into().ok()?)))
}

pub(crate) fn index_prefix(key: &[u8], index: u8) -> Vec<u8> {
    [key, &[index]].concat()
}

/// Ties are ordered by when the document was made, as in the service; that never changes, so a page boundary stays put.
pub(crate) fn index(key: &[u8], index: u8, values: &[u8], created: Version) -> Vec<u8> {
    [key, &[index], values, &created.0.to_be_bytes()].concat()
}

pub(crate) fn expiry(at_seconds: i64, version: Version) -> Vec<u8> {
    [expiry_bound(at_seconds), version.0.to_be_bytes()].concat()
}

/// Below all that expires at this second or later.
pub(crate) fn expiry_bound(at_seconds: i64) -> [u8; 8] {
    u64::try_from(at_seconds).unwrap_or(0).to_be_bytes()
}

pub(crate) fn expiry_of(key: &[u8]) -> Option<i64> {
    i64::try_from(u64::from_be_bytes(key.first_chunk().copied()?)).ok()
}

/// What the document table has for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) version: Version,
    /// The version that the document began with; names it for as long as it lives.
    pub(crate) created: Version,
    pub(crate) expires_seconds: Option<i64>,
}

impl Pointer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12);
        write_number(&mut bytes, self.version.0);
        write_number(&mut bytes, self.created.0);
        write_number(&mut bytes, expires_number(self.expires_seconds));
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let version = Version(read_number(&mut bytes)?);
        let created = Version(read_number(&mut bytes)?);
        Some(Self { version, created, expires_seconds: expires_seconds(read_number(&mut bytes)?) })
    }

    pub(crate) fn is_live(self, now_seconds: i64) -> bool {
        self.expires_seconds.is_none_or(|expires| now_seconds < expires)
    }
}

/// What the version table has for a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) created: Version,
    pub(crate) timestamp_seconds: i64,
    pub(crate) expires_seconds: Option<i64>,
    pub(crate) indexed_values: u32,
    pub(crate) effective_key: &'a [u8],
    /// JSON text of an object without the store's own fields.
    pub(crate) body: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.effective_key.len() + self.body.len());
        write_number(&mut bytes, self.created.0);
        write_number(&mut bytes, u64::try_from(self.timestamp_seconds).unwrap_or(0));
        write_number(&mut bytes, expires_number(self.expires_seconds));
        write_number(&mut bytes, u64::from(self.indexed_values));
        bytes.extend(self.effective_key);
        bytes.extend(self.body);
        bytes
    }

    pub(crate) fn decode(mut bytes: &'a [u8], effective_key_bytes: usize) -> Option<Self> {
        let created = Version(read_number(&mut bytes)?);
        let timestamp_seconds = i64::try_from(read_number(&mut bytes)?).ok()?;
        let expires_seconds = expires_seconds(read_number(&mut bytes)?);
        let indexed_values = u32::try_from(read_number(&mut bytes)?).ok()?;
        let (effective_key, body) = bytes.split_at_checked(effective_key_bytes)?;
        Some(Self { created, timestamp_seconds, expires_seconds, indexed_values, effective_key, body })
    }

    pub(crate) fn is_live(&self, now_seconds: i64) -> bool {
        self.expires_seconds.is_none_or(|expires| now_seconds < expires)
    }
}

/// The newest commit, written down where no document tells of it: nothing but deletions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lsn: u64,
    pub(crate) timestamp_seconds: i64,
}

impl Head {
    pub(crate) const KEY: &'static [u8] = b"head";

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_number(&mut bytes, self.lsn);
        write_number(&mut bytes, u64::try_from(self.timestamp_seconds).unwrap_or(0));
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let lsn = read_number(&mut bytes)?;
        Some(Self { lsn, timestamp_seconds: i64::try_from(read_number(&mut bytes)?).ok()? })
    }
}

fn expires_number(expires_seconds: Option<i64>) -> u64 {
    expires_seconds.map_or(0, |at| u64::try_from(at).unwrap_or(0).saturating_add(1))
}

fn expires_seconds(number: u64) -> Option<i64> {
    number.checked_sub(1).and_then(|at| i64::try_from(at).ok())
}

/// LEB128: seven bits a byte, low ones first.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_come_back_as_they_went_in() {
        for number in [0, 1, 127, 128, 300, 1 << 40, u64::MAX >> 1] {
            for expires_seconds in [None, Some(0), Some(1_700_000_000)] {
                let pointer = Pointer { version: Version(number), created: Version(number / 2), expires_seconds };
                assert_eq!(Pointer::decode(&pointer.encode()), Some(pointer));
            }
            let head = Head { lsn: number, timestamp_seconds: 7 };
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        for bytes in [&b""[..], &[0x80; 12], &[1, 2, 3, 4]] {
            assert!(Record::decode(bytes, 16).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn keys_of_the_log_sort_by_lsn_then_operation() {
        let key = |lsn, operation| version(3, Version::new(lsn, operation));
        assert!(key(1, 99) < key(2, 0) && key(255, 0) < key(256, 0) && key(2, 0) < key(2, 1));
        assert_eq!(version_of(&key(9, 5)), Some(Version::new(9, 5)));
        assert!(Version::after(9) > Version::new(9, 127) && Version::after(9) <= Version::new(10, 0));
    }
}
