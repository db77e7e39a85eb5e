use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Index, SourceDocument};
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Projection, Reader, SettleError, SourceRef};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Raised when the same source would give another index document.
const REV: u32 = 1;

/// One index of a source.
pub(crate) struct Rekeyed {
    index: Index,
    source: Arc<str>,
}

/// Where a document lives in the source container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) key: PartitionKey,
    pub(crate) id: DocumentId,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    pub(crate) address: Address,
}

/// Source documents as they were read; `None` for one that is not there.
pub(crate) type Sources = Arc<BTreeMap<Origin, Option<Document>>>;

impl Rekeyed {
    pub(crate) fn new(index: Index) -> Self {
        Self { index, source: index.source().into() }
    }
}

impl Projection for Rekeyed {
    type Target = Target;
    type Sources = Sources;

    fn container(&self) -> &str {
        self.index.container()
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
            let mut wanted: BTreeMap<&PartitionKey, Vec<DocumentId>> = BTreeMap::new();
            for Target { origin, .. } in targets {
                wanted.entry(&origin.key).or_default().push(origin.id.clone());
            }
            let mut sources = BTreeMap::new();
            for (key, ids) in wanted {
                let found = reader.read_many(&self.source, key, &ids).await?;
                let origins = ids.into_iter().map(|id| Origin { key: key.clone(), id });
                sources.extend(origins.zip(found));
            }
            Ok(Arc::new(sources))
        }
        .boxed()
    }

    fn compute(&self, target: &Target, sources: &Sources, _current: Option<&Document>) -> Result<Desired, String> {
        let found = sources.get(&target.origin).expect("whoever names a target gives its source");
        let etag = found.as_ref().map(|document| document.etag.clone());
        let from = SourceRef(Arc::clone(&self.source), target.origin.id.as_str().to_owned(), etag);
        let basis = Basis::Sources { rev: REV, sources: vec![from] };
        let Some(document) = found else {
            // Nothing is left that could say when: any time that is always the same will do.
            return Ok(Desired::Absent { deleted_at: jiff::Timestamp::UNIX_EPOCH, basis });
        };
        let source = SourceDocument::decode(self.index, &document.body).map_err(|error| error.to_string())?;
        let expires = source.ttl_seconds().map_or(Expiry::ContainerDefault, Expiry::Seconds);
        let fields = Fields::of(&self.index.fields(source)).map_err(|error| error.to_string())?;
        Ok(Desired::Document { fields, expires, basis })
    }
}
