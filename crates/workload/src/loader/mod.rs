//! Writes source documents into a store. The loader settles too: what the store has in the same or a newer version is
//! left alone, so a load may be killed and repeated, and a repeated one writes nothing.
//!
//! Read `batches.rs` for what is sent together, `settle.rs` for when something is written.

mod batches;
mod options;
mod patience;
mod settle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Container, Database, RequestCharge};
use futures::{StreamExt, TryStreamExt, stream};

pub use options::Options;

use crate::SourceWrite;
use crate::ldbc::{self, Event};

/// Writes source documents into the containers of one database.
pub struct Loader {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    options: Options,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Events taken from the stream.
    pub events: u64,
    /// Writes taken; several may concern one document.
    pub writes: u64,
    /// Documents created or replaced. One whose reply was lost may be missing here and be in `unchanged`.
    pub written: u64,
    /// Documents that the store had in this or a newer version.
    pub unchanged: u64,
    pub charge: RequestCharge,
}

/// Why a load ended early. What was written stays, and a repeated load goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Input(#[from] ldbc::Error),
    #[error("open container {container} to load into it")]
    Container { container: &'static str, source: feedmill_store_api::Error },
    #[error("load {id} into {container}")]
    Store { container: &'static str, id: String, source: feedmill_store_api::Error },
    #[error("load {id} into {container}: gave up after {tried:?}")]
    GaveUp { container: &'static str, id: String, tried: Duration, source: feedmill_store_api::Error },
}

type Containers = BTreeMap<&'static str, Arc<dyn Container>>;

impl Loader {
    pub fn new(database: Arc<dyn Database>, clock: Arc<dyn Clock>, entropy: Entropy, options: Options) -> Self {
        Self { database, clock, entropy, options }
    }

    /// Writes all documents of a snapshot. `progress` is called after each chunk.
    ///
    /// Reads its input on the calling task. Dropping the future is safe.
    pub async fn load(
        &self,
        writes: impl IntoIterator<Item = Result<SourceWrite, ldbc::Error>>,
        progress: impl FnMut(&Progress),
    ) -> Result<Progress, LoadError> {
        let steps = writes.into_iter().map(|write| write.map(|write| (0, vec![write])));
        self.run(steps, progress).await
    }

    /// Writes what the events of a stream make of the documents. Of each document versions only go up; of those in one
    /// chunk only the last is written.
    pub async fn replay(
        &self,
        events: impl IntoIterator<Item = Result<Event, ldbc::Error>>,
        progress: impl FnMut(&Progress),
    ) -> Result<Progress, LoadError> {
        let steps = events.into_iter().map(|event| event.map(|event| (1, event.writes)));
        self.run(steps, progress).await
    }

    /// `steps`: how many events, and their writes.
    async fn run(
        &self,
        mut steps: impl Iterator<Item = Result<(u64, Vec<SourceWrite>), ldbc::Error>>,
        mut report: impl FnMut(&Progress),
    ) -> Result<Progress, LoadError> {
        let mut containers = Containers::new();
        let mut progress = Progress::default();
        let mut met = false;
        loop {
            let mut chunk = Vec::new();
            let mut events = 0;
            let mut ended = true;
            for step in &mut steps {
                let (more, writes) = step?;
                events += more;
                chunk.extend(writes);
                // Events without writes must not keep the progress from being seen.
                if chunk.len() >= self.options.chunk_writes_max || events >= self.options.chunk_writes_max as u64 {
                    ended = false;
                    break;
                }
            }
            progress.events += events;
            progress.writes += chunk.len() as u64;
            self.open(&chunk, &mut containers).await?;
            met = self.send(chunk, &containers, met, &mut progress).await?;
            report(&progress);
            if ended {
                return Ok(progress);
            }
        }
    }

    async fn open(&self, chunk: &[SourceWrite], containers: &mut Containers) -> Result<(), LoadError> {
        for container in chunk.iter().map(|write| write.container) {
            if !containers.contains_key(container) {
                let opened = self.database.container(container).await;
                containers.insert(container, opened.map_err(|source| LoadError::Container { container, source })?);
            }
        }
        Ok(())
    }

    /// `read_first`: whether documents are expected to be there. Says whether any was.
    async fn send(
        &self,
        chunk: Vec<SourceWrite>,
        containers: &Containers,
        read_first: bool,
        progress: &mut Progress,
    ) -> Result<bool, LoadError> {
        let settle = |batch: batches::Batch| async move {
            let container = &containers[batch.container];
            self.settle(&**container, batch, read_first).await
        };
        let requests = stream::iter(batches::batches(chunk).into_iter().map(settle));
        let mut done = requests.buffer_unordered(self.options.requests_in_flight_max.max(1));
        let mut met = false;
        while let Some(settled) = done.try_next().await? {
            progress.written += settled.written;
            progress.unchanged += settled.unchanged;
            progress.charge += settled.charge;
            met |= settled.met;
        }
        Ok(met)
    }
}

#[cfg(test)]
mod tests;
