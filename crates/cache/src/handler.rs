use std::sync::Arc;

use feedmill_engine::{Delivery, Handler, Outcome, Processor, SettleError, Settler, StartFrom};
use feedmill_store_api::{Error as StoreError, ErrorKind};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Cache, Error, Kind, NAME, OnChange, Subject};

/// One processor for what feeds show and one for counters.
///
/// With [`StartFrom::Now`] they must have started once before the first reader fills the cache, because what changed before
/// they started removes nothing.
pub fn processors(cache: &Cache, start: StartFrom) -> Vec<Processor> {
    let processor = |kind: Kind| Processor {
        name: NAME.to_owned(),
        source: kind.container().to_owned(),
        start,
        handler: Arc::new(CacheHandler { cache: cache.clone(), kind }),
        gather: false,
        ranges_min: 1,
    };
    Kind::ALL.into_iter().map(processor).collect()
}

/// Removes what changed. It settles nothing: a key of the cache is no document, and removing it twice is removing it once.
struct CacheHandler {
    cache: Cache,
    kind: Kind,
}

impl Handler for CacheHandler {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            // What has no text for a key has no key in the cache.
            if let Some(id) = delivery.key.as_str() {
                let subject = Subject { kind: self.kind, id: id.to_owned() };
                let was_there = self.cache.remove(&subject).await.map_err(away)?;
                if was_there && self.cache.options().on_change == OnChange::Refresh {
                    self.refresh(&subject, delivery, settler).await?;
                }
            }
            Ok(Outcome::default())
        }
        .boxed()
    }
}

impl CacheHandler {
    async fn refresh(&self, subject: &Subject, delivery: &Delivery, settler: &Settler<'_>) -> Result<(), SettleError> {
        let permit = self.cache.permit(subject).await.map_err(away)?;
        let items_max = self.kind.items_max(self.cache.options().feed_items_max);
        let reader = settler.reader();
        let page = reader.query(&delivery.container, &delivery.key, &self.kind.query(), items_max, None).await?;
        self.cache.fill(subject, permit, &self.kind.value(&page.items)?).await.map_err(away)?;
        Ok(())
    }
}

/// The engine waits and tries again. To go on without having removed the key would leave a wrong answer behind.
fn away(error: Error) -> SettleError {
    SettleError::Store(StoreError::new(ErrorKind::Unavailable, error.to_string()).with_source(error))
}
