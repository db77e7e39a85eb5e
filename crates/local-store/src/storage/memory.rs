use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::packed::{PackedCursor, PackedMap};
use super::{
    Batch, Cursor, Direction, Failure, Outcome, Shard, ShardId, Storage, Table, Ticket, Usage, Value, View, Wait,
};

/// Everything in memory, gone with the process. Nothing outlives it, so everything counts as synced.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    shards: Mutex<BTreeMap<ShardId, Arc<MemoryShard>>>,
}

struct MemoryShard {
    tables: RwLock<[PackedMap; Table::ALL.len()]>,
}

impl Default for MemoryShard {
    fn default() -> Self {
        // What has bodies is appended to; everything else is small and comes in any order.
        let tables = Table::ALL.map(|table| {
            PackedMap::new(if matches!(table, Table::Versions | Table::History) { 16_384 } else { 2_048 })
        });
        Self { tables: RwLock::new(tables) }
    }
}

impl Storage for MemoryStorage {
    fn shard(&self, id: ShardId) -> Arc<dyn Shard> {
        Arc::clone(self.shards.lock().entry(id).or_default()) as Arc<dyn Shard>
    }

    fn synced(&self, _ticket: Ticket) -> Option<Wait> {
        None
    }

    fn shown(&self) -> Option<Wait> {
        None
    }

    fn congested(&self) -> Option<Wait> {
        None
    }

    fn failed(&self) -> Option<oneshot::Receiver<Failure>> {
        None
    }

    fn usage(&self) -> Usage {
        let shards: Vec<_> = self.shards.lock().values().map(Arc::clone).collect();
        let mut usage = Usage::default();
        for shard in shards {
            let tables = shard.tables.read();
            usage.documents += tables[Table::Documents as usize].len() as u64;
            usage.bytes += tables.iter().map(|table| table.bytes() as u64).sum::<u64>();
        }
        usage
    }

    fn close(&self) -> Outcome<()> {
        Ok(())
    }
}

impl Shard for MemoryShard {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(MemoryView(self.tables.read()))
    }

    fn apply(&self, batch: Batch) -> Outcome<Ticket> {
        let mut tables = self.tables.write();
        for (table, key, value) in batch.changes {
            let table = &mut tables[table as usize];
            match value {
                Some(value) => table.insert(&key, &value),
                None => {
                    table.remove(&key);
                }
            }
        }
        Ok(Ticket(0))
    }
}

struct MemoryView<'a>(RwLockReadGuard<'a, [PackedMap; Table::ALL.len()]>);

impl View for MemoryView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Value<'_>>> {
        Ok(self.0[table as usize].get(key).map(Value::Borrowed))
    }

    fn cursor(&self, table: Table, from: &[u8], to: &[u8], direction: Direction) -> Box<dyn Cursor + '_> {
        Box::new(self.0[table as usize].cursor(from, to, direction))
    }
}

impl Cursor for PackedCursor<'_> {
    fn advance(&mut self) -> Outcome<bool> {
        Ok(PackedCursor::advance(self))
    }

    fn key(&self) -> &[u8] {
        PackedCursor::key(self)
    }

    fn value(&self) -> &[u8] {
        PackedCursor::value(self)
    }
}
