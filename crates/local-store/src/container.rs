use std::sync::Arc;

use feedmill_clock::Clock;
use feedmill_store_api::{Error, PartitionKey};
use parking_lot::RwLock;

use crate::charge::ChargeOptions;
use crate::epk::EffectiveKey;
use crate::error::unavailable;
use crate::history::Retention;
use crate::keys::Buckets;
use crate::layout::{self, Layout};
use crate::options::Options;
use crate::partition::{Partition, Place};
use crate::rid;
use crate::scan::PlanCache;
use crate::schema::Schema;
use crate::storage::{Failure, Shard, ShardId, Storage, Ticket, Wait};

/// One container: what it is, where it lies, and what everything else here needs to work on it.
pub(crate) struct Core {
    pub(crate) database_id: u32,
    pub(crate) id: u32,
    pub(crate) rid: String,
    pub(crate) database_rid: String,
    pub(crate) schema: Schema,
    pub(crate) shard: Arc<dyn Shard>,
    pub(crate) buckets: Buckets,
    /// Held for writing by whoever splits, merges or begins to keep history, never across a wait.
    pub(crate) layout: RwLock<Arc<Layout>>,
    pub(crate) history: Retention,
    pub(crate) plans: PlanCache,
    pub(crate) options: Arc<Options>,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
}

impl Core {
    pub(crate) fn open(
        (database_id, id): (u32, u32),
        schema: Schema,
        storage: &Arc<dyn Storage>,
        options: &Arc<Options>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let shard = storage.shard(ShardId(id));
        let place = Place { name: &schema.spec.name, effective_key_bytes: schema.effective_key_bytes() };
        let (layout, history) = {
            let view = shard.view();
            (Layout::open(&*view, &schema.spec, place)?, Retention::open(&*view)?)
        };
        Ok(Self {
            history,
            shard,
            buckets: layout::buckets(&schema.spec),
            layout: RwLock::new(Arc::new(layout)),
            database_id,
            id,
            rid: rid::container(database_id, id),
            database_rid: rid::database(database_id),
            schema,
            plans: PlanCache::default(),
            options: Arc::clone(options),
            storage: Arc::clone(storage),
            clock: Arc::clone(clock),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.schema.spec.name
    }

    pub(crate) fn charge(&self) -> &ChargeOptions {
        &self.options.charge
    }

    pub(crate) fn now_seconds(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// Of a key that fits the container.
    pub(crate) fn effective_key(&self, key: &PartitionKey) -> Result<EffectiveKey, Error> {
        self.schema.check_key(key)?;
        Ok(EffectiveKey::of(key))
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read())
    }

    /// Where a key's documents are at this moment.
    pub(crate) fn partition(&self, key: &EffectiveKey) -> Arc<Partition> {
        Arc::clone(self.layout.read().of_key(key))
    }

    /// Waits until there is room for more.
    pub(crate) async fn room(&self) -> Result<(), Error> {
        match self.storage.congested() {
            Some(wait) => finish(wait).await.map_err(|failure| unavailable(&failure)),
            None => Ok(()),
        }
    }

    /// Waits until the commit survives a power cut.
    pub(crate) async fn synced(&self, ticket: Ticket) -> Result<(), Error> {
        match self.storage.synced(ticket) {
            Some(wait) => finish(wait).await.map_err(|failure| unavailable(&failure).perhaps_applied()),
            None => Ok(()),
        }
    }
}

pub(crate) async fn finish(wait: Wait) -> Result<(), Failure> {
    wait.await.unwrap_or_else(|_closing| Err(Failure("the store is being closed".into())))
}
