use bytes::Bytes;
use feedmill_store_api::{ETag, Error, PartitionKey, ReadLevel, RequestCharge, SessionToken};
use parking_lot::MutexGuard;

use crate::batch::{Prepared, Verb};
use crate::container::Core;
use crate::epk::EffectiveKey;
use crate::error::{corrupt, unavailable};
use crate::history;
use crate::keys::{self, Event, EventKind, Head, Pointer, Record, Version};
use crate::partition::{Partition, Writer};
use crate::read;
use crate::schema::NewDocument;
use crate::storage::{Batch, Table, Ticket, Value, View};
use crate::transaction::Done;
use crate::ttl;

/// A commit that is visible, and durable once its ticket is synced.
pub(crate) struct Committed {
    /// By operation.
    pub(crate) done: Vec<Done>,
    pub(crate) charge: RequestCharge,
    pub(crate) session: SessionToken,
    pub(crate) ticket: Ticket,
}

pub(crate) struct Refused {
    pub(crate) index: usize,
    pub(crate) error: Error,
    pub(crate) charge: RequestCharge,
}

/// Which operations give the document that they leave or find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    OfReads,
    OfAll,
}

/// What an operation leads to.
struct Decided {
    etag: Option<ETag>,
    is_new: bool,
    charge: RequestCharge,
    content: Content,
}

/// One document of a commit, from what is stored to what shall be.
struct Target<'a> {
    id: &'a str,
    stored: Option<Pointer>,
    now: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// Also: expired.
    Nothing,
    Stored(Pointer),
    /// As the operation at this index writes it.
    New {
        operation: usize,
        created: Version,
    },
}

/// Carries out all operations or none, in one step for everybody else: documents, change log, indexes, expiry, LSN.
///
/// The outer error means that the storage has failed.
pub(crate) fn commit(
    core: &Core,
    key: &PartitionKey,
    operations: &[Prepared],
    contents: Contents,
) -> Result<Result<Committed, Refused>, Error> {
    let effective_key = core.effective_key(key)?;
    loop {
        let partition = core.partition(&effective_key);
        let writer = partition.writer.lock();
        // Split or merged since it was found: its successors know what it knew.
        if !writer.retired {
            return commit_to(core, &partition, writer, &effective_key, (operations, contents));
        }
    }
}

fn commit_to(
    core: &Core,
    partition: &Partition,
    mut writer: MutexGuard<'_, Writer>,
    effective_key: &EffectiveKey,
    (operations, contents): (&[Prepared], Contents),
) -> Result<Result<Committed, Refused>, Error> {
    let lsn = writer.head.lsn + 1;
    // Never before the last commit's: readers search the log by time.
    let timestamp_seconds = core.now_seconds().max(writer.head.timestamp_seconds);
    let head = Head { lsn, timestamp_seconds };

    let view = core.shard.view();
    let mut step = Step {
        core,
        partition,
        effective_key,
        head,
        view: &*view,
        targets: Vec::new(),
        keeps_history: core.history.seconds().is_some(),
        writes: Vec::new(),
    };
    let mut decided = Vec::with_capacity(operations.len());
    let mut charge = RequestCharge::ZERO;
    for (index, operation) in operations.iter().enumerate() {
        match step.decide(index, operation)? {
            Ok(one) => {
                charge += one.charge;
                decided.push(one);
            }
            Err(error) => {
                let charge = core.charge().refused();
                return Ok(Err(Refused { index, error, charge }));
            }
        }
    }
    let mut batch = Batch::default();
    let leaves_a_version = step.write(operations, &mut batch)?;
    if !leaves_a_version {
        batch.put(Table::State, Head::key(partition.id), head.encode());
    }
    if step.keeps_history {
        step.tell(operations, &mut batch)?;
    }
    let due = writer.next_expiry_seconds.is_some_and(|at| at <= timestamp_seconds);
    let mut next_expiry_seconds = writer.next_expiry_seconds;
    if due {
        let touched = |document: &[u8]| {
            step.targets.iter().any(|target| document.get(effective_key.len()..) == Some(target.id.as_bytes()))
        };
        let aside = Version::aside(lsn, partition.id);
        next_expiry_seconds =
            ttl::purge(core, &partition.buckets, &*view, (aside, timestamp_seconds), touched, &mut batch)?;
    }
    for document in operations.iter().filter_map(|operation| operation.document.as_ref()) {
        let expires = ttl::expires_seconds(timestamp_seconds, document.lives_seconds);
        next_expiry_seconds = next_expiry_seconds.into_iter().chain(expires).min();
    }
    let done = decided.into_iter().zip(operations).map(|(Decided { etag, is_new, charge, content }, operation)| {
        let is_wanted = contents == Contents::OfAll || operation.verb == Verb::Read;
        let body = if is_wanted { step.render(operations, content)? } else { None };
        Ok(Done { etag, is_new, charge, body })
    });
    let done = done.collect::<Result<Vec<_>, Error>>()?;
    drop(view);

    let ticket = core.shard.apply(batch).map_err(|failure| unavailable(&failure).perhaps_applied())?;
    writer.head = head;
    writer.next_expiry_seconds = next_expiry_seconds;
    partition.publish(lsn);
    drop(writer);
    Ok(Ok(Committed { done, charge, session: partition.session(lsn), ticket }))
}

struct Step<'a> {
    core: &'a Core,
    partition: &'a Partition,
    effective_key: &'a EffectiveKey,
    head: Head,
    view: &'a dyn View,
    /// In the order of first mention. At most as many as a batch has operations, so a search is as good as a map.
    targets: Vec<Target<'a>>,
    keeps_history: bool,
    /// The operations that change something, and what each finds; only where history is kept.
    writes: Vec<(usize, Content)>,
}

impl<'a> Step<'a> {
    /// What the operation leads to, judged by the operations before it; the inner error refuses the whole batch.
    fn decide(&mut self, index: usize, operation: &'a Prepared) -> Result<Result<Decided, Error>, Error> {
        let at = self.target(operation.id.as_str())?;
        let now = self.targets[at].now;
        let current = self.versions(now);
        let etag = current.map(|(version, _)| version.etag());
        if let Err(error) = operation.check(self.core.name(), etag.as_ref()) {
            return Ok(Err(error));
        }
        let version = self.version(index);
        let charge = self.core.charge();
        if operation.verb == Verb::Read {
            let bytes = match now {
                Content::Stored(pointer) => self.record_size(pointer)?.0,
                Content::New { .. } | Content::Nothing => 0,
            };
            let charge = charge.read(Some(bytes), &ReadLevel::Quorum);
            return Ok(Ok(Decided { etag, is_new: false, charge, content: now }));
        }
        if self.keeps_history {
            self.writes.push((index, now));
        }
        let Some(document) = &operation.document else {
            let (bytes, indexed_values) = match now {
                Content::Stored(pointer) => self.record_size(pointer)?,
                Content::Nothing | Content::New { .. } => (0, 0),
            };
            self.targets[at].now = Content::Nothing;
            let (charge, content) = (charge.delete(bytes, indexed_values), Content::Nothing);
            return Ok(Ok(Decided { etag: None, is_new: false, charge, content }));
        };
        let cost = match (operation.verb, current) {
            (Verb::Replace | Verb::Upsert, Some(_)) => charge.replace(document.body.len(), document.indexed_values),
            _ => charge.create(document.body.len(), document.indexed_values),
        };
        let created = current.map_or(version, |(_, created)| created);
        let content = Content::New { operation: index, created };
        self.targets[at].now = content;
        Ok(Ok(Decided { etag: Some(version.etag()), is_new: current.is_none(), charge: cost, content }))
    }

    /// The version that is there, and that with which the document began.
    fn versions(&self, content: Content) -> Option<(Version, Version)> {
        match content {
            Content::Nothing => None,
            Content::Stored(pointer) => Some((pointer.version, pointer.created)),
            Content::New { operation, created } => Some((self.version(operation), created)),
        }
    }

    fn version(&self, operation: usize) -> Version {
        Version::new(self.head.lsn, self.partition.id, operation)
    }

    fn target(&mut self, id: &'a str) -> Result<usize, Error> {
        if let Some(at) = self.targets.iter().position(|target| target.id == id) {
            return Ok(at);
        }
        let found = self.view.get(Table::Documents, &keys::document(self.effective_key, id));
        let stored = match found.map_err(|failure| unavailable(&failure))? {
            Some(bytes) => Some(Pointer::decode(&bytes).ok_or_else(|| self.damaged(id))?),
            None => None,
        };
        let now = match stored {
            Some(pointer) if pointer.is_live(self.head.timestamp_seconds) => Content::Stored(pointer),
            _ => Content::Nothing,
        };
        self.targets.push(Target { id, stored, now });
        Ok(self.targets.len() - 1)
    }

    /// A document as readers will find it.
    fn render(&self, operations: &[Prepared], content: Content) -> Result<Option<Bytes>, Error> {
        let mut stored = None;
        let found = self.content(operations, content, &mut stored)?;
        Ok(found.map(|(version, record)| read::render(self.core, version, &record)))
    }

    /// What it is, and what it is called; `stored` has the bytes where it is not new.
    fn content<'s>(
        &'s self,
        operations: &'s [Prepared],
        content: Content,
        stored: &'s mut Option<Value<'a>>,
    ) -> Result<Option<(Version, Record<'s>)>, Error> {
        match content {
            Content::Nothing => Ok(None),
            Content::Stored(Pointer { version, .. }) => {
                let bucket = self.core.buckets.of(self.effective_key);
                let stored = stored.insert(read::stored(self.core, self.view, bucket, version)?);
                Ok(Some((version, read::record(self.core, stored, version)?)))
            }
            Content::New { operation, created } => {
                let document = operations[operation].document.as_ref();
                Ok(document.map(|document| (self.version(operation), self.record(document, created))))
            }
        }
    }

    fn record_size(&self, pointer: Pointer) -> Result<(usize, u32), Error> {
        let key = keys::version(self.core.buckets.of(self.effective_key), pointer.version);
        let found = self.view.get(Table::Versions, &key).map_err(|failure| unavailable(&failure))?;
        let record = found.as_deref().and_then(|bytes| Record::decode(bytes, self.effective_key.len()));
        Ok(record.map_or((0, 0), |record| (record.body.len(), record.indexed_values)))
    }

    /// Writes down the difference that the operations make together. Whether a version of this commit remains.
    fn write(&self, operations: &'a [Prepared], batch: &mut Batch) -> Result<bool, Error> {
        let mut leaves_a_version = false;
        for target in &self.targets {
            let new = match target.now {
                Content::New { operation, created } => {
                    operations[operation].document.as_ref().map(|document| (document, self.version(operation), created))
                }
                Content::Stored(_) => continue,
                Content::Nothing => None,
            };
            let key = keys::document(self.effective_key, target.id);
            let kept_index_values =
                new.filter(|&(.., created)| target.stored.is_some_and(|old| old.created == created));
            if let Some(old) = target.stored {
                let kept = kept_index_values.map_or(&[][..], |(document, ..)| &document.index_values);
                remove_version(self.core, self.view, self.effective_key, old, kept, batch)?;
            }
            match new {
                Some((document, version, created)) => {
                    self.put(key, document, version, created, batch);
                    leaves_a_version = true;
                }
                None if target.stored.is_some() => batch.remove(Table::Documents, key),
                None => {}
            }
        }
        Ok(leaves_a_version)
    }

    /// Writes down what the operations do one by one, for containers that keep it.
    fn tell(&self, operations: &'a [Prepared], batch: &mut Batch) -> Result<(), Error> {
        let bucket = self.core.buckets.of(self.effective_key);
        history::forget(self.core, self.view, bucket, self.head.timestamp_seconds, batch)?;
        let timestamp_seconds = self.head.timestamp_seconds;
        for target in &self.targets {
            if let Some(stored) = target.stored.filter(|stored| !stored.is_live(timestamp_seconds)) {
                let aside = Version::aside(self.head.lsn, self.partition.id);
                history::expire(self.core, self.view, self.effective_key, stored, (aside, timestamp_seconds), batch)?;
            }
        }
        for &(index, found) in &self.writes {
            let previous = self.versions(found);
            let (kind, told) = match (&operations[index].document, previous) {
                (Some(_), None) => (EventKind::Create, Content::New { operation: index, created: self.version(index) }),
                (Some(_), Some((_, created))) => (EventKind::Replace, Content::New { operation: index, created }),
                (None, _) => (EventKind::Delete, found),
            };
            let mut stored = None;
            let Some((_, record)) = self.content(operations, told, &mut stored)? else { continue };
            let previous = previous.map(|(version, _)| version);
            let event = Event { kind, timestamp_seconds, previous, record };
            batch.put(Table::History, keys::event(bucket, self.version(index), previous), event.encode());
        }
        Ok(())
    }

    fn put(&self, key: Vec<u8>, document: &NewDocument, version: Version, created: Version, batch: &mut Batch) {
        let record = self.record(document, created);
        let expires_seconds = record.expires_seconds;
        let bucket = self.core.buckets.of(self.effective_key);
        batch.put(Table::Versions, keys::version(bucket, version), record.encode());
        for (index, values) in (0..).zip(&document.index_values) {
            let entry = keys::index(self.effective_key, index, values, created);
            batch.put(Table::Index, entry, version.0.to_be_bytes().to_vec());
        }
        if let Some(at) = expires_seconds {
            batch.put(Table::Expiry, keys::expiry(bucket, at, version), key.clone());
        }
        batch.put(Table::Documents, key, Pointer { version, created, expires_seconds }.encode());
    }

    fn record<'d>(&'d self, document: &'d NewDocument, created: Version) -> Record<'d> {
        let timestamp_seconds = self.head.timestamp_seconds;
        Record {
            created,
            timestamp_seconds,
            expires_seconds: ttl::expires_seconds(timestamp_seconds, document.lives_seconds),
            indexed_values: document.indexed_values,
            effective_key: self.effective_key,
            body: &document.body,
        }
    }

    fn damaged(&self, id: &str) -> Error {
        corrupt(format!("read which version of {id} in {} is current", self.core.name()))
    }
}

/// Removes what belongs to a version, except the document's own entry and the index entries that `kept` will write again.
pub(crate) fn remove_version(
    core: &Core,
    view: &dyn View,
    effective_key: &[u8],
    old: Pointer,
    kept: &[Vec<u8>],
    batch: &mut Batch,
) -> Result<(), Error> {
    let bucket = core.buckets.of(effective_key);
    let version_key = keys::version(bucket, old.version);
    if !core.schema.indexes.is_empty() {
        let stored = read::stored(core, view, bucket, old.version)?;
        let record = read::record(core, &stored, old.version)?;
        for (index, values) in (0..).zip(core.schema.stored_index_values(record.body)) {
            if kept.get(usize::from(index)) != Some(&values) {
                batch.remove(Table::Index, keys::index(effective_key, index, &values, old.created));
            }
        }
    }
    if let Some(at) = old.expires_seconds {
        batch.remove(Table::Expiry, keys::expiry(bucket, at, old.version));
    }
    batch.remove(Table::Versions, version_key);
    Ok(())
}
