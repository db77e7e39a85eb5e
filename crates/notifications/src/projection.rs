use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::notification::{self, Kind};
use feedmill_documents::{IdError, containers};
use feedmill_engine::{Address, Basis, Delivery, Desired, Expiry, Fields, Projection, Reader, SettleError, SourceRef};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
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
}

/// Causes as they were read; `None` for one that is not there.
pub(crate) type Sources = BTreeMap<Cause, Option<Document>>;

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
        Ok(Self { address: Address { key: PartitionKey::from(recipient), id }, cause })
    }
}

impl Notifications {
    pub(crate) fn new(options: &Options, delivery: &Delivery) -> Self {
        let seconds = delivery.changes.iter().map(|change| change.timestamp_seconds).max().unwrap_or_default();
        let passed = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { options: options.clone(), passed }
    }
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
            let mut sources = BTreeMap::new();
            for ((kind, key), ids) in wanted {
                let found = reader.read_many(container(kind), key, &ids).await?;
                let causes = ids.into_iter().map(|id| Cause { kind, key: key.clone(), id });
                sources.extend(causes.zip(found));
            }
            Ok(sources)
        }
        .boxed()
    }

    fn compute(&self, target: &Target, sources: &Sources, current: Option<&Document>) -> Result<Desired, String> {
        let found = sources.get(&target.cause).expect("whoever names a target gives its cause");
        let basis = Basis::Sources { rev: REV, sources: vec![reference(&target.cause, found.as_ref())] };
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
            event.notification(&self.options, is_read).map_err(|error| error.to_string())?;
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
