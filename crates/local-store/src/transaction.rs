//! Batches as clients of the service write them: with reads in between, and answers that say what became of each operation.

use bytes::Bytes;
use feedmill_store_api::{DocumentId, ETag, Error, Operation, PartitionKey, RequestCharge, Result, SessionToken};

use crate::adapter::commit_durably;
use crate::batch::{Prepared, check_limits};
use crate::commit::{Committed, Contents, Refused};
use crate::database::LocalStore;
use crate::served::safe;

/// One operation of a transaction. At least one of them must be a write.
#[derive(Clone, Debug)]
pub enum Step {
    Write(Operation),
    /// Creates, or replaces what has this etag; `Precondition` where it is another.
    UpsertIf {
        id: DocumentId,
        body: Bytes,
        if_match: ETag,
    },
    /// `NotFound` when there is none.
    Read(DocumentId),
}

impl Step {
    fn body_bytes(&self) -> usize {
        match self {
            Self::Write(operation) => operation.body_bytes(),
            Self::UpsertIf { body, .. } => body.len(),
            Self::Read(_) => 0,
        }
    }
}

/// What became of one operation.
#[derive(Clone, Debug)]
pub struct Done {
    /// Of what was read or written; `None` for a delete.
    pub etag: Option<ETag>,
    /// Whether nothing was there before.
    pub is_new: bool,
    pub charge: RequestCharge,
    /// The document with the store's own fields, as it was at this point of the transaction: for reads, and for writes where asked for.
    pub body: Option<Bytes>,
}

/// What became of a transaction.
#[derive(Debug)]
pub enum Transacted {
    Committed {
        done: Vec<Done>,
        charge: RequestCharge,
        session: SessionToken,
    },
    /// Nothing took effect; `error` is about the operation at `index`.
    Refused {
        index: usize,
        error: Error,
        charge: RequestCharge,
    },
}

impl LocalStore {
    /// All steps or none, in one commit, each seeing those before it. With `contents`, writes give back what they wrote. What the
    /// answer shows survives a power cut, as with [`LocalStore::served`].
    pub async fn transact(
        &self,
        (database, container): (&str, &str),
        key: &PartitionKey,
        steps: Vec<Step>,
        contents: bool,
    ) -> Result<Transacted> {
        let core = self.core(database, container)?;
        core.schema.check_key(key)?;
        check_limits(core.name(), steps.len(), steps.iter().map(Step::body_bytes).sum())?;
        let mut prepared = Vec::with_capacity(steps.len());
        for (index, step) in steps.into_iter().enumerate() {
            let step = match step {
                Step::Write(operation) => Prepared::new(&core.schema, key, operation),
                Step::UpsertIf { id, body, if_match } => {
                    Prepared::new(&core.schema, key, Operation::Upsert { id, body })
                        .map(|upsert| Prepared { if_match: Some(if_match), ..upsert })
                }
                Step::Read(id) => Ok(Prepared::read(id)),
            };
            match step {
                Ok(step) => prepared.push(step),
                Err(error) => return Ok(Transacted::Refused { index, error, charge: core.charge().refused() }),
            }
        }
        let contents = if contents { Contents::OfAll } else { Contents::OfReads };
        Ok(match commit_durably(&core, key, &prepared, contents).await? {
            Ok(Committed { done, charge, session, .. }) => Transacted::Committed { done, charge, session },
            // It tells what is there.
            Err(Refused { index, error, charge }) => {
                safe(self.storage(), Ok(Transacted::Refused { index, error, charge })).await?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use feedmill_clock::ManualClock;
    use feedmill_store_api::{ContainerSpec, ErrorKind};
    use futures::FutureExt;
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::Options;

    fn store() -> LocalStore {
        let clock = ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap());
        let store = LocalStore::memory(Options::default(), Arc::new(clock));
        let database = store.database("d").now_or_never().unwrap().unwrap();
        database.provision(&ContainerSpec::new("c", "/k")).now_or_never().unwrap().unwrap();
        store
    }

    fn transact(store: &LocalStore, steps: Vec<Step>) -> Transacted {
        store.transact(("d", "c"), &PartitionKey::from("k"), steps, true).now_or_never().unwrap().unwrap()
    }

    fn id(id: &str) -> DocumentId {
        DocumentId::new(id).unwrap()
    }

    fn body(id: &str, n: u32) -> Bytes {
        format!(r#"{{"id":"{id}","k":"k","n":{n}}}"#).into()
    }

    fn upsert(name: &str, n: u32) -> Step {
        Step::Write(Operation::Upsert { id: id(name), body: body(name, n) })
    }

    fn committed(transacted: Transacted) -> Vec<Done> {
        match transacted {
            Transacted::Committed { done, .. } => done,
            refused => panic!("{refused:?}"),
        }
    }

    fn n(done: &Done) -> Value {
        serde_json::from_slice::<Value>(done.body.as_ref().unwrap()).unwrap()["n"].clone()
    }

    #[test]
    fn a_read_sees_what_stands_before_it_and_nothing_behind() {
        let store = store();
        committed(transact(&store, vec![upsert("a", 1)]));
        let steps = vec![Step::Read(id("a")), upsert("a", 2), Step::Read(id("a")), upsert("a", 3), upsert("b", 4)];
        let done = committed(transact(&store, steps));
        assert_eq!(done.iter().map(n).collect::<Vec<_>>(), [1, 2, 2, 3, 4]);
        assert_eq!(done.iter().map(|done| done.is_new).collect::<Vec<_>>(), [false, false, false, false, true]);
        assert_eq!(done[1].etag, done[2].etag);
        assert_ne!(done[2].etag, done[3].etag);
    }

    #[test]
    fn a_read_of_nothing_undoes_the_whole() {
        let store = store();
        let refused = transact(&store, vec![upsert("a", 1), Step::Read(id("b"))]);
        let Transacted::Refused { index: 1, error, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let refused = transact(&store, vec![Step::Read(id("a")), upsert("a", 1)]);
        assert!(matches!(refused, Transacted::Refused { index: 0, .. }), "{refused:?}");
    }

    #[test]
    fn an_upsert_on_condition_creates_or_replaces_that_version_alone() {
        let store = store();
        let upsert_if = |etag: &ETag| Step::UpsertIf { id: id("a"), body: body("a", 7), if_match: etag.clone() };
        let made = committed(transact(&store, vec![upsert_if(&ETag::new("\"none\""))]));
        assert!(made[0].is_new);
        let etag = made[0].etag.clone().unwrap();
        let again = committed(transact(&store, vec![upsert_if(&etag)]));
        assert!(!again[0].is_new);
        let refused = transact(&store, vec![upsert_if(&etag)]);
        let Transacted::Refused { error, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind(), ErrorKind::Precondition);
    }
}
