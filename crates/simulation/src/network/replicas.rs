//! What a replica that lags behind would answer.
//!
//! The store itself always answers with what is newest. A read that is only asked to be as new as a session token may get
//! something older in a real account, and so it may here.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_clock::{Clock, ManualClock, Monotonic};
use feedmill_store_api::{Container, Document, DocumentId, PartitionKey, ReadLevel, SessionToken};
use futures::FutureExt;
use parking_lot::Mutex;

/// Every version that documents ever had. Clones share them.
#[derive(Clone)]
pub(crate) struct Replicas(Option<Arc<Inner>>);

struct Inner {
    clock: ManualClock,
    versions: Mutex<BTreeMap<Name, Vec<Version>>>,
}

/// Container, partition key, id.
type Name = (String, PartitionKey, DocumentId);

struct Version {
    landed: Monotonic,
    lsn: u64,
    document: Option<Document>,
}

impl Replicas {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self(Some(Arc::new(Inner { clock: clock.clone(), versions: Mutex::default() })))
    }

    /// A store that has only one, and everything that is read is as new as it is.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The document was written just now, up to the LSN of this token.
    pub(crate) fn landed(
        &self,
        container: &dyn Container,
        key: &PartitionKey,
        id: &DocumentId,
        session: &SessionToken,
    ) {
        let Some(inner) = &self.0 else { return };
        let read = container.read(key, id, &ReadLevel::Quorum).now_or_never();
        let (document, _) = read.expect("the store in memory answers at once").expect("it took a write just now");
        let version = Version { landed: inner.clock.monotonic(), lsn: lsn(session), document };
        let name = (container.name().to_owned(), key.clone(), id.clone());
        inner.versions.lock().entry(name).or_default().push(version);
    }

    /// The document as a replica knew it at `at`, or as it was at the token, whichever is newer. `newest`: as it is.
    pub(super) fn at(
        &self,
        container: &str,
        key: &PartitionKey,
        id: &DocumentId,
        (at, session): (Monotonic, &SessionToken),
        newest: Option<Document>,
    ) -> Option<Document> {
        // What has expired has expired everywhere.
        let newest = newest?;
        let Some(inner) = &self.0 else { return Some(newest) };
        let (versions, seen) = (inner.versions.lock(), lsn(session));
        let Some(versions) = versions.get(&(container.to_owned(), key.clone(), id.clone())) else {
            return Some(newest);
        };
        let known = versions.iter().rev().find(|version| version.landed <= at || version.lsn <= seen);
        known.and_then(|version| version.document.clone())
    }

    /// Whether a copy that was last brought up to date at `at` has the document at all.
    pub(super) fn is_copied(&self, container: &str, key: &PartitionKey, id: &str, at: Monotonic) -> bool {
        let Ok(id) = DocumentId::new(id) else { return true };
        let Some(inner) = &self.0 else { return true };
        let versions = inner.versions.lock();
        let versions = versions.get(&(container.to_owned(), key.clone(), id));
        versions.and_then(|versions| versions.first()).is_none_or(|first| first.landed <= at)
    }
}

/// Of a token `{partition}:{version}#{LSN}`. Nothing is older than the empty one.
fn lsn(session: &SessionToken) -> u64 {
    session.0.rsplit_once('#').and_then(|(_, lsn)| lsn.parse().ok()).unwrap_or(0)
}
