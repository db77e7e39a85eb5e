//! Keys and small values as bytes. Numbers in keys are big-endian, so that bytes sort as numbers do.

use feedmill_store_api::ETag;

use crate::epk::{EffectiveKey, part_of};

/// Operations of one commit fit into this many bits, and the highest number is left for [`Version::aside`].
const OPERATION_BITS: u32 = 7;

const _: () = assert!(feedmill_store_api::limits::BATCH_OPERATIONS_MAX < 1 << OPERATION_BITS);

/// Partitions that a container may have in its life.
const PARTITION_BITS: u32 = 16;

/// Which write made a document what it is: the commit's LSN, the partition that gave it, and the operation within it. No
/// two writes of a container share one; of one key's, the later is the larger, whatever was split or merged in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64);

impl Version {
    pub(crate) fn new(lsn: u64, partition: u16, operation: usize) -> Self {
        Self(lsn << (PARTITION_BITS + OPERATION_BITS) | u64::from(partition) << OPERATION_BITS | operation as u64)
    }

    /// Of what a commit does beside its operations; they are at most a hundred.
    pub(crate) fn aside(lsn: u64, partition: u16) -> Self {
        Self::new(lsn, partition, (1 << OPERATION_BITS) - 1)
    }

    /// Above every version of `lsn` and below every later one's.
    pub(crate) fn after(lsn: u64) -> Self {
        Self::new(lsn + 1, 0, 0)
    }

    pub(crate) fn lsn(self) -> u64 {
        self.0 >> (PARTITION_BITS + OPERATION_BITS)
    }

    pub(crate) fn etag(self) -> ETag {
        ETag::new(format!("\"{:x}\"", self.0))
    }

    /// Shorter than the number itself: partitions are few, so they would only push the LSN up.
    fn write(self, bytes: &mut Vec<u8>) {
        write_number(bytes, self.lsn() << OPERATION_BITS | self.0 & ((1 << OPERATION_BITS) - 1));
        write_number(bytes, self.0 >> OPERATION_BITS & ((1 << PARTITION_BITS) - 1));
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (number, partition) = (read_number(bytes)?, u16::try_from(read_number(bytes)?).ok()?);
        let operation = number & ((1 << OPERATION_BITS) - 1);
        Some(Self::new(number >> OPERATION_BITS, partition, usize::try_from(operation).ok()?))
    }
}

/// The change log and the times of expiry are kept in parts by effective key, each of which belongs to one partition. So
/// reading a part of a partition does not cost all of it, and a split or a merge moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets(pub(crate) u16);

impl Buckets {
    pub(crate) fn of(self, effective_key: &[u8]) -> Bucket {
        Bucket(part_of(effective_key, self.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bucket(pub(crate) u16);

impl Bucket {
    fn key(self, more: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + more);
        bytes.extend(self.0.to_be_bytes());
        bytes
    }
}

pub(crate) fn document(key: &EffectiveKey, id: &str) -> Vec<u8> {
    [&**key, id.as_bytes()].concat()
}

pub(crate) fn version(bucket: Bucket, version: Version) -> Vec<u8> {
    let mut bytes = bucket.key(8);
    bytes.extend(version.0.to_be_bytes());
    bytes
}

/// The version in a key that [`version`] or [`event`] made.
pub(crate) fn version_of(key: &[u8]) -> Option<Version> {
    Some(Version(u64::from_be_bytes(*key.get(2..)?.first_chunk()?)))
}

/// One commit sweeps up more than it has operations to number: those are told apart by what they were before.
pub(crate) fn event(bucket: Bucket, version: Version, previous: Option<Version>) -> Vec<u8> {
    let mut bytes = self::version(bucket, version);
    bytes.extend(previous.map_or(0, |previous| previous.0).to_be_bytes());
    bytes
}

pub(crate) fn index_prefix(key: &[u8], index: u8) -> Vec<u8> {
    [key, &[index]].concat()
}

/// Ties are ordered by when the document was made, as in the service; that never changes, so a page boundary stays put.
pub(crate) fn index(key: &[u8], index: u8, values: &[u8], created: Version) -> Vec<u8> {
    [key, &[index], values, &created.0.to_be_bytes()].concat()
}

pub(crate) fn expiry(bucket: Bucket, at_seconds: i64, version: Version) -> Vec<u8> {
    let mut bytes = bucket.key(16);
    bytes.extend(u64::try_from(at_seconds).unwrap_or(0).to_be_bytes());
    bytes.extend(version.0.to_be_bytes());
    bytes
}

/// All entries of a bucket, in a table where keys begin with one.
pub(crate) fn bucket_bounds(bucket: Bucket) -> ([u8; 2], [u8; 2]) {
    (bucket.0.to_be_bytes(), (bucket.0 + 1).to_be_bytes())
}

pub(crate) fn expiry_of(key: &[u8]) -> Option<i64> {
    i64::try_from(u64::from_be_bytes(key.get(2..)?.first_chunk().copied()?)).ok()
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
        self.version.write(&mut bytes);
        self.created.write(&mut bytes);
        write_number(&mut bytes, expires_number(self.expires_seconds));
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (version, created) = (Version::read(&mut bytes)?, Version::read(&mut bytes)?);
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
        self.created.write(&mut bytes);
        write_number(&mut bytes, u64::try_from(self.timestamp_seconds).unwrap_or(0));
        write_number(&mut bytes, expires_number(self.expires_seconds));
        write_number(&mut bytes, u64::from(self.indexed_values));
        bytes.extend(self.effective_key);
        bytes.extend(self.body);
        bytes
    }

    pub(crate) fn decode(mut bytes: &'a [u8], effective_key_bytes: usize) -> Option<Self> {
        let created = Version::read(&mut bytes)?;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Create,
    Replace,
    Delete,
    /// A deletion because the document's time was over.
    Expire,
}

/// What the history table has for a version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) kind: EventKind,
    pub(crate) timestamp_seconds: i64,
    pub(crate) previous: Option<Version>,
    /// Of what was written, or of what was deleted.
    pub(crate) record: Record<'a>,
}

impl<'a> Event<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![match self.kind {
            EventKind::Create => 0,
            EventKind::Replace => 1,
            EventKind::Delete => 2,
            EventKind::Expire => 3,
        }];
        write_number(&mut bytes, u64::try_from(self.timestamp_seconds).unwrap_or(0));
        self.previous.unwrap_or(Version(0)).write(&mut bytes);
        bytes.extend(self.record.encode());
        bytes
    }

    pub(crate) fn decode(bytes: &'a [u8], effective_key_bytes: usize) -> Option<Self> {
        let (kind, mut bytes) = bytes.split_first()?;
        let kind = match kind {
            0 => EventKind::Create,
            1 => EventKind::Replace,
            2 => EventKind::Delete,
            3 => EventKind::Expire,
            _ => return None,
        };
        let timestamp_seconds = i64::try_from(read_number(&mut bytes)?).ok()?;
        let previous = Some(Version::read(&mut bytes)?).filter(|previous| previous.0 > 0);
        Some(Self { kind, timestamp_seconds, previous, record: Record::decode(bytes, effective_key_bytes)? })
    }
}

/// The newest commit of a partition, written down where no document tells of it: nothing but deletions, or none yet since
/// the partition was made from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lsn: u64,
    pub(crate) timestamp_seconds: i64,
}

impl Head {
    pub(crate) fn key(partition: u16) -> Vec<u8> {
        [&b"head"[..], &partition.to_be_bytes()].concat()
    }

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
        for number in [0, 1, 127, 128, 300, 1 << 40] {
            for expires_seconds in [None, Some(0), Some(1_700_000_000)] {
                let version = Version::new(number, u16::MAX, 99);
                let created = Version::new(number / 2, 3, 0);
                let pointer = Pointer { version, created, expires_seconds };
                assert_eq!(Pointer::decode(&pointer.encode()), Some(pointer));
                assert_eq!((version.lsn(), created.lsn()), (number, number / 2));
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
        let key = |lsn, operation| version(Bucket(3), Version::new(lsn, 7, operation));
        assert!(key(1, 99) < key(2, 0) && key(255, 0) < key(256, 0) && key(2, 0) < key(2, 1));
        assert_eq!(version_of(&key(9, 5)), Some(Version::new(9, 7, 5)));
        assert!(Version::after(9) > Version::new(9, u16::MAX, 127) && Version::after(9) <= Version::new(10, 0, 0));
    }
}
