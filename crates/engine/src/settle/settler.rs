use std::collections::BTreeMap;

use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::{StreamExt, TryStreamExt, stream};

use super::decide::{self, Context};
use super::projection::Projection;
use super::reader::Reader;
use super::send::{self, Prepared};
use super::tally::Tally;
use super::writer::{Opened, Writer};
use crate::Delivery;
use crate::protection::Protection;

/// Targets settled together: bounds the memory of a settlement, whatever the number of targets.
pub(super) const TARGETS_MAX: usize = 2_000;
/// Partition keys of one settlement that are read or written at the same time.
pub(super) const KEYS_AT_ONCE: usize = 32;
const BACKOFF_MIN: std::time::Duration = std::time::Duration::from_millis(5);
const BACKOFF_DOUBLINGS_MAX: u32 = 8;

/// Settles targets for one delivery.
pub struct Settler<'a> {
    reader: Reader<'a>,
    /// Nothing is skipped.
    repair: bool,
}

/// Why targets could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store: waiting helps.
    #[error(transparent)]
    Store(#[from] feedmill_store_api::Error),
    /// A change's own fault: trying again does not help until somebody mends a document.
    #[error("{0}")]
    Invalid(String),
}

impl<'a> Settler<'a> {
    pub(super) fn new(writer: &'a Writer, delivery: Option<&'a Delivery>, repair: bool) -> Self {
        Self { reader: Reader::new(writer, delivery), repair }
    }

    pub fn reader(&self) -> &Reader<'a> {
        &self.reader
    }

    /// What this settler has done so far.
    pub fn tally(&self) -> Tally {
        self.reader.tally()
    }

    /// Settles every target before it returns.
    ///
    /// `named_from` is what the handler read to find the targets, where that is all of their sources: then absence is
    /// expected and they are created straight away, and only a conflict is settled in full. Where absence is not
    /// expected, the targets are read and those that name these very sources are done; sources are read again only for
    /// the others. Without it everything is read in full. Targets of one key should stand together: they travel as batches.
    pub async fn settle<P: Projection>(
        &self,
        projection: &P,
        targets: Vec<P::Target>,
        named_from: Option<P::Sources>,
    ) -> Result<(), SettleError> {
        let opened = self.reader.writer.open(projection.container()).await?;
        for targets in targets.chunks(TARGETS_MAX) {
            let mut left: Vec<usize> = (0..targets.len()).collect();
            if let Some(sources) = &named_from
                && opened.expects_absence()
                && self.tombstones_outlive_us()
            {
                left = self.create(projection, &opened, targets, sources).await?;
                if !left.is_empty() {
                    opened.expect_absence(false);
                }
            }
            let mut attempt = 0;
            while !left.is_empty() {
                let known = named_from.as_ref().filter(|_| attempt == 0);
                left = self.settle_once(projection, &opened, targets, left, known).await?;
                if !left.is_empty() {
                    // Somebody else settles the same targets right now; jitter takes turns.
                    let wait = BACKOFF_MIN * 2_u32.pow(attempt.min(BACKOFF_DOUBLINGS_MAX));
                    attempt += 1;
                    self.writer().clock().sleep(self.writer().entropy().jitter(wait)).await;
                }
            }
        }
        Ok(())
    }

    /// The fast path: creates where absence is expected, and returns the targets where something was.
    ///
    /// The sources were read before, and the store itself checks the condition "was absent": a tombstone stands where
    /// anybody settled before.
    async fn create<P: Projection>(
        &self,
        projection: &P,
        opened: &Opened,
        targets: &[P::Target],
        sources: &P::Sources,
    ) -> Result<Vec<usize>, SettleError> {
        let read_at = self.writer().clock().monotonic();
        let context = self.context(opened)?;
        let mut again = Vec::new();
        let mut groups: Vec<(PartitionKey, Vec<Prepared>)> = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            let address = projection.address(target);
            let desired = projection.compute(target, sources, None).map_err(SettleError::Invalid)?;
            let key = address.key.clone();
            let Some(operation) = decide::write(&context, address, &desired, None)? else { continue };
            let write = Prepared { target: index, operation };
            match groups.last_mut() {
                Some((last, writes)) if *last == key => writes.push(write),
                _ => groups.push((key, vec![write])),
            }
        }
        let mut sending = stream::iter(groups)
            .map(|(key, writes)| async move { send::send(&self.reader, opened, &key, writes, read_at).await })
            .buffer_unordered(KEYS_AT_ONCE);
        while let Some(conflicts) = sending.try_next().await? {
            again.extend(conflicts);
        }
        again.sort_unstable();
        Ok(again)
    }

    /// Reads the targets, then their sources, computes and writes; returns the targets that met another version.
    ///
    /// `known`: sources read before. They decide no write, but a target that names exactly them is done: whoever wrote
    /// it had read them, so nobody with older ones can have a write in the air on its etag; and what is newer than they
    /// are has a change of its own.
    async fn settle_once<P: Projection>(
        &self,
        projection: &P,
        opened: &Opened,
        targets: &[P::Target],
        left: Vec<usize>,
        known: Option<&P::Sources>,
    ) -> Result<Vec<usize>, SettleError> {
        let read_at = self.writer().clock().monotonic();
        let context = self.context(opened)?;
        let read_before = if Protection::TargetBeforeSources.holds() {
            None
        } else {
            let wanted: Vec<P::Target> = left.iter().map(|&index| targets[index].clone()).collect();
            Some(projection.read(&wanted, &self.reader).await?)
        };
        // Several targets that are one are settled once.
        let mut keys: BTreeMap<PartitionKey, BTreeMap<DocumentId, usize>> = BTreeMap::new();
        for index in left {
            let address = projection.address(&targets[index]);
            keys.entry(address.key).or_default().insert(address.id, index);
        }
        let groups: Vec<_> = stream::iter(keys)
            .map(|(key, ids)| async move {
                let (ids, indexes): (Vec<_>, Vec<_>) = ids.into_iter().unzip();
                let found = self.reader.read_many_at(opened, &key, &ids, &Reader::fresh()).await?;
                Ok::<_, SettleError>((key, ids, indexes, found))
            })
            .buffered(KEYS_AT_ONCE)
            .try_collect()
            .await?;
        let all = groups.iter().flat_map(|(_, _, _, found)| found);
        let (count, absent) = all.fold((0, 0), |(all, none), found| (all + 1, none + usize::from(found.is_none())));
        opened.expect_absence(2 * absent > count);

        let mut skipped = 0;
        let mut open = Vec::with_capacity(groups.len());
        for (key, ids, indexes, found) in groups {
            let mut unsettled = Vec::new();
            for ((id, index), current) in ids.into_iter().zip(indexes).zip(found) {
                if let Some(current) = &current
                    && self.is_settled(projection, &targets[index], current, known)?
                {
                    skipped += 1;
                    continue;
                }
                unsettled.push((id, index, current));
            }
            if !unsettled.is_empty() {
                open.push((key, unsettled));
            }
        }
        let wanted: Vec<P::Target> =
            open.iter().flat_map(|(_, unsettled)| unsettled).map(|&(_, index, _)| targets[index].clone()).collect();
        if wanted.is_empty() {
            self.reader.record(opened.container.name(), |tally| tally.skipped += skipped);
            return Ok(Vec::new());
        }
        let is_any_there = open.iter().flat_map(|(_, unsettled)| unsettled).any(|(_, _, current)| current.is_some());
        let sources = match read_before {
            Some(sources) => sources,
            // What is there may have been made from a later change than the one delivered to us, and the page's session token
            // does not reach so far. Where nothing is, nobody has settled, and whoever comes later settles again.
            None if is_any_there && Protection::FreshOverTargets.holds() => {
                let fresher = self.reader.fresher();
                let sources = projection.read(&wanted, &fresher).await?;
                self.reader.absorb(fresher);
                sources
            }
            None => projection.read(&wanted, &self.reader).await?,
        };

        let mut ready = Vec::with_capacity(open.len());
        for (key, unsettled) in open {
            let mut writes = Vec::new();
            for (id, index, current) in unsettled {
                let carried = current.as_ref().filter(|_| Protection::PersonsFields.holds());
                let desired = projection.compute(&targets[index], &sources, carried).map_err(SettleError::Invalid)?;
                let address = super::Address { key: key.clone(), id };
                match decide::write(&context, address, &desired, current.as_ref())? {
                    Some(operation) => writes.push(Prepared { target: index, operation }),
                    None => skipped += 1,
                }
            }
            if !writes.is_empty() {
                ready.push((key, writes));
            }
        }
        self.reader.record(opened.container.name(), |tally| tally.skipped += skipped);

        let mut again = Vec::new();
        let mut sending = stream::iter(ready)
            .map(|(key, writes)| async move { send::send(&self.reader, opened, &key, writes, read_at).await })
            .buffer_unordered(KEYS_AT_ONCE);
        while let Some(conflicts) = sending.try_next().await? {
            again.extend(conflicts);
        }
        again.sort_unstable();
        Ok(again)
    }

    /// Whether a target is done as far as can be said before its sources are read.
    fn is_settled<P: Projection>(
        &self,
        projection: &P,
        target: &P::Target,
        current: &Document,
        known: Option<&P::Sources>,
    ) -> Result<bool, SettleError> {
        if self.repair {
            return Ok(false);
        }
        if let Some(basis) = projection.basis(target) {
            return decide::is_done(&basis, current);
        }
        let Some(known) = known else { return Ok(false) };
        let desired = projection.compute(target, known, Some(current)).map_err(SettleError::Invalid)?;
        decide::is_settled(&desired, current)
    }

    /// Whether a tombstone that was written since our first read is still there: only then absence says that nobody
    /// settled in between.
    fn tombstones_outlive_us(&self) -> bool {
        let age = self.writer().clock().monotonic().since(self.reader.made_at);
        age < self.writer().options().tombstone_ttl / 2 || !Protection::SettleMax.holds()
    }

    fn writer(&self) -> &Writer {
        self.reader.writer
    }

    fn context<'b>(&'b self, opened: &'b Opened) -> Result<Context<'b>, SettleError> {
        Ok(Context {
            key_field: opened.key_field()?,
            options: self.writer().options(),
            now: self.writer().clock().now(),
            repair: self.repair,
        })
    }
}
