use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::IdError;
use feedmill_documents::counter::{self, Counter};
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Projection, Reader, SettleError};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::measure::Measure;

/// The counters of one subject that one container's changes may have made wrong.
pub(crate) struct Recount {
    pub(crate) measure: Measure,
    /// Of the counters.
    pub(crate) container: Arc<str>,
    pub(crate) subject: PartitionKey,
    /// What is counted now is counted for these changes: those of this container up to this LSN. Counted by hand, up to
    /// the one that it was counted for before: a count is never older than what it was read after.
    pub(crate) container_rid: Arc<str>,
    pub(crate) lsn: Option<u64>,
}

/// For what a stored counter was counted.
#[derive(Default, Deserialize)]
struct Stored {
    #[serde(rename = "asOf", default)]
    as_of: AsOf,
}

#[derive(Default, Deserialize)]
struct AsOf {
    container: String,
    lsn: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) id: DocumentId,
}

impl Target {
    pub(crate) fn new(subject: &str, name: String) -> Result<Self, IdError> {
        Ok(Self { id: counter::id(subject, &name)?, name })
    }
}

impl Recount {
    /// The subject's values as they are now, by counter name. What is not there is 0.
    pub(crate) async fn count(&self, reader: &Reader<'_>) -> Result<BTreeMap<String, u64>, SettleError> {
        let container = self.measure.container();
        let results = reader.query_all(container, &self.subject, &self.measure.query()).await?;
        self.measure.values(&results).map_err(|error| {
            SettleError::Invalid(format!("count the documents of {} in {container}: {error}", self.subject))
        })
    }
}

impl Projection for Recount {
    type Target = Target;
    type Sources = BTreeMap<String, u64>;

    fn container(&self) -> &str {
        &self.container
    }

    fn address(&self, target: &Target) -> Address {
        Address { key: self.subject.clone(), id: target.id.clone() }
    }

    fn basis(&self, _target: &Target) -> Option<Basis> {
        self.lsn.map(|lsn| Basis::Count { container_rid: Arc::clone(&self.container_rid), lsn })
    }

    fn read<'a>(
        &'a self,
        _targets: &'a [Target],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Self::Sources, SettleError>> {
        self.count(reader).boxed()
    }

    fn compute(&self, target: &Target, values: &Self::Sources, current: Option<&Document>) -> Result<Desired, String> {
        let value = values.get(&target.name).copied().unwrap_or_default();
        let fields = Fields::of(&Counter { name: target.name.clone(), value }).map_err(|error| error.to_string())?;
        let counted_for = || {
            let Stored { as_of } = current.and_then(|current| current.parse().ok()).unwrap_or_default();
            if *as_of.container == *self.container_rid { as_of.lsn } else { 0 }
        };
        let lsn = self.lsn.unwrap_or_else(counted_for);
        let basis = Basis::Count { container_rid: Arc::clone(&self.container_rid), lsn };
        // The container's own time to live applies.
        Ok(Desired::Document { fields, expires: Expiry::ContainerDefault, basis })
    }
}
