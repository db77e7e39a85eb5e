use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_documents::{Reaction, counter, subject};
use feedmill_engine::{Delivery, Handler, Outcome, Processor, Reader, SettleError, Settler, StartFrom};
use feedmill_store_api::{PartitionKey, Query};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::measure::Measure;
use crate::opening::Opening;
use crate::recount::{Recount, Target};
use crate::{Options, name};

/// One processor for each source, all of one name. What counting costs grows with the subject, so changes gather.
pub fn processors(options: &Options, start: StartFrom) -> Vec<Processor> {
    let processor = |measure: Measure| Processor {
        name: name(options),
        source: measure.container().to_owned(),
        start,
        handler: Arc::new(CountHandler { measure, container: options.container.as_str().into() }),
        gather: true,
        ranges_min: 1,
    };
    Measure::ALL.into_iter().filter(|&measure| options.keeps(measure)).map(processor).collect()
}

struct CountHandler {
    measure: Measure,
    /// Of the counters.
    container: Arc<str>,
}

impl Handler for CountHandler {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let mut outcome = Outcome::default();
            let subject = match subject(&delivery.key) {
                Ok(subject) => subject,
                Err(error) => {
                    (0..delivery.changes.len()).for_each(|index| outcome.reject(index, error.to_string()));
                    return Ok(outcome);
                }
            };
            let recount = Recount {
                measure: self.measure,
                container: Arc::clone(&self.container),
                subject: PartitionKey::from(subject),
                container_rid: Arc::clone(&delivery.container_rid),
                lsn: Some(delivery.lsn()),
            };
            let mut unopened = BTreeSet::new();
            let names = match self.measure.counter() {
                Some(name) => BTreeSet::from([name.to_owned()]),
                None => {
                    let mut names = named(delivery, &mut outcome);
                    // The feed does not say which type a reaction was before, and that one's count may have fallen to nothing.
                    let there = stored(&self.container, &recount.subject, settler.reader()).await?;
                    unopened.extend(names.iter().filter(|name| !there.contains(name)).cloned());
                    names.extend(there.into_iter().filter(|name| self.measure.makes(name)));
                    names
                }
            };
            let (mut targets, mut new) = (Vec::with_capacity(names.len()), Vec::new());
            for name in names {
                match Target::new(subject, name) {
                    Ok(target) => {
                        new.extend(unopened.contains(&target.name).then(|| target.clone()));
                        targets.push(target);
                    }
                    Err(error) => outcome.reject(delivery.changes.len().saturating_sub(1), error.to_string()),
                }
            }
            if !new.is_empty() {
                let (subject, container_rid) = (recount.subject.clone(), Arc::clone(&recount.container_rid));
                let container = Arc::clone(&self.container);
                settler.settle(&Opening { container, subject, container_rid }, new, Some(())).await?;
            }
            // Not counted before the targets are read: what was counted for a later change already is done.
            settler.settle(&recount, targets, None).await?;
            Ok(outcome)
        }
        .boxed()
    }
}

/// Counters of the types that the delivered reactions have.
fn named(delivery: &Delivery, outcome: &mut Outcome) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, change) in delivery.changes.iter().enumerate() {
        match Reaction::decode(&change.body) {
            Ok(reaction) => names.extend(reaction.kind.as_deref().map(counter::of_reaction)),
            Err(error) => outcome.reject(index, error.to_string()),
        }
    }
    names
}

/// Names of the counters that the subject has already.
pub(crate) async fn stored(
    container: &str,
    subject: &PartitionKey,
    reader: &Reader<'_>,
) -> Result<Vec<String>, SettleError> {
    let names = reader.query_all(container, subject, &Query::new("SELECT VALUE c.name FROM c")).await?;
    let name = |text: Bytes| serde_json::from_slice::<String>(&text).ok();
    Ok(names.into_iter().filter_map(name).collect())
}
