//! What one person was told, by hand: every notification that should be there, and every one that is there.

use feedmill_documents::notification::Kind;
use feedmill_documents::{DecodeError, containers, id, listed};
use feedmill_engine::{Act, Judged, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, PartitionKey, Query};

use crate::processors::container;
use crate::projection::Notifications;
use crate::{Options, blocks, causes};

const PAGE_ITEMS: usize = 1_000;

/// Compares, settles or repairs what one person was told, page by page. It only settles, so it may run beside everything
/// else, be repeated, and end anywhere; what was read stays read.
pub async fn rebuild(options: &Options, user: &str, act: Act, settler: &Settler<'_>) -> Result<Judged, SettleError> {
    let (projection, mut judged) = (Notifications::by_hand(options), Judged::default());
    let user_key = PartitionKey::from(user);
    let mut posts = Pages::of(containers::AUTHOR_POSTS, &user_key);
    while let Some(page) = posts.next(settler).await? {
        for (post, _) in page {
            let [post] = id::split(post.as_str()).map_err(|error| SettleError::Invalid(error.to_string()))?;
            for kind in [Kind::Reaction, Kind::Reply] {
                rebuild_causes(&projection, options, (kind, &post.as_str().into(), user), act, settler, &mut judged)
                    .await?;
            }
        }
    }
    rebuild_causes(&projection, options, (Kind::Follow, &user_key, user), act, settler, &mut judged).await?;
    let mut told = Pages::of(containers::NOTIFICATIONS, &user_key);
    while let Some(page) = told.next(settler).await? {
        // What cannot be read as a notification nobody here wrote.
        let targets = page.iter().filter_map(|(_, told)| blocks::target(&told.body).ok()).collect();
        projection.act(act, targets, settler, &mut judged).await?;
    }
    Ok(judged)
}

async fn rebuild_causes(
    projection: &Notifications,
    options: &Options,
    (kind, key, recipient): (Kind, &PartitionKey, &str),
    act: Act,
    settler: &Settler<'_>,
    judged: &mut Judged,
) -> Result<(), SettleError> {
    let mut pages = Pages::of(container(kind), key);
    while let Some(page) = pages.next(settler).await? {
        let targets = causes::listed(kind, key, recipient, page, options);
        projection.act(act, targets, settler, judged).await?;
    }
    Ok(())
}

/// The documents of one key, page by page.
struct Pages<'a> {
    container: &'a str,
    key: &'a PartitionKey,
    continuation: Option<String>,
    is_done: bool,
}

impl<'a> Pages<'a> {
    fn of(container: &'a str, key: &'a PartitionKey) -> Self {
        Self { container, key, continuation: None, is_done: false }
    }

    async fn next(&mut self, settler: &Settler<'_>) -> Result<Option<Vec<(DocumentId, Document)>>, SettleError> {
        if self.is_done {
            return Ok(None);
        }
        let query = Query::new("SELECT * FROM c");
        let page =
            settler.reader().query(self.container, self.key, &query, PAGE_ITEMS, self.continuation.take()).await?;
        self.continuation = page.continuation;
        self.is_done = self.continuation.is_none();
        let found = page.items.into_iter().map(listed).collect::<Result<_, DecodeError>>();
        found.map(Some).map_err(|error| {
            SettleError::Invalid(format!("list the documents of {} in {}: {error}", self.key, self.container))
        })
    }
}
