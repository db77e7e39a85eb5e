//! One batch: created straight away where nothing is expected, otherwise read, decided and written on the condition of
//! what was read.

use feedmill_store_api::{BatchOutcome, Container, Document, DocumentId, Error, Operation, ReadLevel, RequestCharge};
use serde::Deserialize;
use serde_json::Value;

use super::batches::Batch;
use super::patience::{Patience, Verdict};
use super::{LoadError, Loader};
use crate::SourceWrite;

#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) written: u64,
    pub(super) unchanged: u64,
    pub(super) charge: RequestCharge,
    /// Whether any of the documents was there before.
    pub(super) met: bool,
}

/// A store's failure, and which of the batch's documents it concerns.
struct Failure {
    index: usize,
    error: Error,
}

impl Loader {
    pub(super) async fn settle(
        &self,
        container: &dyn Container,
        batch: Batch,
        mut read_first: bool,
    ) -> Result<Settled, LoadError> {
        let mut settled = Settled::default();
        let mut patience = Patience::new(&*self.clock, &self.entropy, self.options.give_up_after);
        loop {
            let Failure { index, error } = match attempt(container, &batch, read_first, &mut settled).await {
                Ok(written) => {
                    settled.written = written;
                    settled.unchanged = batch.writes.len() as u64 - written;
                    return Ok(settled);
                }
                Err(failure) => failure,
            };
            let id = || batch.writes[index].id.to_string();
            match patience.after(error).await {
                Verdict::ReadAgain => read_first = true,
                Verdict::SendAgain => {}
                Verdict::Fail(source) => {
                    return Err(LoadError::Store { container: batch.container, id: id(), source });
                }
                Verdict::GiveUp(tried, source) => {
                    return Err(LoadError::GaveUp { container: batch.container, id: id(), tried, source });
                }
            }
        }
    }
}

/// How many documents were written.
async fn attempt(
    container: &dyn Container,
    batch: &Batch,
    read_first: bool,
    settled: &mut Settled,
) -> Result<u64, Failure> {
    let mut operations = if read_first {
        let ids: Vec<DocumentId> = batch.writes.iter().map(|write| write.id.clone()).collect();
        let read = container.read_many(&batch.key, &ids, &ReadLevel::Quorum).await;
        let (stored, charge) = read.map_err(|error| Failure { index: 0, error })?;
        settled.charge += charge;
        settled.met |= stored.iter().any(Option::is_some);
        operations(&batch.writes, &stored)
    } else {
        batch.writes.iter().map(create).enumerate().collect()
    };
    let written = operations.len() as u64;
    if operations.len() > 1 {
        let (indexes, operations): (Vec<_>, Vec<_>) = operations.into_iter().unzip();
        match container.batch(&batch.key, operations).await.map_err(|error| Failure { index: indexes[0], error })? {
            BatchOutcome::Committed { charge, .. } => settled.charge += charge,
            BatchOutcome::Refused { index, error, charge } => {
                settled.charge += charge;
                return Err(Failure { index: indexes.get(index).copied().unwrap_or_default(), error });
            }
        }
    } else if let Some((index, operation)) = operations.pop() {
        let done = container.write(&batch.key, operation).await.map_err(|error| Failure { index, error })?;
        settled.charge += done.charge;
    }
    Ok(written)
}

/// What is to be done, each with the index of its write. An older version never replaces a newer one, and an equal one
/// is there already.
fn operations(writes: &[SourceWrite], stored: &[Option<Document>]) -> Vec<(usize, Operation)> {
    let operation = |(index, (write, stored)): (usize, (&SourceWrite, &Option<Document>))| match stored {
        None => Some((index, create(write))),
        Some(stored) if version(stored).is_some_and(|version| version >= write.version) => None,
        Some(stored) => {
            let (id, body) = (write.id.clone(), write.body.clone());
            Some((index, Operation::Replace { id, body, if_match: Some(stored.etag.clone()) }))
        }
    };
    writes.iter().zip(stored).enumerate().filter_map(operation).collect()
}

fn create(write: &SourceWrite) -> Operation {
    Operation::Create { id: write.id.clone(), body: write.body.clone() }
}

/// `None` for a document that the loader did not write: it is older than everything.
fn version(stored: &Document) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default)]
        version: Value,
    }
    stored.parse::<Version>().ok()?.version.as_u64()
}
