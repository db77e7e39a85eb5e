use feedmill_documents::fan_out::{Chunk, State};
use feedmill_documents::{Changed, Post, changed};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler, SourceRef};
use feedmill_store_api::{Document, DocumentId};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::UserFeed;
use crate::fan_out::PAGE_ITEMS;
use crate::pages::Pages;
use crate::plan::{Cutter, Interval};
use crate::posts::Posts;
use crate::work::{Added, CutPoints, Done, Finished};

/// Work was written down: settles one post for one interval of its author's followers, page by page, and says that it is
/// done.
///
/// A crash begins the chunk again, where what was settled before costs a read. The post is read before the followers: if
/// it changes meanwhile the chunk becomes work again, and what is said to be done here is refused.
pub(crate) struct ChunkHandler {
    projection: UserFeed,
}

impl ChunkHandler {
    pub(crate) fn new(projection: UserFeed) -> Self {
        Self { projection }
    }

    async fn settle(
        &self,
        id: DocumentId,
        chunk: Chunk,
        found: Document,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), SettleError> {
        let (projection, author) = (&self.projection, chunk.author_id.as_str());
        let post = Post::id(&chunk.post_id).map_err(|error| SettleError::Invalid(error.to_string()))?;
        let current = settler.reader().read(&projection.posts, &author.into(), &post).await?;
        let posts = Posts::of(author, [(post, 0, current)], projection, outcome);
        let interval = Interval { from: chunk.from.clone(), until: chunk.until.clone() };
        let query = interval.query(author).map_err(|error| SettleError::Invalid(error.to_string()))?;
        let every = projection.options.fan_out_inline_max.get();
        let (mut cutter, mut followers) = (Cutter::new(every, false), 0);
        let mut pages = Pages::new(settler.reader(), &projection.edges, author, query, PAGE_ITEMS);
        while let (false, Some(page)) = (posts.is_empty(), pages.next().await?) {
            posts.settle_among(projection, &page, settler, outcome).await?;
            followers += page.len();
            page.iter().for_each(|(edge, _)| cutter.see(edge));
        }
        if !outcome.rejected.is_empty() {
            // It stays work, for as long as it is a dead letter.
            return Ok(());
        }
        if followers > 2 * every {
            let seen = SourceRef(projection.work.clone(), id.as_str().to_owned(), Some(found.etag.clone()));
            settler
                .settle(
                    &CutPoints { work: projection.work.clone() },
                    vec![Added::new(author, cutter.cuts(), seen)?],
                    None,
                )
                .await?;
        }
        settler
            .settle(&Finished { work: projection.work.clone() }, vec![Done { id, chunk, etag: found.etag }], None)
            .await
    }
}

/// Whether a version of a document of `fanOut` is work.
fn is_work(json: &[u8]) -> Result<bool, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        chunk: Option<u32>,
        state: Option<State>,
    }
    let Kind { chunk, state } = serde_json::from_slice(json)?;
    Ok(chunk.is_some() && state != Some(State::Done))
}

impl Handler for ChunkHandler {
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
            for Changed { id, index } in documents {
                match is_work(&delivery.changes[index].body) {
                    // Whatever makes it work again is another change.
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(error) => {
                        outcome.reject(index, error.to_string());
                        continue;
                    }
                }
                let Some(found) = settler.reader().read(&delivery.container, &delivery.key, &id).await? else {
                    continue;
                };
                match found.parse::<Chunk>() {
                    Ok(chunk) if chunk.state == State::Done => {}
                    Ok(chunk) => {
                        let mut of_chunk = Outcome::default();
                        self.settle(id, chunk, found, settler, &mut of_chunk).await?;
                        of_chunk.rejected.into_iter().for_each(|rejected| outcome.reject(index, rejected.reason));
                    }
                    Err(error) => outcome.reject(index, error.to_string()),
                }
            }
            Ok(outcome)
        }
        .boxed()
    }
}
