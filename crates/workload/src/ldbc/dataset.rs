use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::error::Error;
use super::events::EventRows;
use super::files::Files;
use super::snapshot::{Counts, Snapshot};
use super::stream::Stream;

/// A soft delete must outlive the longest outage that one wants to survive.
const WITHDRAWN_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A data folder that was read once from end to end without an error.
#[derive(Clone, Debug)]
pub struct Dataset {
    files: Files,
    counts: Counts,
    events: u64,
    withdrawn_ttl: Duration,
}

impl Dataset {
    /// Reads everything once, so that nothing is written from a folder with a mistake in it.
    ///
    /// Takes memory for the network (ids and times), not for the texts.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let files = Files::find(folder.as_ref())?;
        let mut dataset = Self { files, counts: Counts::default(), events: 0, withdrawn_ttl: WITHDRAWN_TTL };
        let (stream, counts) = dataset.stream_and_counts(None)?;
        dataset.counts = counts;
        for event in stream {
            event?;
            dataset.events += 1;
        }
        Ok(dataset)
    }

    /// How long a withdrawn source document stays: 30 days when not told otherwise. Whole seconds, at least one.
    #[must_use]
    pub fn withdrawn_ttl(mut self, ttl: Duration) -> Self {
        self.withdrawn_ttl = ttl;
        self
    }

    /// Rows of the whole snapshot. A friendship becomes two documents, everything else one.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Events of the whole stream.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The snapshot's source documents, of what was created before `until`; causes come before effects.
    ///
    /// Stubs have no time and are always there.
    pub fn snapshot(&self, until: Option<Timestamp>) -> Result<Snapshot, Error> {
        Snapshot::new(self.files.clone(), until)
    }

    /// The events before `until` that follow [`Self::snapshot`] with the same `until`. Reads the snapshot again, for
    /// what a delete takes along.
    pub fn stream(&self, until: Option<Timestamp>) -> Result<Stream, Error> {
        Ok(self.stream_and_counts(until)?.0)
    }

    fn stream_and_counts(&self, until: Option<Timestamp>) -> Result<(Stream, Counts), Error> {
        let (network, counts) = self.snapshot(until)?.into_network()?;
        let rows = self.files.events.as_deref().map(EventRows::open).transpose()?;
        let ttl_seconds = self.withdrawn_ttl.as_secs().clamp(1, i32::MAX as u64);
        let ttl_seconds = u32::try_from(ttl_seconds).expect("clamped to what fits");
        Ok((Stream::new(rows, network, until, ttl_seconds), counts))
    }
}
