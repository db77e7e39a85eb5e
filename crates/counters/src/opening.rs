use std::sync::Arc;

use feedmill_documents::counter::Counter;
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Projection, Reader, SettleError};
use feedmill_store_api::{Document, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::recount::Target;

/// Counters that are there from now on, counted for nothing; those that were are left alone.
///
/// A reaction may change its type, and then nothing names the type that it had but the counter itself. So a counter is made
/// before it says anything: one that is made late, when nobody knows of it any more, says 0, which is right, and what it is
/// replaced by is on the condition that nobody counted it meanwhile.
pub(crate) struct Opening {
    /// Of the counters.
    pub(crate) container: Arc<str>,
    pub(crate) subject: PartitionKey,
    pub(crate) container_rid: Arc<str>,
}

impl Opening {
    fn for_nothing(&self) -> Basis {
        Basis::Count { container_rid: Arc::clone(&self.container_rid), lsn: 0 }
    }
}

impl Projection for Opening {
    type Target = Target;
    type Sources = ();

    fn container(&self) -> &str {
        &self.container
    }

    fn address(&self, target: &Target) -> Address {
        Address { key: self.subject.clone(), id: target.id.clone() }
    }

    fn basis(&self, _target: &Target) -> Option<Basis> {
        Some(self.for_nothing())
    }

    fn read<'a>(&'a self, _: &'a [Target], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn compute(&self, target: &Target, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        if current.is_some_and(|current| current.parse::<Counter>().is_ok()) {
            // Also for who repairs: it says more than nothing.
            return Ok(Desired::Leave);
        }
        let counter = Counter { name: target.name.clone(), value: 0 };
        let fields = Fields::of(&counter).map_err(|error| error.to_string())?;
        Ok(Desired::Document { fields, expires: Expiry::ContainerDefault, basis: self.for_nothing() })
    }
}
