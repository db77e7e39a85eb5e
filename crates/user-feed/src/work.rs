//! The documents of `fanOut`, settled like everything else: an older plan never replaces a newer one, and what is done is
//! done only for the version of the post that it was done for.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::Post;
use feedmill_documents::fan_out::{Chunk, Cuts, State, chunk_id, cuts_id};
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Projection, Reader, SettleError, SourceRef};
use feedmill_store_api::{Document, DocumentId, ETag, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::plan::{Interval, merged};

/// Raised when the same post would make other work of the same followers.
const REV: u32 = 1;

/// How long a chunk stays once it is done: an edit in this time finds it, a later one makes it again.
const DONE_SECONDS: u32 = 24 * 60 * 60;

fn address(id: DocumentId) -> Address {
    Address { key: PartitionKey::from(id.as_str()), id }
}

fn invalid(error: impl std::fmt::Display) -> SettleError {
    SettleError::Invalid(error.to_string())
}

fn document<T: serde::Serialize>(fields: &T, expires: Expiry, sources: Vec<SourceRef>) -> Result<Desired, String> {
    let fields = Fields::of(fields).map_err(|error| error.to_string())?;
    Ok(Desired::Document { fields, expires, basis: Basis::Sources { rev: REV, sources } })
}

/// What is stored, where it can be understood: what cannot is made anew.
fn stored<T: DeserializeOwned>(current: Option<&Document>) -> Option<T> {
    current.and_then(|current| current.parse().ok())
}

/// Work to be done: chunks of posts of one author.
pub(crate) struct Plan {
    pub(crate) author: Arc<str>,
    /// Container of the posts.
    pub(crate) posts: Arc<str>,
    /// Container of the work.
    pub(crate) work: Arc<str>,
}

#[derive(Clone)]
pub(crate) struct Planned {
    id: DocumentId,
    post: Arc<str>,
    number: u32,
    interval: Interval,
    cuts: Vec<String>,
    /// The version of the post that these followers have already.
    settled: Option<ETag>,
}

impl Planned {
    /// `cuts` where all chunks are cut, for the first of them. Fails when the chunk's id would be too long.
    pub(crate) fn new(
        post: &Arc<str>,
        number: usize,
        interval: Interval,
        cuts: &[String],
        settled: Option<ETag>,
    ) -> Result<Self, SettleError> {
        let number = u32::try_from(number).map_err(invalid)?;
        let cuts = if number == 0 { cuts.to_vec() } else { Vec::new() };
        let id = chunk_id(post, number).map_err(invalid)?;
        Ok(Self { id, post: Arc::clone(post), number, interval, cuts, settled })
    }
}

impl Projection for Plan {
    type Target = Planned;
    /// The version of each post.
    type Sources = BTreeMap<Arc<str>, Option<ETag>>;

    fn container(&self) -> &str {
        &self.work
    }

    fn address(&self, target: &Planned) -> Address {
        address(target.id.clone())
    }

    fn read<'a>(
        &'a self,
        targets: &'a [Planned],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Self::Sources, SettleError>> {
        async move {
            let posts: BTreeMap<&Arc<str>, DocumentId> = targets
                .iter()
                .map(|target| Ok((&target.post, Post::id(&target.post).map_err(invalid)?)))
                .collect::<Result<_, SettleError>>()?;
            let ids: Vec<_> = posts.values().cloned().collect();
            let found = reader.read_many(&self.posts, &PartitionKey::from(&*self.author), &ids).await?;
            let etags = found.into_iter().map(|found| found.map(|found| found.etag));
            Ok(posts.into_keys().map(Arc::clone).zip(etags).collect())
        }
        .boxed()
    }

    fn compute(&self, target: &Planned, etags: &Self::Sources, current: Option<&Document>) -> Result<Desired, String> {
        let etag = etags.get(&target.post).expect("whoever names a chunk gives its post").clone();
        let Planned { interval: Interval { from, until }, cuts, .. } = target.clone();
        if let Some(current) = stored::<Chunk>(current)
            && etag.is_some()
            && (&current.for_etag, &current.from, &current.until) == (&etag, &from, &until)
        {
            // Somebody is at it, or has done it.
            return Ok(Desired::Leave);
        }
        let done = etag.is_some() && target.settled == etag;
        let chunk = Chunk {
            post_id: target.post.to_string(),
            author_id: self.author.to_string(),
            chunk: target.number,
            from,
            until,
            state: if done { State::Done } else { State::Todo },
            for_etag: etag.clone(),
            cuts,
        };
        let expires = if done { Expiry::Seconds(DONE_SECONDS) } else { Expiry::Never };
        let post = Post::id(&target.post).map_err(|error| error.to_string())?;
        document(&chunk, expires, vec![SourceRef(Arc::clone(&self.posts), post.into_string(), etag)])
    }
}

/// One chunk is done, if it is still the one that was read.
pub(crate) struct Finished {
    pub(crate) work: Arc<str>,
}

#[derive(Clone)]
pub(crate) struct Done {
    pub(crate) id: DocumentId,
    pub(crate) chunk: Chunk,
    /// Of the chunk as it was read before its followers were.
    pub(crate) etag: ETag,
}

impl Projection for Finished {
    type Target = Done;
    type Sources = ();

    fn container(&self) -> &str {
        &self.work
    }

    fn address(&self, target: &Done) -> Address {
        address(target.id.clone())
    }

    fn read<'a>(&'a self, _: &'a [Done], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        async { Ok(()) }.boxed()
    }

    fn compute(&self, target: &Done, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        if current.is_none_or(|current| current.etag != target.etag) {
            // It became work again meanwhile, and its own feed says so.
            return Ok(Desired::Leave);
        }
        let chunk = Chunk { state: State::Done, ..target.chunk.clone() };
        let done_from = SourceRef(Arc::clone(&self.work), target.id.as_str().to_owned(), Some(target.etag.clone()));
        document(&chunk, Expiry::Seconds(DONE_SECONDS), vec![done_from])
    }
}

/// Where an author's followers are cut. Cut points are only ever added: where an interval has grown, and by whom.
pub(crate) struct CutPoints {
    pub(crate) work: Arc<str>,
}

#[derive(Clone)]
pub(crate) struct Added {
    id: DocumentId,
    cuts: Vec<String>,
    seen: SourceRef,
}

impl Added {
    /// `seen`: at the sight of what these were found.
    pub(crate) fn new(author: &str, cuts: Vec<String>, seen: SourceRef) -> Result<Self, SettleError> {
        Ok(Self { id: cuts_id(author).map_err(invalid)?, cuts, seen })
    }
}

impl Projection for CutPoints {
    type Target = Added;
    type Sources = ();

    fn container(&self) -> &str {
        &self.work
    }

    fn address(&self, target: &Added) -> Address {
        address(target.id.clone())
    }

    fn read<'a>(&'a self, _: &'a [Added], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        async { Ok(()) }.boxed()
    }

    fn compute(&self, target: &Added, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        let known = stored::<Cuts>(current).unwrap_or_default().cuts;
        let cuts = merged(&known, &target.cuts);
        if cuts == known {
            return Ok(Desired::Leave);
        }
        document(&Cuts { cuts }, Expiry::Never, vec![target.seen.clone()])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn document(etag: &str, body: &Value) -> Document {
        Document { etag: ETag::new(etag), body: Bytes::from(body.to_string()) }
    }

    fn fields(desired: Desired) -> Option<Value> {
        match desired {
            Desired::Document { fields, .. } => {
                Some(serde_json::from_str(&format!("{{{}}}", fields.as_str())).unwrap())
            }
            Desired::Leave => None,
            Desired::Absent { .. } => panic!("work is never a tombstone"),
        }
    }

    fn plan(etag: Option<&str>, settled: Option<&str>, current: Option<&Document>) -> Option<Value> {
        let plan = Plan { author: "a".into(), posts: "authorPosts".into(), work: "fanOut".into() };
        let interval = Interval { from: None, until: Some("m".into()) };
        let target = Planned::new(&"p".into(), 0, interval, &["m".into()], settled.map(ETag::new)).unwrap();
        let etags = BTreeMap::from([("p".into(), etag.map(ETag::new))]);
        fields(plan.compute(&target, &etags, current).unwrap())
    }

    #[test]
    fn work_is_for_one_version_of_a_post_and_a_newer_one_makes_it_work_again() {
        let todo = plan(Some("1"), None, None).unwrap();
        assert_eq!(
            todo,
            json!({"postId": "p", "authorId": "a", "chunk": 0, "until": "m", "state": "todo", "for": "1", "cuts": ["m"]})
        );
        let mut done = todo.clone();
        done["state"] = json!("done");
        assert_eq!(plan(Some("1"), None, Some(&document("x", &todo))), None);
        assert_eq!(plan(Some("1"), None, Some(&document("x", &done))), None, "done for this version is done");
        let again = plan(Some("2"), None, Some(&document("x", &done))).unwrap();
        assert_eq!((&again["state"], &again["for"]), (&json!("todo"), &json!("2")));
        assert_eq!(
            plan(None, None, Some(&document("x", &done))).unwrap()["state"],
            "todo",
            "a missing post is nobody's"
        );
    }

    #[test]
    fn what_was_settled_at_once_is_done_only_for_the_version_that_was() {
        assert_eq!(plan(Some("1"), Some("1"), None).unwrap()["state"], "done");
        assert_eq!(plan(Some("2"), Some("1"), None).unwrap()["state"], "todo");
        assert_eq!(plan(None, None, None).unwrap()["state"], "todo");
    }

    #[test]
    fn a_chunk_is_done_only_while_it_is_the_one_that_was_read() {
        let todo = plan(Some("1"), None, None).unwrap();
        let target = Done {
            id: DocumentId::new("p:0").unwrap(),
            chunk: serde_json::from_value(todo.clone()).unwrap(),
            etag: ETag::new("x"),
        };
        let finish = |etag| {
            fields(Finished { work: "fanOut".into() }.compute(&target, &(), Some(&document(etag, &todo))).unwrap())
        };
        assert_eq!(finish("x").unwrap()["state"], "done");
        assert_eq!(finish("y"), None);
        assert_eq!(fields(Finished { work: "fanOut".into() }.compute(&target, &(), None).unwrap()), None);
    }

    #[test]
    fn cut_points_are_added_to_those_that_are_known() {
        let seen = SourceRef("fanOut".into(), "p:0".into(), Some(ETag::new("1")));
        let add = |cuts: &[&str], current: Option<&Document>| {
            let cuts = cuts.iter().map(|&cut| cut.to_owned()).collect();
            fields(
                CutPoints { work: "fanOut".into() }
                    .compute(&Added::new("a", cuts, seen.clone()).unwrap(), &(), current)
                    .unwrap(),
            )
        };
        let known = document("x", &json!({"cuts": ["b", "f"]}));
        assert_eq!(add(&["d"], None), Some(json!({"cuts": ["d"]})));
        assert_eq!(add(&["d", "b"], Some(&known)), Some(json!({"cuts": ["b", "d", "f"]})));
        assert_eq!(add(&["f"], Some(&known)), None);
    }
}
