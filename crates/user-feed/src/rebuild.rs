//! One person's feed by hand: every item that should be there, and every item that is there.

use std::sync::Arc;

use feedmill_documents::{Members, containers, id};
use feedmill_engine::{Act, Judged, Projection, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, Query};

use crate::pages::Pages;
use crate::{Target, UserFeed};

/// Documents read at once. Only their ids are kept.
const PAGE_ITEMS: usize = 1_000;

impl UserFeed {
    /// Compares, settles or repairs the feed of one person, page by page. It only settles, so it may run beside
    /// everything else, be repeated, and end anywhere: no feed is ever empty or torn because of it.
    ///
    /// With `backfill_items_max` a back-fill leaves out older posts on purpose; a rebuild brings them.
    pub async fn rebuild(&self, user: &str, act: Act, settler: &Settler<'_>) -> Result<Judged, SettleError> {
        let (user, mut judged) = (Arc::from(user), Judged::default());
        if self.options.own_posts {
            self.rebuild_by(&user, &user, act, settler, &mut judged).await?;
        }
        let mut edges = list(settler, containers::FOLLOWING, &user, "SELECT * FROM c");
        while let Some(page) = edges.next().await? {
            for (edge, _) in page {
                let [_, author] = id::split(edge.as_str()).map_err(invalid)?;
                self.rebuild_by(&user, &author.into(), act, settler, &mut judged).await?;
            }
        }
        self.rebuild_items(self, &user, act, settler, &mut judged).await?;
        Ok(judged)
    }

    /// What is there: what nobody follows any more is in no list of what should be.
    pub(crate) async fn rebuild_items<P: Projection<Target = Target>>(
        &self,
        projection: &P,
        user: &Arc<str>,
        act: Act,
        settler: &Settler<'_>,
        judged: &mut Judged,
    ) -> Result<(), SettleError> {
        let live = "SELECT * FROM c WHERE NOT IS_DEFINED(c.deletedAt)";
        let mut items = list(settler, &self.options.container, user, live);
        while let Some(page) = items.next().await? {
            let targets = page.iter().filter_map(|(id, item)| item_target(user, id, item)).collect();
            settler.act(act, projection, targets, judged).await?;
        }
        Ok(())
    }

    async fn rebuild_by(
        &self,
        user: &Arc<str>,
        author: &Arc<str>,
        act: Act,
        settler: &Settler<'_>,
        judged: &mut Judged,
    ) -> Result<(), SettleError> {
        let mut posts = list(settler, &self.posts, author, "SELECT * FROM c");
        while let Some(page) = posts.next().await? {
            let mut targets = Vec::with_capacity(page.len());
            for (id, post) in page {
                if !self.leaves_out(&post) {
                    let [post] = id::split(id.as_str()).map_err(invalid)?;
                    targets.push(Target::new(user, author, &post.into()).map_err(invalid)?);
                }
            }
            settler.act(act, self, targets, judged).await?;
        }
        Ok(())
    }
}

fn list<'a>(settler: &'a Settler<'a>, container: &'a str, key: &str, query: &'static str) -> Pages<'a> {
    Pages::new(settler.reader(), container, key, Query::new(query), PAGE_ITEMS)
}

/// `None` for what is no feed item: nobody here wrote it.
fn item_target(user: &Arc<str>, id: &DocumentId, item: &Document) -> Option<Target> {
    let [_, post] = id::split(id.as_str()).ok()?;
    let members = Members::parse(&item.body).ok()?;
    let author: String = serde_json::from_str(members.get("authorId")?.get()).ok()?;
    Target::new(user, &author.into(), &post.into()).ok()
}

fn invalid(error: id::IdError) -> SettleError {
    SettleError::Invalid(error.to_string())
}
