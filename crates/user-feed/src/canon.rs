//! One person's feed by hand from the canonical rows, whatever has become of the source documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use feedmill_documents::{Block, Follow, Post};
use feedmill_engine::{Act, Address, Desired, Judged, Projection, Reader, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::sources::{self, EdgeSource, OfAuthor, Recipient};
use crate::{Sources, Target, UserFeed};

/// The canonical rows, as the source documents they are.
///
/// Lists are read page by page, behind the last id of the page before, and end with an empty page; they may leave out what
/// is withdrawn. Documents come in the order in which they are asked for, as they are now: never older than any document
/// that was made of the row.
pub trait Canon: Send + Sync {
    /// Authors whom `follower` follows.
    fn followed<'a>(
        &'a self,
        follower: &'a str,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, SettleError>>;

    /// Posts of `author`.
    fn posts_by<'a>(
        &'a self,
        author: &'a str,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, SettleError>>;

    /// By author and post.
    fn posts<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found>;

    /// By followee and follower.
    fn follows<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found>;

    /// By the person whose document it is and the other one.
    fn blocks<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found>;
}

/// What there is of what was asked for.
pub type Found = Result<Vec<Option<Document>>, SettleError>;

/// What an item made of canonical rows names in place of containers; what stands behind it is the topic of their events.
pub const CANON: &str = "postgres/";

impl UserFeed {
    /// As [`Self::rebuild`], but what should be there follows from `canon`, and only what differs from that is written.
    ///
    /// It may run beside everything else: a target is read before its rows, so whoever wrote it had no newer rows; and
    /// whoever writes after us and knows less is corrected by the changes that are on their way to it. `settler` must
    /// repair.
    pub async fn rebuild_from(
        &self,
        canon: &dyn Canon,
        user: &str,
        act: Act,
        settler: &Settler<'_>,
    ) -> Result<Judged, SettleError> {
        let projection = FromCanon { feed: self, canon };
        // What is equal keeps the sources it names, or the next change of them would write it once more. An older write that
        // is still in the air is not our concern: the change that made it old is settled by who follows the feed.
        let act = if act == Act::Settle { Act::Repair } else { act };
        let (user, mut judged) = (Arc::from(user), Judged::default());
        if self.options.own_posts {
            projection.rebuild_by(&user, &user, act, settler, &mut judged).await?;
        }
        let mut after = None;
        loop {
            let authors = canon.followed(&user, after.as_deref()).await?;
            let Some(last) = authors.last().cloned() else { break };
            for author in authors {
                projection.rebuild_by(&user, &author.into(), act, settler, &mut judged).await?;
            }
            after = Some(last);
        }
        self.rebuild_items(&projection, &user, act, settler, &mut judged).await?;
        Ok(judged)
    }
}

/// Names and computes as [`UserFeed`] does, and reads rows.
struct FromCanon<'c> {
    feed: &'c UserFeed,
    canon: &'c dyn Canon,
}

impl FromCanon<'_> {
    async fn rebuild_by(
        &self,
        user: &Arc<str>,
        author: &Arc<str>,
        act: Act,
        settler: &Settler<'_>,
        judged: &mut Judged,
    ) -> Result<(), SettleError> {
        let mut after = None;
        loop {
            let posts = self.canon.posts_by(author, after.as_deref()).await?;
            let Some(last) = posts.last().cloned() else { return Ok(()) };
            let targets = posts.into_iter().map(|post| Target::new(user, author, &post.into()));
            settler.act(act, self, targets.collect::<Result<_, _>>().map_err(invalid)?, judged).await?;
            after = Some(last);
        }
    }
}

impl Projection for FromCanon<'_> {
    type Target = Target;
    type Sources = Sources;

    fn container(&self) -> &str {
        self.feed.container()
    }

    fn address(&self, target: &Target) -> Address {
        self.feed.address(target)
    }

    fn read<'a>(&'a self, targets: &'a [Target], _: &'a Reader<'a>) -> BoxFuture<'a, Result<Sources, SettleError>> {
        async move {
            let posts: BTreeSet<_> = targets.iter().map(|target| (target.author(), target.post())).collect();
            let others = targets.iter().filter(|target| !self.feed.is_own(target.recipient(), target.author()));
            let pairs: BTreeSet<_> = others.map(|target| (target.author(), target.recipient())).collect();
            let (posts, pairs) = (Vec::from_iter(posts), Vec::from_iter(pairs));
            let (post_names, pair_names) = (names(&posts), names(&pairs));
            let found_posts = self.canon.posts(&post_names).await?;
            let follows = self.canon.follows(&pair_names).await?;
            let blocks = self.canon.blocks(&pair_names).await?;

            let mut by_author: BTreeMap<Arc<str>, (BTreeMap<_, _>, BTreeMap<_, _>)> = BTreeMap::new();
            let [of_posts, of_follows, of_blocks] = ["post", "follow", "block"].map(container);
            for ((author, post), found) in posts.into_iter().zip(found_posts) {
                let id = Post::id(post).map_err(invalid)?;
                let source = sources::post(&of_posts, &id, found.as_ref(), &self.feed.options);
                by_author.entry(Arc::clone(author)).or_default().0.insert(Arc::clone(post), source);
            }
            for (((author, recipient), follow), block) in pairs.into_iter().zip(follows).zip(blocks) {
                let edge_id = Follow::id(author, recipient).map_err(invalid)?;
                let edge: EdgeSource = sources::edge(&of_follows, &edge_id, follow.as_ref());
                let block_id: DocumentId = Block::id(author, recipient).map_err(invalid)?;
                let block = block.map(|block| sources::block(&of_blocks, &block_id, &block));
                let of_author = by_author.entry(Arc::clone(author)).or_default();
                of_author.1.insert(Arc::clone(recipient), Recipient { edge, block });
            }
            let of_author = |(author, (posts, recipients))| (author, OfAuthor { posts: Arc::new(posts), recipients });
            Ok(Sources(by_author.into_iter().map(of_author).collect()))
        }
        .boxed()
    }

    fn compute(&self, target: &Target, sources: &Sources, current: Option<&Document>) -> Result<Desired, String> {
        self.feed.compute(target, sources, current)
    }
}

fn container(topic: &str) -> Arc<str> {
    format!("{CANON}{topic}").into()
}

fn names<'a>(pairs: &[(&'a Arc<str>, &'a Arc<str>)]) -> Vec<(&'a str, &'a str)> {
    pairs.iter().map(|(a, b)| (&***a, &***b)).collect()
}

fn invalid(error: feedmill_documents::IdError) -> SettleError {
    SettleError::Invalid(error.to_string())
}
