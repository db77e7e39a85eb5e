use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice, Snapshot};
use futures::channel::oneshot;
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::error::OpenError;

use super::syncer::{Device, Syncer};
use super::{
    Batch, Cursor, Direction, Failure, Outcome, Shard, ShardId, Storage, Table, Ticket, Usage, Value, View, Wait,
};

/// Writers hold back from this many memtables on that wait to be written out. At 4 the storage engine itself would put
/// the calling thread to sleep, and with it everything else that runs on that thread.
const SEALED_MEMTABLES_MAX: usize = 3;

/// What the storage engine needs at least for its journals.
const JOURNAL_BYTES_MIN: u64 = 64 * 1024 * 1024;

pub(crate) struct Opening {
    /// What messages call the store.
    pub(crate) shown: PathBuf,
    pub(crate) cache_bytes: u64,
    pub(crate) memtable_bytes: u64,
    /// Off: an acknowledged write survives the process, not the machine.
    pub(crate) sync: bool,
}

/// Everything in one fjall database. All shards share its trees, each key begins with its shard.
pub(crate) struct DiskStorage {
    inner: Arc<Inner>,
    syncer: Arc<Syncer>,
}

struct Inner {
    database: Database,
    trees: [Keyspace; Table::ALL.len()],
    journal: Mutex<Journal>,
    shown: PathBuf,
    sync: bool,
    /// Given up after all else has ended.
    _directory: Directory,
}

struct Journal {
    dir: PathBuf,
    /// The journal in use when it was last synced.
    newest: Option<(u64, File)>,
}

impl DiskStorage {
    pub(crate) fn open(directory: Directory, opening: Opening) -> Result<Self, OpenError> {
        let shown = opening.shown.clone();
        // The engine asserts on some files that it does not expect; for us they are one more kind of damage.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| open_database(&directory.data, &opening)));
        let (database, trees) = match opened {
            Ok(opened) => opened.map_err(|error| OpenError::storage(&shown, error))?,
            Err(_) => return Err(OpenError::storage(&shown, fjall::Error::Unrecoverable)),
        };
        let inner = Arc::new(Inner {
            database,
            trees,
            journal: Mutex::new(Journal { dir: directory.data.clone(), newest: None }),
            shown: opening.shown,
            sync: opening.sync,
            _directory: directory,
        });
        let syncer = Syncer::start(Arc::clone(&inner) as Arc<dyn Device>);
        let syncer = syncer.map_err(OpenError::io(&shown, "start the thread that syncs"))?;
        Ok(Self { inner, syncer: Arc::new(syncer) })
    }
}

fn open_database(dir: &Path, opening: &Opening) -> fjall::Result<(Database, [Keyspace; Table::ALL.len()])> {
    let database = Database::builder(dir)
        .cache_size(opening.cache_bytes)
        // The thread that syncs hands the journal to the system, for everybody at once.
        .manual_journal_persist(opening.sync)
        // All of it may have to be read again when the store is opened after a crash.
        .max_journaling_size((4 * opening.memtable_bytes).max(JOURNAL_BYTES_MIN))
        // With more, the first spins for as long as the others compact. One keeps up: writers wait for it.
        .worker_threads(1)
        .open()?;
    let tree = |name| {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(opening.memtable_bytes);
        database.keyspace(name, options)
    };
    // In the order of `Table`.
    let trees =
        [tree("documents")?, tree("versions")?, tree("index")?, tree("expiry")?, tree("state")?, tree("history")?];
    Ok((database, trees))
}

impl Storage for DiskStorage {
    fn shard(&self, id: ShardId) -> Arc<dyn Shard> {
        let prefix = id.0.to_be_bytes().to_vec();
        Arc::new(DiskShard { inner: Arc::clone(&self.inner), syncer: Arc::clone(&self.syncer), prefix })
    }

    fn synced(&self, ticket: Ticket) -> Option<Wait> {
        if self.inner.sync { self.syncer.wait(ticket) } else { None }
    }

    fn shown(&self) -> Option<Wait> {
        if self.inner.sync { self.syncer.wait_for_all() } else { None }
    }

    fn congested(&self) -> Option<Wait> {
        self.inner.is_congested().then(|| self.syncer.hold_back())
    }

    fn failed(&self) -> Option<oneshot::Receiver<Failure>> {
        Some(self.syncer.watch())
    }

    fn usage(&self) -> Usage {
        Usage {
            documents: self.inner.trees[Table::Documents as usize].approximate_len() as u64,
            bytes: self.inner.database.disk_space().unwrap_or_default(),
            syncs: self.syncer.syncs(),
        }
    }

    fn close(&self) -> Outcome<()> {
        self.syncer.close()
    }
}

impl Inner {
    fn failure(&self, attempted: &str, cause: &fjall::Error) -> Failure {
        let cause = match cause {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error.to_string(),
            fjall::Error::Poisoned => "an earlier write, or one in the background, has failed".to_owned(),
            other => other.to_string(),
        };
        let dir = self.shown.display();
        Failure(
            format!(
                "{attempted} in {dir}: {cause}; nothing more is acknowledged: free space or mend the disk, then open the \
                 store again"
            )
            .into(),
        )
    }

    fn is_congested(&self) -> bool {
        self.trees.iter().any(|tree| tree.sealed_memtable_count() >= SEALED_MEMTABLES_MAX)
    }
}

impl Device for Inner {
    fn sync(&self) -> Outcome<()> {
        // Also tells whether a background thread of the storage engine has failed.
        self.database.persist(PersistMode::Buffer).map_err(|error| self.failure("write the journal", &error))?;
        if !self.sync {
            return Ok(());
        }
        // Not `persist(SyncAll)`: that keeps the journal locked, so that no commit could go on during a sync. What was
        // written before the journal changed was synced by the change, so the newest one is enough.
        self.journal.lock().sync().map_err(|error| self.failure("sync the journal", &error.into()))
    }

    fn congested(&self) -> Outcome<bool> {
        Ok(self.is_congested())
    }
}

impl Journal {
    fn sync(&mut self) -> std::io::Result<()> {
        loop {
            let newest = self.newest_id()?;
            if self.newest.as_ref().is_none_or(|&(id, _)| id != newest) {
                match File::open(self.dir.join(format!("{newest}.jnl"))) {
                    Ok(file) => self.newest = Some((newest, file)),
                    // Written out and removed in between: there is a newer one.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            return self.newest.as_ref().map_or(Ok(()), |(_, file)| file.sync_data());
        }
    }

    fn newest_id(&self) -> std::io::Result<u64> {
        let mut newest = None;
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".jnl")).and_then(|id| id.parse::<u64>().ok());
            newest = newest.max(id);
        }
        newest.ok_or_else(|| std::io::Error::other("the journal is gone"))
    }
}

struct DiskShard {
    inner: Arc<Inner>,
    syncer: Arc<Syncer>,
    prefix: Vec<u8>,
}

impl DiskShard {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), key].concat()
    }
}

impl Shard for DiskShard {
    fn view(&self) -> Box<dyn View + '_> {
        Box::new(DiskView { shard: self, snapshot: self.inner.database.snapshot() })
    }

    fn apply(&self, batch: Batch) -> Outcome<Ticket> {
        self.syncer.check()?;
        let mut writes = self.inner.database.batch();
        for (table, key, value) in batch.changes {
            let tree = &self.inner.trees[table as usize];
            match value {
                Some(value) => writes.insert(tree, self.key(&key), value),
                None => writes.remove(tree, self.key(&key)),
            }
        }
        self.syncer.begin();
        writes.commit().map_err(|error| {
            let failure = self.inner.failure("write", &error);
            self.syncer.fail(failure.clone());
            failure
        })?;
        Ok(self.syncer.issue())
    }
}

struct DiskView<'a> {
    shard: &'a DiskShard,
    snapshot: Snapshot,
}

impl DiskView<'_> {
    fn tree(&self, table: Table) -> &Keyspace {
        &self.shard.inner.trees[table as usize]
    }
}

impl View for DiskView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Outcome<Option<Value<'_>>> {
        let found = self.snapshot.get(self.tree(table), self.shard.key(key));
        let found = found.map_err(|error| self.shard.inner.failure("read", &error))?;
        Ok(found.map(Value::Stored))
    }

    fn cursor(&self, table: Table, from: &[u8], to: &[u8], direction: Direction) -> Box<dyn Cursor + '_> {
        let (from, to) = (self.shard.key(from), self.shard.key(to));
        let entries = (from < to).then(|| self.snapshot.range(self.tree(table), from..to));
        let prefix_bytes = self.shard.prefix.len();
        let nothing = (Slice::from(self.shard.prefix.as_slice()), Slice::from(b"".as_slice()));
        Box::new(DiskCursor { view: self, entries, direction, entry: nothing, prefix_bytes })
    }
}

struct DiskCursor<'a> {
    view: &'a DiskView<'a>,
    entries: Option<fjall::Iter>,
    direction: Direction,
    entry: (Slice, Slice),
    prefix_bytes: usize,
}

impl Cursor for DiskCursor<'_> {
    fn advance(&mut self) -> Outcome<bool> {
        let Some(entries) = &mut self.entries else { return Ok(false) };
        let next = match self.direction {
            Direction::Forward => entries.next(),
            Direction::Backward => entries.next_back(),
        };
        let Some(next) = next else { return Ok(false) };
        self.entry = next.into_inner().map_err(|error| self.view.shard.inner.failure("read", &error))?;
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.entry.0[self.prefix_bytes..]
    }

    fn value(&self) -> &[u8] {
        &self.entry.1
    }
}
