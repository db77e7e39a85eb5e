use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::notification::{self, Kind, Parts};
use feedmill_documents::{Block, Follow, IdError, Post, Reaction, containers};
use feedmill_engine::{
    Act, Address, Basis, Delivery, Desired, Expiry, Fields, Judged, Projection, Reader, SettleError, Settler, SourceRef,
};
use feedmill_store_api::{Document, DocumentId, ETag, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use crate::Options;
use crate::processors::container;
use crate::rules::{self, Event, Told};

/// Raised when the same cause would give another notification.
const REV: u32 = 1;

/// `notifications`: one of one recipient for each cause.
pub(crate) struct Notifications {
    options: Options,
    /// A time that has surely passed. The engine knows the time and gives what is past its end no life; but of what was
    /// over before its cause was even written, nothing is made at all.
    passed: Timestamp,
}

/// Where a cause is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    pub(crate) kind: Kind,
    pub(crate) key: PartitionKey,
    pub(crate) id: DocumentId,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: Address,
    cause: Cause,
    /// The recipient's side of a block between recipient and actor, if there is one.
    block: DocumentId,
}

/// Causes as they were read; `None` for one that is not there.
pub(crate) type Causes = BTreeMap<Cause, Option<Document>>;

/// Blocks that there are, by recipient and id.
type Blocks = BTreeMap<(PartitionKey, DocumentId), Document>;

/// What notifications are made from. A block is named among a notification's sources only where there is one: most pairs
/// have none, and of what is missing nothing could ever be skipped. That is safe because a block goes by soft delete,
/// which stays longer than any write is late.
#[derive(Default)]
pub(crate) struct Sources {
    causes: Causes,
    blocks: Blocks,
}

#[derive(Default, Deserialize)]
struct Current {
    #[serde(default)]
    read: serde_json::Value,
    #[serde(rename = "deletedAt", default)]
    deleted_at: Option<serde_json::Value>,
}

impl Target {
    /// Fails when the notification's id would be too long.
    pub(crate) fn new(recipient: &str, event: &Event, cause: Cause) -> Result<Self, IdError> {
        let id = notification::id(recipient, event.kind, &event.subject, &event.actor)?;
        let block = Block::id(recipient, &event.actor)?;
        Ok(Self { address: Address { key: PartitionKey::from(recipient), id }, cause, block })
    }

    /// A notification that is stored under this id. Fails when its parts make no id of a cause.
    pub(crate) fn stored(id: DocumentId, parts: &Parts, parent: Option<&str>) -> Result<Self, IdError> {
        let Parts { recipient_id: recipient, kind, subject_id: subject, actor_id: actor } = parts;
        let (key, cause) = match kind {
            Kind::Reaction => (subject.as_str(), Reaction::id(subject, actor)?),
            Kind::Reply => (parent.unwrap_or_default(), Post::id(subject)?),
            Kind::Follow => (subject.as_str(), Follow::id(subject, actor)?),
        };
        let cause = Cause { kind: *kind, key: PartitionKey::from(key), id: cause };
        let block = Block::id(recipient, actor)?;
        Ok(Self { address: Address { key: PartitionKey::from(recipient.as_str()), id }, cause, block })
    }
}

impl Notifications {
    pub(crate) fn new(options: &Options, delivery: &Delivery) -> Self {
        let seconds = delivery.changes.iter().map(|change| change.timestamp_seconds).max().unwrap_or_default();
        let passed = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { options: options.clone(), passed }
    }

    /// Without a change: what is over is still not made, which the engine sees to.
    pub(crate) fn by_hand(options: &Options) -> Self {
        Self { options: options.clone(), passed: Timestamp::UNIX_EPOCH }
    }

    /// Settles notifications for their causes.
    ///
    /// Looks at the blocks once more after a write: a block made meanwhile did not see what was not there yet, so whoever
    /// wrote must see the block. What was not written was there before the blocks were read, so a block that is made
    /// later sees it. Hence targets are read first here, always.
    pub(crate) async fn tell(&self, targets: Vec<Target>, settler: &Settler<'_>) -> Result<(), SettleError> {
        if targets.is_empty() {
            return Ok(());
        }
        let mut seen = None;
        loop {
            let before = written(settler);
            settler.settle(self, targets.clone(), None).await?;
            if written(settler) == before {
                return Ok(());
            }
            let now = Some(etags(&self.blocks(&targets, settler.reader()).await?));
            if now == seen || seen.is_none() && now.as_ref().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            seen = now;
        }
    }

    /// The same for what an operator names.
    pub(crate) async fn act(
        &self,
        act: Act,
        targets: Vec<Target>,
        settler: &Settler<'_>,
        judged: &mut Judged,
    ) -> Result<(), SettleError> {
        let mut seen = etags(&self.blocks(&targets, settler.reader()).await?);
        loop {
            settler.act(act, self, targets.clone(), judged).await?;
            let now = etags(&self.blocks(&targets, settler.reader()).await?);
            if act == Act::Compare || now == seen {
                return Ok(());
            }
            seen = now;
        }
    }

    async fn blocks(&self, targets: &[Target], reader: &Reader<'_>) -> Result<Blocks, SettleError> {
        let mut wanted: BTreeMap<&PartitionKey, Vec<DocumentId>> = BTreeMap::new();
        for Target { address, block, .. } in targets {
            wanted.entry(&address.key).or_default().push(block.clone());
        }
        let mut blocks = Blocks::new();
        for (key, ids) in wanted {
            let there = reader.read_sparse(containers::BLOCKS, key, &ids).await?;
            blocks.extend(there.into_iter().map(|(id, block)| ((key.clone(), id), block)));
        }
        Ok(blocks)
    }
}

fn written(settler: &Settler<'_>) -> u64 {
    settler.tally().containers.get(containers::NOTIFICATIONS).map_or(0, |tally| tally.written)
}

fn etags(blocks: &Blocks) -> Vec<(PartitionKey, DocumentId, ETag)> {
    blocks.iter().map(|((key, id), block)| (key.clone(), id.clone(), block.etag.clone())).collect()
}

impl Projection for Notifications {
    type Target = Target;
    type Sources = Sources;

    fn container(&self) -> &str {
        containers::NOTIFICATIONS
    }

    fn address(&self, target: &Target) -> Address {
        target.address.clone()
    }

    fn read<'a>(
        &'a self,
        targets: &'a [Target],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Sources, SettleError>> {
        async move {
            let mut wanted: BTreeMap<(Kind, &PartitionKey), Vec<DocumentId>> = BTreeMap::new();
            for Target { cause, .. } in targets {
                wanted.entry((cause.kind, &cause.key)).or_default().push(cause.id.clone());
            }
            let mut causes = BTreeMap::new();
            for ((kind, key), ids) in wanted {
                let found = reader.read_many(container(kind), key, &ids).await?;
                let these = ids.into_iter().map(|id| Cause { kind, key: key.clone(), id });
                causes.extend(these.zip(found));
            }
            Ok(Sources { causes, blocks: self.blocks(targets, reader).await? })
        }
        .boxed()
    }

    fn compute(&self, target: &Target, sources: &Sources, current: Option<&Document>) -> Result<Desired, String> {
        let found = sources.causes.get(&target.cause).expect("whoever names a target gives its cause");
        let block = sources.blocks.get(&(target.address.key.clone(), target.block.clone()));
        let named = block.map(|block| {
            SourceRef(Arc::from(containers::BLOCKS), target.block.as_str().to_owned(), Some(block.etag.clone()))
        });
        let named = std::iter::once(reference(&target.cause, found.as_ref())).chain(named).collect();
        let basis = Basis::Sources { rev: REV, sources: named };
        let block = block.map(|block| Block::decode(&block.body)).transpose();
        let blocked = block
            .map_err(|error| format!("{} of {}: {error}", target.block, containers::BLOCKS))?
            .is_some_and(|block| block.is_live());
        let told = found.as_ref().map(|found| rules::told(target.cause.kind, &found.body)).transpose();
        let event = match told.map_err(|error| error.to_string())? {
            // Nothing is left that could say when: any time that is always the same will do.
            None => return Ok(Desired::Absent { deleted_at: Timestamp::UNIX_EPOCH, basis }),
            Some(Told::Gone(deleted_at)) => return Ok(Desired::Absent { deleted_at, basis }),
            Some(Told::Event(event)) => event,
        };
        // What cannot be read as a notification has nothing to carry over.
        let current = current.map(|current| current.parse::<Current>().unwrap_or_default());
        let is_read = current.as_ref().is_some_and(|current| current.read == true);
        let is_there = current.is_some_and(|current| current.deleted_at.is_none());
        let (notification, expires_at) =
            event.notification(&self.options, is_read, blocked).map_err(|error| error.to_string())?;
        if !is_there && expires_at.is_some_and(|at| at <= self.passed) {
            return Ok(Desired::Leave);
        }
        let fields = Fields::of(&notification).map_err(|error| error.to_string())?;
        Ok(Desired::Document { fields, expires: expires_at.map_or(Expiry::Never, Expiry::At), basis })
    }
}

fn reference(cause: &Cause, found: Option<&Document>) -> SourceRef {
    let etag = found.map(|found| found.etag.clone());
    SourceRef(Arc::from(container(cause.kind)), cause.id.as_str().to_owned(), etag)
}
