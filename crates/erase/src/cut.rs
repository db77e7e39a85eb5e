use std::sync::Arc;

use feedmill_documents::fan_out::Cuts;
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Lineage, Projection, Reader, SettleError};
use feedmill_store_api::Document;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

/// Where the followers of an author are cut, without one of them. What stood on either side of that cut becomes one interval,
/// so nobody is left out of the author's next posts.
pub(crate) struct WithoutCut {
    pub(crate) container: String,
    /// As in ids.
    pub(crate) cut: Arc<str>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(flatten)]
    cuts: Cuts,
    #[serde(rename = "_source", default)]
    source: Option<Lineage>,
}

impl Projection for WithoutCut {
    type Target = Address;
    type Sources = ();

    fn container(&self) -> &str {
        &self.container
    }

    fn address(&self, target: &Address) -> Address {
        target.clone()
    }

    fn read<'a>(&'a self, _: &'a [Address], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        async { Ok(()) }.boxed()
    }

    fn compute(&self, _: &Address, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        let Some(Stored { cuts: Cuts { mut cuts }, source }) = current.and_then(|current| current.parse().ok()) else {
            return Ok(Desired::Leave);
        };
        let before = cuts.len();
        cuts.retain(|cut| **cut != *self.cut);
        if cuts.len() == before {
            return Ok(Desired::Leave);
        }
        let Lineage { rev, from } = source.unwrap_or(Lineage { rev: 0, from: Vec::new() });
        let fields = Fields::of(&Cuts { cuts }).map_err(|error| error.to_string())?;
        Ok(Desired::Document { fields, expires: Expiry::Never, basis: Basis::Sources { rev, sources: from } })
    }
}
