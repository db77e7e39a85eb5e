use feedmill_documents::fan_out::{Chunk, Cuts, chunk_id, cuts_id};
use feedmill_documents::{IdError, changed, subject};
use feedmill_engine::{Delivery, Handler, Outcome, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::UserFeed;
use crate::pages::Pages;
use crate::plan::{Cutter, Interval, follower_of, intervals};
use crate::posts::Posts;
use crate::work::{Added, CutPoints, Plan, Planned};

/// A page of edges.
type Edges = Vec<(DocumentId, Document)>;

/// Followers read at once.
pub(crate) const PAGE_ITEMS: usize = 1_000;
/// Followers read before it is known whether they are cut into chunks: all that most authors have, and little of what the
/// chunks read again.
const FIRST_PAGE_ITEMS: usize = 100;

/// Posts changed: the feeds of all their author's followers may be wrong, those of withdrawn and muted edges included.
///
/// Up to `fan_out_inline_max` followers are settled here. Those of an author who was ever seen to have more are cut into
/// chunks, written down as work for all hosts: then a change of a post costs here what there are chunks, not followers.
pub(crate) struct FanOut {
    projection: UserFeed,
}

impl FanOut {
    pub(crate) fn new(projection: UserFeed) -> Self {
        Self { projection }
    }

    /// Reads the posts afresh.
    async fn posts(
        &self,
        author: &str,
        delivery: &Delivery,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<Posts, SettleError> {
        let (documents, rejected) = changed(&delivery.changes);
        for (index, error) in rejected {
            outcome.reject(index, error.to_string());
        }
        let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
        let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
        let found = documents.into_iter().zip(found).map(|(changed, found)| (changed.id, changed.index, found));
        Ok(Posts::of(author, found, &self.projection, outcome))
    }

    /// Settles the posts among all followers, given by the first page and those behind it, or among the first so many that
    /// may be, and then gives the cut points of the others: the first of them, and every so manieth.
    async fn settle_inline(
        &self,
        posts: &Posts,
        first: Edges,
        mut pages: Pages<'_>,
        settler: &Settler<'_>,
        outcome: &mut Outcome,
    ) -> Result<Option<Vec<String>>, SettleError> {
        let max = self.projection.options.fan_out_inline_max.get();
        let (mut settled, mut cutter, mut next) = (0, None, Some(first));
        while let Some(page) = next {
            if cutter.is_none() && settled + page.len() <= max {
                posts.settle_among(&self.projection, &page, settler, outcome).await?;
                settled += page.len();
            } else {
                let cutter = cutter.get_or_insert_with(|| Cutter::new(max, true));
                page.iter().filter(|(edge, _)| follower_of(edge).is_some()).for_each(|(edge, _)| cutter.see(edge));
            }
            next = pages.next().await?;
        }
        Ok(cutter.map(Cutter::cuts))
    }

    /// Writes down what is to be done of each post: the chunks it was cut into before, or those between `cuts`.
    /// `first_is_done`: the followers before the first cut have these versions already.
    async fn plan(
        &self,
        posts: &Posts,
        cuts: &[String],
        first_is_done: bool,
        settler: &Settler<'_>,
    ) -> Result<(), SettleError> {
        let plan = Plan {
            author: posts.author.clone(),
            posts: self.projection.posts.clone(),
            work: self.projection.work.clone(),
        };
        for (post, source, _) in posts.iter() {
            let first: Option<Chunk> = self.work(chunk_id(post, 0), settler).await?;
            let cuts = first.map_or(cuts.to_vec(), |first| first.cuts);
            let etag = &source.reference.2;
            let settled = |number| etag.clone().filter(|_| first_is_done && number == 0);
            let chunks = intervals(&cuts).into_iter().enumerate();
            let targets = chunks.map(|(number, interval)| Planned::new(post, number, interval, &cuts, settled(number)));
            let targets = targets.collect::<Result<_, _>>()?;
            settler.settle(&plan, targets, Some([(post.clone(), etag.clone())].into())).await?;
        }
        Ok(())
    }

    /// A document of `fanOut`; `None` where there is none that could be understood.
    async fn work<T: DeserializeOwned>(
        &self,
        id: Result<DocumentId, IdError>,
        settler: &Settler<'_>,
    ) -> Result<Option<T>, SettleError> {
        let id = id.map_err(invalid)?;
        let key = PartitionKey::from(id.as_str());
        let found = settler.reader().read(&self.projection.work, &key, &id).await?;
        Ok(found.and_then(|found| found.parse().ok()))
    }
}

fn invalid(error: IdError) -> SettleError {
    SettleError::Invalid(error.to_string())
}

impl Handler for FanOut {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let mut outcome = Outcome::default();
            let author = match subject(&delivery.key) {
                Ok(author) => author,
                Err(error) => {
                    (0..delivery.changes.len()).for_each(|index| outcome.reject(index, error.to_string()));
                    return Ok(outcome);
                }
            };
            let posts = self.posts(author, delivery, settler, &mut outcome).await?;
            if posts.is_empty() {
                return Ok(outcome);
            }
            if self.projection.options.own_posts {
                posts.settle_own(&self.projection, settler, &mut outcome).await?;
            }
            let everybody = Interval { from: None, until: None }.query(author).map_err(invalid)?;
            let inline_max = self.projection.options.fan_out_inline_max.get();
            let first_items = FIRST_PAGE_ITEMS.min(inline_max);
            let mut pages = Pages::new(settler.reader(), &self.projection.edges, author, everybody, first_items);
            let first = pages.next().await?.unwrap_or_default();
            pages.items_max = PAGE_ITEMS.min(inline_max);
            if pages.is_at_end() {
                posts.settle_among(&self.projection, &first, settler, &mut outcome).await?;
            } else if let Some(Cuts { cuts }) = self.work(cuts_id(author), settler).await? {
                self.plan(&posts, &cuts, false, settler).await?;
            } else if let Some(cuts) = self.settle_inline(&posts, first, pages, settler, &mut outcome).await? {
                let (_, first, _) = posts.iter().next().expect("there is a post: it was looked at above");
                let added = Added::new(author, cuts.clone(), first.reference.clone())?;
                settler.settle(&CutPoints { work: self.projection.work.clone() }, vec![added], None).await?;
                self.plan(&posts, &cuts, true, settler).await?;
            }
            Ok(outcome)
        }
        .boxed()
    }
}
