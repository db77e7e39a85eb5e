use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::{Block, DecodeError, Follow, Members, Post, user_feed};
use feedmill_engine::{Fields, SourceRef};
use feedmill_store_api::{Document, DocumentId, ETag};
use jiff::Timestamp;

use crate::Options;

/// Posts, edges and blocks as they were read, by author.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub(crate) BTreeMap<Arc<str>, OfAuthor>);

#[derive(Clone, Debug, Default)]
pub(crate) struct OfAuthor {
    /// By post id. Shared by all pages of followers.
    pub(crate) posts: Arc<BTreeMap<Arc<str>, PostSource>>,
    /// By recipient.
    pub(crate) recipients: BTreeMap<Arc<str>, Recipient>,
}

impl Sources {
    pub(crate) fn of(
        author: &Arc<str>,
        posts: &Arc<BTreeMap<Arc<str>, PostSource>>,
        recipients: BTreeMap<Arc<str>, Recipient>,
    ) -> Self {
        Self(BTreeMap::from([(Arc::clone(author), OfAuthor { posts: Arc::clone(posts), recipients })]))
    }
}

/// What decides whether somebody is shown an author's posts.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    pub(crate) edge: EdgeSource,
    /// The author's side of a block between the two. Of all sources it alone is usually missing, and then it is not
    /// named: where nothing may be skipped because of a missing source, nothing ever could be. That is safe because a
    /// block goes by soft delete, which stays longer than any write is late.
    pub(crate) block: Option<BlockSource>,
}

impl Recipient {
    /// Nothing is shown since the last of those that forbid it.
    pub(crate) fn state(&self) -> State<()> {
        match (&self.edge.state, self.block.as_ref().map_or(&State::Shown(()), |block| &block.state)) {
            (State::Malformed(reason), _) | (_, State::Malformed(reason)) => State::Malformed(reason.clone()),
            (State::Gone(edge), State::Gone(block)) => State::Gone(*edge.max(block)),
            (State::Gone(since), _) | (_, State::Gone(since)) => State::Gone(*since),
            (State::Shown(()), State::Shown(())) => State::Shown(()),
        }
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = &SourceRef> {
        [Some(&self.edge), self.block.as_ref()].into_iter().flatten().map(|source| &source.reference)
    }
}

/// A post, and what every item made from it has in common.
pub(crate) type PostSource = Source<Item>;
/// An edge; there is nothing in it that an item would show.
pub(crate) type EdgeSource = Source<()>;
/// A block; it shows nothing while it is live.
pub(crate) type BlockSource = Source<()>;

/// A post as all feeds show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) fields: Fields,
    /// When it is too old for every feed; `None` for never.
    pub(crate) end: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source<T> {
    pub(crate) reference: SourceRef,
    pub(crate) state: State<T>,
}

/// What a source says about the items made from it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State<T> {
    Shown(T),
    /// Not shown, since when; `None` where nothing is left that could say it.
    Gone(Option<Timestamp>),
    /// It cannot be understood: what is wrong with it.
    Malformed(String),
}

impl<T> State<T> {
    pub(crate) fn is_shown(&self) -> bool {
        matches!(self, Self::Shown(_))
    }

    /// What is wrong with a source that cannot be understood.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Malformed(reason) => Some(reason),
            Self::Shown(_) | Self::Gone(_) => None,
        }
    }
}

/// A post is gone since it was withdrawn; since its last update (else its creation) where it is hidden or removed; since
/// its creation where it is a reply and feeds have none.
pub(crate) fn post(container: &Arc<str>, id: &DocumentId, found: Option<&Document>, options: &Options) -> PostSource {
    source(container, id, found, |body| {
        let members = Members::parse(body)?;
        if let Some(deleted_at) = members.tombstone() {
            return Ok(State::Gone(Some(deleted_at)));
        }
        let post = Post::decode(body)?;
        if !post.is_live() {
            return Ok(State::Gone(Some(post.deleted_at.or(post.updated_at).unwrap_or(post.created_at))));
        }
        if post.reply_to.is_some() && !options.replies {
            return Ok(State::Gone(Some(post.created_at)));
        }
        let end = options.retention.end(post.created_at);
        let fields = Fields::of(&user_feed::fields(&post));
        let shown = |fields| State::Shown(Item { fields, end });
        Ok(fields.map_or_else(|error| State::Malformed(error.to_string()), shown))
    })
}

/// An edge shows nothing since it was withdrawn; since its last update (else its creation) where it is muted.
pub(crate) fn edge(container: &Arc<str>, id: &DocumentId, found: Option<&Document>) -> EdgeSource {
    source(container, id, found, |body| Follow::decode(body).map(|follow| edge_state(&follow)))
}

pub(crate) fn edge_state(follow: &Follow<'_>) -> State<()> {
    match (follow.deleted_at, follow.muted) {
        (Some(deleted_at), _) => State::Gone(Some(deleted_at)),
        (None, true) => State::Gone(follow.updated_at.or(follow.created_at)),
        (None, false) => State::Shown(()),
    }
}

/// A block shows nothing since it was made.
pub(crate) fn block(container: &Arc<str>, id: &DocumentId, found: &Document) -> BlockSource {
    source(container, id, Some(found), |body| {
        let block = Block::decode(body)?;
        Ok(if block.is_live() { State::Gone(block.created_at) } else { State::Shown(()) })
    })
}

fn source<T>(
    container: &Arc<str>,
    id: &DocumentId,
    found: Option<&Document>,
    state: impl FnOnce(&[u8]) -> Result<State<T>, DecodeError>,
) -> Source<T> {
    let etag = found.map(|document| document.etag.clone());
    let state = found.map_or(Ok(State::Gone(None)), |document| state(&document.body));
    Source { reference: reference(container, id, etag), state: state.unwrap_or_else(malformed(container, id)) }
}

pub(crate) fn reference(container: &Arc<str>, id: &DocumentId, etag: Option<ETag>) -> SourceRef {
    SourceRef(Arc::clone(container), id.as_str().to_owned(), etag)
}

fn malformed<T>(container: &str, id: &DocumentId) -> impl FnOnce(DecodeError) -> State<T> {
    move |error| State::Malformed(format!("{id} of {container}: {error}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_documents::time;

    use super::*;

    fn document(members: &str) -> Document {
        Document { etag: ETag::new("\"1\""), body: Bytes::from(format!("{{{members}}}")) }
    }

    fn gone<T>(at: &str) -> State<T> {
        State::Gone(time::parse(at))
    }

    #[test]
    fn an_edge_says_whether_and_since_when_it_shows_nothing() {
        let at = |members: &str| {
            let edge = document(&format!(r#""id":"a:r","followeeId":"a","followerId":"r"{members}"#));
            super::edge(&"follows".into(), &DocumentId::new("a:r").unwrap(), Some(&edge)).state
        };
        assert_eq!(at(""), State::Shown(()));
        assert_eq!(at(r#","muted":true"#), State::Gone(None));
        assert_eq!(at(r#","muted":true,"createdAt":"2011-01-01T00:00:00Z""#), gone("2011-01-01T00:00:00Z"));
        let updated = r#","muted":true,"createdAt":"2011-01-01T00:00:00Z","updatedAt":"2012-01-01T00:00:00Z""#;
        assert_eq!(at(updated), gone("2012-01-01T00:00:00Z"));
        let withdrawn = format!(r#"{updated},"deletedAt":"2010-01-01T00:00:00Z""#);
        assert_eq!(at(&withdrawn), gone("2010-01-01T00:00:00Z"));
        assert!(
            matches!(at(r#","muted":1"#), State::Malformed(text) if text.contains("a:r of follows: field `muted`"))
        );
    }

    #[test]
    fn a_post_says_whether_and_since_when_it_is_not_shown() {
        let at = |members: &str, replies: bool| {
            let identity = r#""id":"p","postId":"p","authorId":"a","createdAt":"2011-01-01T00:00:00Z""#;
            let options = Options { replies, ..Options::default() };
            let post = document(&format!("{identity},{members}"));
            super::post(&"authorPosts".into(), &DocumentId::new("p").unwrap(), Some(&post), &options).state
        };
        assert!(matches!(at(r#""status":"published""#, true), State::Shown(_)));
        assert_eq!(at(r#""status":"hidden""#, true), gone("2011-01-01T00:00:00Z"));
        assert_eq!(at(r#""status":"removed","updatedAt":"2012-01-01T00:00:00Z""#, true), gone("2012-01-01T00:00:00Z"));
        assert_eq!(
            at(r#""status":"published","deletedAt":"2013-01-01T00:00:00Z""#, true),
            gone("2013-01-01T00:00:00Z")
        );
        let reply = r#""status":"published","replyToPostId":"q""#;
        assert!(matches!(at(reply, true), State::Shown(_)));
        assert_eq!(at(reply, false), gone("2011-01-01T00:00:00Z"));
        assert!(matches!(at(r#""status":7"#, true), State::Malformed(_)));
    }

    #[test]
    fn what_is_missing_or_a_tombstone_is_gone() {
        let id = DocumentId::new("p").unwrap();
        let container = "authorPosts".into();
        assert_eq!(post(&container, &id, None, &Options::default()).state, State::Gone(None));
        assert_eq!(post(&container, &id, None, &Options::default()).reference.2, None);
        let tombstone =
            document(r#""id":"p","authorId":"a","deletedAt":"2013-01-01T00:00:00.000Z","ttl":9,"_source":{}"#);
        assert_eq!(post(&container, &id, Some(&tombstone), &Options::default()).state, gone("2013-01-01T00:00:00Z"));
    }
}
