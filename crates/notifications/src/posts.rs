use feedmill_documents::notification::Kind;
use feedmill_documents::{Changed, DecodeError, Post, changed, listed};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, Query};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::early::Early;
use crate::processors::container;
use crate::projection::Notifications;
use crate::{Options, causes};

/// Causes read at once.
const PAGE_ITEMS: usize = 1_000;

/// A post changed: reactions and replies that came before it could not tell anybody.
///
/// They left a note (see `early.rs`). Where there is one, every change of the post looks at its reactions and replies again;
/// those already told cost reads, no writes. Most posts have none.
pub(crate) struct PostHandler {
    pub(crate) options: Options,
}

impl Handler for PostHandler {
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
            for Changed { index, .. } in documents {
                // Whose post it is never changes, so whichever version says it will do.
                match Post::decode(&delivery.changes[index].body) {
                    Ok(post) if Early::is_noted(&post.post_id, settler.reader()).await? => {
                        for kind in [Kind::Reaction, Kind::Reply] {
                            self.settle(kind, &post.author_id, delivery, settler).await?;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => outcome.reject(index, error.to_string()),
                }
            }
            Ok(outcome)
        }
        .boxed()
    }
}

impl PostHandler {
    async fn settle(
        &self,
        kind: Kind,
        author: &str,
        delivery: &Delivery,
        settler: &Settler<'_>,
    ) -> Result<(), SettleError> {
        let (container, query) = (container(kind), Query::new("SELECT * FROM c"));
        let projection = Notifications::new(&self.options, delivery);
        let mut continuation = None;
        loop {
            let page = settler.reader().query(container, &delivery.key, &query, PAGE_ITEMS, continuation).await?;
            let found =
                page.items.into_iter().map(listed).collect::<Result<Vec<(DocumentId, Document)>, DecodeError>>();
            let found = found.map_err(|error| {
                SettleError::Invalid(format!("list the documents of {} in {container}: {error}", delivery.key))
            })?;
            let targets = causes::listed(kind, &delivery.key, author, found, &self.options);
            projection.tell(targets, settler).await?;
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(());
            }
        }
    }
}
