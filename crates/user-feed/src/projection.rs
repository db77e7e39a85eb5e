use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use feedmill_documents::{Follow, IdError, Post, containers, user_feed};
use feedmill_engine::{Address, Basis, Desired, Expiry, Projection, Reader, SettleError};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::sources::{self, EdgeSource, Item, OfAuthor, PostSource, Recipient, State};
use crate::{Options, Sources};

/// Raised when the same sources would give another item.
const REV: u32 = 1;

/// `userFeed`: a post is in a recipient's feed while it is shown, the recipient's edge to its author shows it, and there is
/// no block between the two.
#[derive(Clone, Debug)]
pub struct UserFeed {
    pub(crate) options: Options,
    pub(crate) posts: Arc<str>,
    pub(crate) edges: Arc<str>,
    pub(crate) blocks: Arc<str>,
    pub(crate) work: Arc<str>,
}

/// One post in one feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    recipient: Arc<str>,
    author: Arc<str>,
    post: Arc<str>,
}

/// What is to be read of one author.
#[derive(Default)]
struct Wanted<'a> {
    posts: BTreeSet<&'a Arc<str>>,
    recipients: BTreeSet<&'a Arc<str>>,
}

impl Target {
    /// Fails when the item's id would be too long, or one of its sources' ids is.
    pub fn new(recipient: &Arc<str>, author: &Arc<str>, post: &Arc<str>) -> Result<Self, IdError> {
        user_feed::check(recipient, post)?;
        Ok(Self { recipient: Arc::clone(recipient), author: Arc::clone(author), post: Arc::clone(post) })
    }

    pub(crate) fn recipient(&self) -> &Arc<str> {
        &self.recipient
    }

    pub(crate) fn author(&self) -> &Arc<str> {
        &self.author
    }

    pub(crate) fn post(&self) -> &Arc<str> {
        &self.post
    }
}

impl UserFeed {
    pub fn new(options: Options) -> Self {
        let (posts, edges, blocks) =
            (containers::AUTHOR_POSTS.into(), containers::FOLLOWS.into(), containers::BLOCKS.into());
        let work = options.work().into();
        Self { options, posts, edges, blocks, work }
    }

    /// By option one's own posts need no edge.
    pub(crate) fn is_own(&self, recipient: &str, author: &str) -> bool {
        self.options.own_posts && recipient == author
    }

    /// Whether a post makes no items by option. A reply is one for ever, so nothing was ever written for it that would
    /// have to be withdrawn; what an earlier setting wrote is the rebuild's.
    pub(crate) fn leaves_out(&self, post: &Document) -> bool {
        !self.options.replies && Post::decode(&post.body).is_ok_and(|post| post.reply_to.is_some())
    }

    async fn read_posts(
        &self,
        author: &str,
        posts: &BTreeSet<&Arc<str>>,
        reader: &Reader<'_>,
    ) -> Result<BTreeMap<Arc<str>, PostSource>, SettleError> {
        let ids = ids(posts.iter().map(|post| Post::id(post)))?;
        let found = reader.read_many(&self.posts, &PartitionKey::from(author), &ids).await?;
        let sources =
            ids.iter().zip(&found).map(|(id, found)| sources::post(&self.posts, id, found.as_ref(), &self.options));
        Ok(posts.iter().map(|post| Arc::clone(post)).zip(sources).collect())
    }

    async fn read_recipients(
        &self,
        author: &str,
        recipients: &BTreeSet<&Arc<str>>,
        reader: &Reader<'_>,
    ) -> Result<BTreeMap<Arc<str>, Recipient>, SettleError> {
        let ids = ids(recipients.iter().map(|recipient| Follow::id(author, recipient)))?;
        let found = reader.read_many(&self.edges, &PartitionKey::from(author), &ids).await?;
        let edges = ids.iter().zip(&found).map(|(id, found)| sources::edge(&self.edges, id, found.as_ref())).collect();
        let recipients = recipients.iter().map(|&recipient| Arc::clone(recipient));
        Ok(recipients.zip(self.with_blocks(author, &ids, edges, reader).await?).collect())
    }

    /// These edges to an author, each with the block there may be. Edge and block of a pair have the same id, under the
    /// same key of their containers.
    pub(crate) async fn with_blocks(
        &self,
        author: &str,
        ids: &[DocumentId],
        edges: Vec<EdgeSource>,
        reader: &Reader<'_>,
    ) -> Result<Vec<Recipient>, SettleError> {
        let blocks = reader.read_sparse(&self.blocks, &PartitionKey::from(author), ids).await?;
        let block = |id| blocks.get(id).map(|found| sources::block(&self.blocks, id, found));
        Ok(ids.iter().zip(edges).map(|(id, edge)| Recipient { edge, block: block(id) }).collect())
    }
}

fn ids(ids: impl Iterator<Item = Result<DocumentId, IdError>>) -> Result<Vec<DocumentId>, SettleError> {
    ids.collect::<Result<_, _>>().map_err(|error| SettleError::Invalid(error.to_string()))
}

impl Projection for UserFeed {
    type Target = Target;
    type Sources = Sources;

    fn container(&self) -> &str {
        &self.options.container
    }

    fn address(&self, target: &Target) -> Address {
        let id = user_feed::id(&target.recipient, &target.post).expect("Target::new checked that there is one");
        Address { key: PartitionKey::from(&*target.recipient), id }
    }

    fn read<'a>(
        &'a self,
        targets: &'a [Target],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Sources, SettleError>> {
        async move {
            let mut wanted: BTreeMap<&Arc<str>, Wanted<'_>> = BTreeMap::new();
            for target in targets {
                let Wanted { posts, recipients } = wanted.entry(&target.author).or_default();
                posts.insert(&target.post);
                if !self.is_own(&target.recipient, &target.author) {
                    recipients.insert(&target.recipient);
                }
            }
            let mut sources = Sources::default();
            for (author, Wanted { posts, recipients }) in wanted {
                let posts = Arc::new(self.read_posts(author, &posts, reader).await?);
                let recipients = self.read_recipients(author, &recipients, reader).await?;
                sources.0.insert(Arc::clone(author), OfAuthor { posts, recipients });
            }
            Ok(sources)
        }
        .boxed()
    }

    /// Where nothing is shown, the tombstone's time is the latest since when one of the sources does not show it, so
    /// that it depends on the sources alone; 1970 where none of them is left to say it.
    fn compute(&self, target: &Target, sources: &Sources, _current: Option<&Document>) -> Result<Desired, String> {
        let of_author = sources.0.get(&target.author).expect("whoever names a target gives its author's sources");
        let post = of_author.posts.get(&target.post).expect("whoever names a target gives its post");
        let recipient = (!self.is_own(&target.recipient, &target.author)).then(|| {
            of_author.recipients.get(&target.recipient).expect("whoever names a target gives its recipient's edge")
        });
        let others = recipient.into_iter().flat_map(Recipient::references);
        let from = std::iter::once(&post.reference).chain(others).cloned().collect();
        let basis = Basis::Sources { rev: REV, sources: from };
        Ok(match (&post.state, recipient.map_or(State::Shown(()), Recipient::state)) {
            (State::Malformed(reason), _) => return Err(reason.clone()),
            (_, State::Malformed(reason)) => return Err(reason),
            (State::Shown(Item { fields, end }), State::Shown(())) => {
                let expires = end.map_or(Expiry::ContainerDefault, Expiry::At);
                Desired::Document { fields: fields.clone(), expires, basis }
            }
            (State::Gone(post), State::Gone(recipient)) => absent(*post.max(&recipient), basis),
            (State::Gone(since), State::Shown(())) => absent(*since, basis),
            (State::Shown(_), State::Gone(since)) => absent(since, basis),
        })
    }
}

fn absent(since: Option<Timestamp>, basis: Basis) -> Desired {
    Desired::Absent { deleted_at: since.unwrap_or(Timestamp::UNIX_EPOCH), basis }
}

#[cfg(test)]
mod tests {
    use feedmill_engine::{Fields, SourceRef};
    use feedmill_store_api::ETag;

    use super::*;
    use crate::sources::Source;

    fn source<T>(id: &str, state: State<T>) -> Source<T> {
        Source { reference: SourceRef("c".into(), id.into(), Some(ETag::new("\"1\""))), state }
    }

    fn compute(
        options: Options,
        recipient: &str,
        post: State<Item>,
        edge: Option<State<()>>,
    ) -> Result<Desired, String> {
        let (recipient, author, id): (Arc<str>, Arc<str>, Arc<str>) = (recipient.into(), "a".into(), "p".into());
        let posts = Arc::new(BTreeMap::from([(Arc::clone(&id), source("p", post))]));
        let edges = edge.map(|edge| (Arc::clone(&recipient), Recipient { edge: source("a:r", edge), block: None }));
        let edges = edges.into_iter().collect();
        let target = Target::new(&recipient, &author, &id).unwrap();
        UserFeed::new(options).compute(&target, &Sources::of(&author, &posts, edges), None)
    }

    fn shown() -> State<Item> {
        State::Shown(Item { fields: Fields::of(&serde_json::json!({"text": "x"})).unwrap(), end: None })
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn an_item_is_there_while_post_and_edge_both_show_it() {
        let absent_at = |post, edge| match compute(Options::default(), "r", post, Some(edge)).unwrap() {
            Desired::Absent { deleted_at, basis: Basis::Sources { sources, .. } } => {
                assert_eq!(sources.len(), 2, "both sources are named");
                Some(deleted_at)
            }
            Desired::Document { basis: Basis::Sources { sources, .. }, .. } => {
                assert_eq!(sources.len(), 2, "both sources are named");
                None
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(absent_at(shown(), State::Shown(())), None);
        assert_eq!(absent_at(State::Gone(at(5)), State::Shown(())), at(5));
        assert_eq!(absent_at(shown(), State::Gone(at(7))), at(7));
        assert_eq!(absent_at(State::Gone(at(5)), State::Gone(at(7))), at(7));
        assert_eq!(absent_at(State::Gone(at(9)), State::Gone(None)), at(9));
        assert_eq!(absent_at(State::Gone(None), State::Gone(None)), at(0));
    }

    #[test]
    fn a_block_takes_an_item_out_whatever_the_edge_says_and_is_named_where_there_is_one() {
        let of = |edge, block| {
            let recipient = Recipient { edge: source("a:r", edge), block: Some(source("a:r", block)) };
            assert_eq!(recipient.references().count(), 2);
            recipient.state()
        };
        assert_eq!(of(State::Shown(()), State::Gone(at(3))), State::Gone(at(3)));
        assert_eq!(of(State::Gone(at(5)), State::Gone(at(3))), State::Gone(at(5)));
        assert_eq!(of(State::Gone(at(5)), State::Shown(())), State::Gone(at(5)));
        assert_eq!(of(State::Shown(()), State::Shown(())), State::Shown(()));
        assert_eq!(of(State::Shown(()), State::Malformed("x".into())), State::Malformed("x".into()));
    }

    #[test]
    fn a_malformed_source_decides_nothing() {
        assert_eq!(
            compute(Options::default(), "r", State::Malformed("x".into()), Some(State::Gone(None))).unwrap_err(),
            "x"
        );
        assert_eq!(
            compute(Options::default(), "r", State::Gone(None), Some(State::Malformed("y".into()))).unwrap_err(),
            "y"
        );
    }

    #[test]
    fn ones_own_posts_need_no_edge_by_option() {
        let own = Options { own_posts: true, ..Options::default() };
        let desired = compute(own, "a", shown(), None).unwrap();
        assert!(
            matches!(desired, Desired::Document { basis: Basis::Sources { sources, .. }, .. } if sources.len() == 1)
        );
        let with_edge = compute(Options::default(), "a", shown(), Some(State::Gone(at(1)))).unwrap();
        assert!(matches!(with_edge, Desired::Absent { .. }));
    }

    #[test]
    fn a_target_whose_id_would_be_too_long_is_not_made() {
        let long: Arc<str> = "x".repeat(1_020).into();
        assert!(Target::new(&long, &"a".into(), &"1234".into()).is_err());
        assert!(Target::new(&long, &"a".into(), &"12".into()).is_ok());
    }
}
