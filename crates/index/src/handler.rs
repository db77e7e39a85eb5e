use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Changed, Index, SourceDocument, changed};
use feedmill_engine::{Address, Delivery, Handler, Outcome, Processor, SettleError, Settler, StartFrom};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::projection::{Origin, Rekeyed, Sources, Target};
use crate::{NAME, Options};

/// One processor for each source, all of one name.
pub fn processors(options: &Options, start: StartFrom) -> Vec<Processor> {
    let mut sources: BTreeMap<&'static str, Vec<Index>> = BTreeMap::new();
    for index in Index::ALL.into_iter().filter(|&index| options.keeps(index)) {
        sources.entry(index.source()).or_default().push(index);
    }
    let processor = |(source, indexes): (&str, _)| Processor {
        name: NAME.to_owned(),
        source: source.to_owned(),
        start,
        handler: Arc::new(IndexHandler { indexes }),
        gather: false,
        ranges_min: 1,
    };
    sources.into_iter().map(processor).collect()
}

/// Keeps all indexes of one source.
struct IndexHandler {
    /// Never empty, of one source.
    indexes: Vec<Index>,
}

impl Handler for IndexHandler {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let mut outcome = Outcome::default();
            let (documents, rejected) = changed(&delivery.changes);
            for (index, error) in rejected {
                outcome.reject(index, error.to_string());
            }
            let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
            let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
            let origins = ids.into_iter().map(|id| Origin { key: delivery.key.clone(), id });
            let sources: Sources = Arc::new(origins.zip(found).collect());

            let mut targets = vec![Vec::new(); self.indexes.len()];
            for changed in documents {
                let index = changed.index;
                if let Err(reason) = self.name(delivery, changed, &sources, &mut targets) {
                    outcome.reject(index, reason);
                }
            }
            for (&index, targets) in self.indexes.iter().zip(targets) {
                if !targets.is_empty() {
                    settler.settle(&Rekeyed::new(index), targets, Some(Arc::clone(&sources))).await?;
                }
            }
            Ok(outcome)
        }
        .boxed()
    }
}

impl IndexHandler {
    /// Names the targets of one document. Identity fields never change, so the document as it is now names the same ones
    /// as the delivered change, which speaks only where the document is gone.
    fn name(
        &self,
        delivery: &Delivery,
        changed: Changed,
        sources: &Sources,
        targets: &mut [Vec<Target>],
    ) -> Result<(), String> {
        let origin = Origin { key: delivery.key.clone(), id: changed.id };
        let body = match sources.get(&origin) {
            Some(Some(document)) => &document.body,
            _ => &delivery.changes[changed.index].body,
        };
        let source = SourceDocument::decode(self.indexes[0], body).map_err(|error| error.to_string())?;
        // All or none: what one index refuses as unusable must not be half there.
        let places = self.indexes.iter().map(|index| index.place(&source)).collect::<Result<Vec<_>, _>>();
        for (place, targets) in places.map_err(|error| error.to_string())?.into_iter().zip(targets) {
            if let Some((key, id)) = place {
                targets.push(Target { origin: origin.clone(), address: Address { key, id } });
            }
        }
        Ok(())
    }
}
