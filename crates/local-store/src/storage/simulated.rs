use std::collections::VecDeque;
use std::sync::Arc;

use feedmill_clock::Clock;
use futures::channel::oneshot;
use parking_lot::{Mutex, MutexGuard};

use super::{Batch, Failure, MemoryStorage, Outcome, Shard, ShardId, Storage, Ticket, Usage, View, Wait};
use crate::{LocalStore, Options};

/// A disk that keeps what was synced and, when the power goes, any first part of the rest. Clones are one disk.
///
/// It syncs when it is told to, so whoever simulates decides how long acknowledgements take and what a power cut meets.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    written: MemoryStorage,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    issued: u64,
    /// How to undo the newest, which are not synced; the oldest first.
    tail: VecDeque<Undo>,
    waiting: Vec<oneshot::Sender<Outcome<()>>>,
    /// Power cuts so far. A store that was opened before the last one writes nothing any more.
    cuts: u64,
}

struct Undo {
    shard: ShardId,
    before: Batch,
}

impl SimulatedDisk {
    /// The store that is on it.
    pub fn open(&self, options: Options, clock: Arc<dyn Clock>) -> LocalStore {
        let cuts = self.0.state.lock().cuts;
        LocalStore::over(Arc::new(Powered { disk: self.clone(), cuts }), options, clock)
    }

    /// How many commits are not synced.
    pub fn unsynced(&self) -> usize {
        self.0.state.lock().tail.len()
    }

    /// Everything written so far survives, and whoever waits for that is told.
    pub fn sync(&self) {
        let waiting = {
            let mut state = self.0.state.lock();
            state.tail.clear();
            std::mem::take(&mut state.waiting)
        };
        for waiter in waiting {
            let _gone = waiter.send(Ok(()));
        }
    }

    /// The power goes. Of the commits that are not synced the first `kept` are there afterwards; nobody is told which.
    pub fn cut(&self, kept: usize) {
        let (lost, waiting) = {
            let mut state = self.0.state.lock();
            state.cuts += 1;
            let kept = kept.min(state.tail.len());
            let lost = state.tail.split_off(kept);
            state.tail.clear();
            (lost, std::mem::take(&mut state.waiting))
        };
        for Undo { shard, before } in lost.into_iter().rev() {
            self.0.written.shard(shard).apply(before).expect("memory does not fail");
        }
        for waiter in waiting {
            let _gone = waiter.send(Err(gone()));
        }
    }
}

fn gone() -> Failure {
    Failure("the power is gone".into())
}

/// The disk as a store has it that was opened after so many power cuts.
#[derive(Clone)]
struct Powered {
    disk: SimulatedDisk,
    cuts: u64,
}

impl Powered {
    fn state(&self) -> Outcome<MutexGuard<'_, State>> {
        let state = self.disk.0.state.lock();
        if state.cuts == self.cuts { Ok(state) } else { Err(gone()) }
    }

    /// Until the first so many commits are synced, of all that there are.
    fn wait(&self, commits: impl FnOnce(&State) -> u64) -> Option<Wait> {
        let (done, wait) = oneshot::channel();
        match self.state() {
            Ok(state) if commits(&state) + state.tail.len() as u64 <= state.issued => return None,
            Ok(mut state) => state.waiting.push(done),
            Err(gone) => {
                let _nobody_waits_yet = done.send(Err(gone));
            }
        }
        Some(wait)
    }
}

impl Storage for Powered {
    fn shard(&self, id: ShardId) -> Arc<dyn Shard> {
        Arc::new(SimulatedShard { id, written: self.disk.0.written.shard(id), powered: self.clone() })
    }

    fn synced(&self, ticket: Ticket) -> Option<Wait> {
        self.wait(|_| ticket.0)
    }

    fn shown(&self) -> Option<Wait> {
        self.wait(|state| state.issued)
    }

    fn congested(&self) -> Option<Wait> {
        None
    }

    fn failed(&self) -> Option<oneshot::Receiver<Failure>> {
        None
    }

    fn usage(&self) -> Usage {
        self.disk.0.written.usage()
    }

    fn close(&self) -> Outcome<()> {
        drop(self.state()?);
        self.disk.sync();
        Ok(())
    }
}

struct SimulatedShard {
    id: ShardId,
    written: Arc<dyn Shard>,
    powered: Powered,
}

impl Shard for SimulatedShard {
    fn view(&self) -> Box<dyn View + '_> {
        self.written.view()
    }

    fn apply(&self, batch: Batch) -> Outcome<Ticket> {
        let mut state = self.powered.state()?;
        let mut before = Batch::default();
        {
            let view = self.written.view();
            for (table, key, _) in &batch.changes {
                let found: Option<Vec<u8>> = view.get(*table, key)?.map(|value| value.to_vec());
                before.changes.push((*table, key.clone(), found));
            }
        }
        self.written.apply(batch)?;
        state.issued += 1;
        state.tail.push_back(Undo { shard: self.id, before });
        Ok(Ticket(state.issued))
    }
}

#[cfg(test)]
mod tests {
    use feedmill_clock::ManualClock;
    use feedmill_store_api::{
        Applied, Container, ContainerSpec, DocumentId, ErrorKind, FeedRange, FeedStart, Operation, PageRequest,
        PartitionKey, Query, ReadLevel,
    };
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::{Step, Transacted};

    const CONTAINER: &str = "c";

    fn open(disk: &SimulatedDisk) -> LocalStore {
        disk.open(Options::default(), Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)))
    }

    /// Its result once everything is synced.
    fn synced<T>(disk: &SimulatedDisk, mut work: BoxFuture<'_, T>) -> T {
        for _ in 0..10 {
            if let Some(done) = (&mut work).now_or_never() {
                return done;
            }
            disk.sync();
        }
        panic!("it waits for something else");
    }

    /// For the process itself, and for readers that outlive it.
    fn containers(disk: &SimulatedDisk) -> [Arc<dyn Container>; 2] {
        let store = open(disk);
        let own = synced(disk, store.database("d").boxed()).unwrap();
        synced(disk, own.provision(&ContainerSpec::new(CONTAINER, "/k"))).unwrap();
        let served = synced(disk, store.served("d").boxed()).unwrap();
        [own, served].map(|database| synced(disk, database.container(CONTAINER)).unwrap())
    }

    fn write<'a>(container: &'a dyn Container, key: &'a PartitionKey, id: &str) -> BoxFuture<'a, Option<Applied>> {
        let id = DocumentId::new(id).unwrap();
        let body = bytes::Bytes::from(format!(r#"{{"id":"{id}","k":"k"}}"#));
        container.write(key, Operation::Upsert { id, body }).map(|done| done.err().map(|error| error.applied())).boxed()
    }

    fn ids(container: &dyn Container) -> Vec<u64> {
        let page = container.read_page(&FeedRange::full(), &FeedStart::Beginning, 100).now_or_never();
        page.unwrap().unwrap().changes.iter().map(|change| change.lsn).collect()
    }

    #[test]
    fn a_power_cut_leaves_what_was_acknowledged_and_a_first_part_of_the_rest() {
        let (disk, key) = (SimulatedDisk::default(), PartitionKey::from("k"));
        let [before, _] = containers(&disk);
        assert_eq!(synced(&disk, write(&*before, &key, "acknowledged")), None);
        let mut waiting: Vec<_> = ["a", "b", "c"].map(|id| write(&*before, &key, id)).into();
        assert!(waiting.iter_mut().all(|write| write.now_or_never().is_none()));
        assert_eq!((disk.unsynced(), ids(&*before).len()), (3, 4));
        disk.cut(1);
        for write in waiting {
            assert_eq!(write.now_or_never(), Some(Some(Applied::Perhaps)), "nobody is told which");
        }
        assert_eq!(ids(&*containers(&disk)[0]).len(), 2);
        assert!(write(&*before, &key, "late").now_or_never().unwrap().is_some(), "who was there before writes no more");
    }

    #[test]
    fn a_server_does_not_say_of_a_write_that_may_have_survived_that_it_was_not_done() {
        let (disk, key) = (SimulatedDisk::default(), PartitionKey::from("k"));
        let [_, served] = containers(&disk);
        let mut writing = write(&*served, &key, "d");
        let batch = ["e", "f"].map(|id| Operation::Create {
            id: DocumentId::new(id).unwrap(),
            body: bytes::Bytes::from(format!(r#"{{"id":"{id}","k":"k"}}"#)),
        });
        let mut batching = served.batch(&key, batch.into());
        assert!((&mut writing).now_or_never().is_none());
        assert!((&mut batching).now_or_never().is_none());
        disk.cut(2);
        assert_eq!(writing.now_or_never(), Some(Some(Applied::Perhaps)));
        assert_eq!(batching.now_or_never().unwrap().err().map(|error| error.applied()), Some(Applied::Perhaps));
    }

    #[test]
    fn whoever_is_served_is_shown_only_what_survives() {
        let (disk, key) = (SimulatedDisk::default(), PartitionKey::from("k"));
        let [writer, served] = containers(&disk);
        let id = DocumentId::new("d").unwrap();
        let read = || served.read(&key, &id, &ReadLevel::Quorum);
        assert!(read().now_or_never().is_some(), "nothing to wait for");
        let mut writing = write(&*writer, &key, "d");
        assert!((&mut writing).now_or_never().is_none());
        let range = FeedRange::full();
        let (mut document, mut page) = (read(), served.read_page(&range, &FeedStart::Beginning, 100));
        assert!((&mut document).now_or_never().is_none());
        assert!((&mut page).now_or_never().is_none());
        disk.sync();
        assert!(document.now_or_never().unwrap().unwrap().0.is_some());
        assert!(page.now_or_never().unwrap().is_ok());
        assert_eq!(writing.now_or_never(), Some(None));
    }

    #[test]
    fn so_is_a_server_by_what_only_servers_ask() {
        let (disk, key, name) = (SimulatedDisk::default(), PartitionKey::from("k"), ("d", CONTAINER));
        let store = open(&disk);
        let database = synced(&disk, store.database(name.0).boxed()).unwrap();
        synced(&disk, database.provision(&ContainerSpec::new(CONTAINER, "/k"))).unwrap();
        synced(&disk, store.keep_history(name.0, CONTAINER, Some(60)).boxed()).unwrap();
        let writer = synced(&disk, database.container(CONTAINER)).unwrap();
        let _not_synced = write(&*writer, &key, "d").now_or_never();

        let (range, query, page) = (FeedRange::full(), Query::new("SELECT * FROM c"), PageRequest::first(10));
        let body = bytes::Bytes::from_static(br#"{"id":"d","k":"k"}"#);
        let create = Step::Write(Operation::Create { id: DocumentId::new("d").unwrap(), body });
        let mut queried = store.query_range(name, &range, &query, (&page, None), &ReadLevel::Quorum).boxed();
        let mut told = store.read_history(name, &range, &FeedStart::Now, 1).boxed();
        let mut refused = store.transact(name, &key, vec![create], false).boxed();
        assert!((&mut queried).now_or_never().is_none());
        assert!((&mut told).now_or_never().is_none());
        assert!((&mut refused).now_or_never().is_none());
        disk.sync();
        assert_eq!(queried.now_or_never().unwrap().unwrap().items.len(), 1);
        assert!(told.now_or_never().unwrap().is_ok());
        assert!(matches!(refused.now_or_never().unwrap().unwrap(), Transacted::Refused { .. }));
    }

    #[test]
    fn who_was_there_before_the_power_went_is_told_that_it_did() {
        let (disk, key) = (SimulatedDisk::default(), PartitionKey::from("k"));
        let [_, served] = containers(&disk);
        disk.cut(0);
        let read = served.read(&key, &DocumentId::new("d").unwrap(), &ReadLevel::Quorum).now_or_never().unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
