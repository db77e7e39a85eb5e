//! Ordered keys and atomic batches: all that the rest of the store knows of where its bytes are.
//!
//! A *shard* holds one container, so that a commit touches exactly one and keys need not repeat where they belong. What `apply` has taken is visible at once and survives a power cut once its [`Ticket`] is synced; a
//! storage may forget any suffix of what it has taken before that, never anything in the middle.

#[cfg(test)]
mod counting;
mod disk;
mod memory;
mod packed;
#[cfg(feature = "simulated-disk")]
mod simulated;
mod syncer;

use std::ops::Deref;
use std::sync::Arc;

use futures::channel::oneshot;

#[cfg(test)]
pub(crate) use counting::{CountingStorage, Reads};
pub(crate) use disk::{DiskStorage, Opening};
pub(crate) use memory::MemoryStorage;
#[cfg(feature = "simulated-disk")]
pub use simulated::SimulatedDisk;

/// Which container; the catalog of databases and containers has one to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardId(pub(crate) u32);

impl ShardId {
    pub(crate) const CATALOG: Self = Self(0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Effective key and id → which version is current.
    Documents,
    /// Bucket and version → document. In version order, so it is the change log too.
    Versions,
    /// Composite index entries → version.
    Index,
    /// Bucket, time of expiry and version → document key.
    Expiry,
    /// What there is only one of in a shard.
    State,
    /// Bucket, version and the version before → what happened, where a container keeps that for a time.
    History,
}

impl Table {
    pub(crate) const ALL: [Self; 6] =
        [Self::Documents, Self::Versions, Self::Index, Self::Expiry, Self::State, Self::History];
}

/// Changes that take effect together. No key of a table may appear twice.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((table, key, Some(value)));
    }

    pub(crate) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push((table, key, None));
    }
}

/// A place in the order of everything ever applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Why the storage cannot go on. The text says what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) Arc<str>);

pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

/// Resolves to what became of the sync; a sender dropped without a word means that the storage is closing.
pub(crate) type Wait = oneshot::Receiver<Outcome<()>>;

pub(crate) trait Storage: Send + Sync {
    fn shard(&self, id: ShardId) -> Arc<dyn Shard>;

    /// `None` when everything up to `ticket` is safe already.
    fn synced(&self, ticket: Ticket) -> Option<Wait>;

    /// For whoever has looked at something: `None` when everything that was visible until now is safe already.
    fn shown(&self) -> Option<Wait>;

    /// `Some` while too much is waiting to be written out: new work should wait until it resolves.
    fn congested(&self) -> Option<Wait>;

    /// Resolves when the storage has failed, for good; `None` where it cannot.
    fn failed(&self) -> Option<oneshot::Receiver<Failure>>;

    fn usage(&self) -> Usage;

    /// Writes out what is left and lets go of the directory. Blocks.
    fn close(&self) -> Outcome<()>;
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

pub(crate) trait Shard: Send + Sync {
    /// The shard as it is now and stays for as long as the view is held: not for longer than a page takes.
    fn view(&self) -> Box<dyn View + '_>;

    /// Must not be called while a view of the same shard is held by the same thread.
    fn apply(&self, batch: Batch) -> Outcome<Ticket>;
}

pub(crate) trait View {
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Value<'_>>>;

    /// Over the keys in `[from, to)`; stands before the first of them in its direction.
    fn cursor(&self, table: Table, from: &[u8], to: &[u8], direction: Direction) -> Box<dyn Cursor + '_>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

pub(crate) trait Cursor {
    /// To the next entry; `false` when there is none.
    fn advance(&mut self) -> Outcome<bool>;

    /// Of the entry that the last `advance` found.
    fn key(&self) -> &[u8];
    fn value(&self) -> &[u8];
}

pub(crate) enum Value<'a> {
    Borrowed(&'a [u8]),
    Stored(fjall::Slice),
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Stored(slice) => slice,
        }
    }
}

/// Smallest key above all that begin with `prefix`; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}
