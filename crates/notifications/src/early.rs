//! What came before its post: a note by the post's id, for the post to find.

use std::sync::Arc;

use feedmill_documents::{Post, containers, fan_out, subject, time};
use feedmill_engine::{Address, Basis, Desired, Expiry, Fields, Projection, Reader, SettleError, Settler, SourceRef};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::Options;
use crate::rules::Event;

/// Raised when the same causes would leave another note.
const REV: u32 = 1;

/// Notes in `fanOut` that a post was awaited.
///
/// The cause that did not find its post writes the note and then looks for the post once more; the post, once it is there,
/// looks for the note. So one of the two sees the other, and a post to which nothing came early costs the look-up of one
/// document that is not there.
pub(crate) struct Early;

#[derive(Clone)]
pub(crate) struct Note {
    id: DocumentId,
    post: String,
    /// When what came early is too old to tell anybody; `None` for never.
    until: Option<Timestamp>,
}

impl Early {
    /// Writes down that these happened to a post that is not there. A post without a usable id is nobody's.
    pub(crate) async fn note(
        key: &PartitionKey,
        events: impl Iterator<Item = &Event>,
        options: &Options,
        settler: &Settler<'_>,
    ) -> Result<(), SettleError> {
        let Some((post, id)) = subject(key).ok().and_then(|post| Some((post, fan_out::early_id(post).ok()?))) else {
            return Ok(());
        };
        let ends = events.filter_map(|event| event.time().ok()).map(|at| options.retention.end(at));
        // `None` stays longest, and is the least of all as values go.
        let Some(until) = ends.reduce(|one, other| one.and_then(|one| other.map(|other| one.max(other)))) else {
            return Ok(());
        };
        settler.settle(&Self, vec![Note { id, post: post.to_owned(), until }], None).await
    }

    /// Whether anything came before this post.
    pub(crate) async fn is_noted(post: &str, reader: &Reader<'_>) -> Result<bool, SettleError> {
        let Ok(id) = fan_out::early_id(post) else { return Ok(false) };
        let note = reader.read(containers::FAN_OUT, &PartitionKey::from(id.as_str()), &id).await?;
        Ok(note.is_some())
    }
}

impl Projection for Early {
    type Target = Note;
    type Sources = ();

    fn container(&self) -> &str {
        containers::FAN_OUT
    }

    fn address(&self, target: &Note) -> Address {
        Address { key: PartitionKey::from(target.id.as_str()), id: target.id.clone() }
    }

    fn read<'a>(&'a self, _: &'a [Note], _: &'a Reader<'a>) -> BoxFuture<'a, Result<(), SettleError>> {
        async { Ok(()) }.boxed()
    }

    /// A note that stays long enough is left alone.
    fn compute(&self, target: &Note, (): &(), current: Option<&Document>) -> Result<Desired, String> {
        let until = target.until.map(time::text);
        if let Some(there) = current.and_then(|current| current.parse::<fan_out::Early>().ok())
            && (there.until.is_none() || until.is_some() && there.until >= until)
        {
            return Ok(Desired::Leave);
        }
        let early = fan_out::Early { post_id: target.post.clone(), until };
        let fields = Fields::of(&early).map_err(|error| error.to_string())?;
        let post = Post::id(&target.post).map_err(|error| error.to_string())?;
        let missing = SourceRef(Arc::from(containers::POSTS), post.into_string(), None);
        let basis = Basis::Sources { rev: REV, sources: vec![missing] };
        Ok(Desired::Document { fields, expires: target.until.map_or(Expiry::Never, Expiry::At), basis })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::ETag;

    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        time::parse(text)
    }

    #[test]
    fn a_note_stays_as_long_as_what_came_early_could_still_tell_somebody() {
        let check = |there: Option<&str>, until: Option<Timestamp>, is_written: bool| {
            let note = Note { id: fan_out::early_id("p").unwrap(), post: "p".to_owned(), until };
            let body = there.map(|body| Document { etag: ETag::new("1"), body: Bytes::from(body.to_owned()) });
            match Early.compute(&note, &(), body.as_ref()).unwrap() {
                Desired::Document { expires, .. } if is_written => {
                    assert_eq!(expires, until.map_or(Expiry::Never, Expiry::At));
                }
                Desired::Leave if !is_written => {}
                other => panic!("{other:?} where there was {there:?}"),
            }
        };
        let (earlier, later) = (at("2020-01-01T00:00:00Z"), at("2020-01-02T00:00:00Z"));
        let stored = r#"{"postId":"p","until":"2020-01-01T00:00:00.000Z"}"#;
        check(None, earlier, true);
        check(Some(stored), earlier, false);
        check(Some(stored), later, true);
        check(Some(stored), None, true);
        check(Some(r#"{"postId":"p"}"#), later, false);
    }
}
