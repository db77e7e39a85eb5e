//! Storage that counts what is asked of it, so that tests can say what something costs without a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::channel::oneshot;

use super::{
    Batch, Cursor, Direction, Failure, MemoryStorage, Outcome, Shard, ShardId, Storage, Table, Ticket, Usage, Value,
    View, Wait,
};

/// Entries read, by look-up or by cursor.
#[derive(Clone, Default)]
pub(crate) struct Reads(Arc<AtomicUsize>);

impl Reads {
    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct CountingStorage {
    inner: MemoryStorage,
    pub(crate) reads: Reads,
}

impl Storage for CountingStorage {
    fn shard(&self, id: ShardId) -> Arc<dyn Shard> {
        Arc::new(CountingShard { inner: self.inner.shard(id), reads: self.reads.clone() })
    }

    fn synced(&self, ticket: Ticket) -> Option<Wait> {
        self.inner.synced(ticket)
    }

    fn shown(&self) -> Option<Wait> {
        self.inner.shown()
    }

    fn congested(&self) -> Option<Wait> {
        self.inner.congested()
    }

    fn failed(&self) -> Option<oneshot::Receiver<Failure>> {
        self.inner.failed()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn close(&self) -> Outcome<()> {
        self.inner.close()
    }
}

struct CountingShard {
    inner: Arc<dyn Shard>,
    reads: Reads,
}

impl Shard for CountingShard {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(CountingView { inner: self.inner.view(), reads: &self.reads })
    }

    fn apply(&self, batch: Batch) -> Outcome<Ticket> {
        let mut keys: Vec<_> = batch.changes.iter().map(|(table, key, _)| (*table, key)).collect();
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a batch names a key once: {keys:?}");
        self.inner.apply(batch)
    }
}

struct CountingView<'a> {
    inner: Box<dyn View + 'a>,
    reads: &'a Reads,
}

impl View for CountingView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Value<'_>>> {
        self.reads.note();
        self.inner.get(table, key)
    }

    fn cursor(&self, table: Table, from: &[u8], to: &[u8], direction: Direction) -> Box<dyn Cursor + '_> {
        Box::new(CountingCursor { inner: self.inner.cursor(table, from, to, direction), reads: self.reads })
    }
}

struct CountingCursor<'a> {
    inner: Box<dyn Cursor + 'a>,
    reads: &'a Reads,
}

impl Cursor for CountingCursor<'_> {
    fn advance(&mut self) -> Outcome<bool> {
        self.reads.note();
        self.inner.advance()
    }

    fn key(&self) -> &[u8] {
        self.inner.key()
    }

    fn value(&self) -> &[u8] {
        self.inner.value()
    }
}
