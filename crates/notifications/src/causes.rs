use feedmill_documents::notification::Kind;
use feedmill_documents::{Changed, DecodeError, Post, changed, containers, subject};
use feedmill_engine::{Delivery, Handler, Outcome, Reader, SettleError, Settler};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Options;
use crate::early::Early;
use crate::projection::{Cause, Notifications, Target};
use crate::rules::{self, Event, Told};

/// Causes of one kind changed: reactions or replies to one post, or edges to one person.
pub(crate) struct CauseHandler {
    pub(crate) kind: Kind,
    pub(crate) options: Options,
}

impl Handler for CauseHandler {
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
            let ids: Vec<_> = documents.iter().map(|changed| changed.id.clone()).collect();
            let found = settler.reader().read_many(&delivery.container, &delivery.key, &ids).await?;
            let mut events = Vec::with_capacity(documents.len());
            for (Changed { id, index }, found) in documents.into_iter().zip(found) {
                match self.event(found.as_ref(), &delivery.changes[index].body) {
                    Ok(Some(event)) => events.push((id, index, event)),
                    Ok(None) => {}
                    Err(error) => outcome.reject(index, error.to_string()),
                }
            }
            let mut recipient = self.recipient(&delivery.key, settler.reader()).await?;
            if recipient.is_none() && self.kind != Kind::Follow {
                let all = events.iter().map(|(_, _, event)| event);
                Early::note(&delivery.key, all, &self.options, settler).await?;
                // The post may have come meanwhile, and have found no note.
                recipient = self.recipient(&delivery.key, settler.reader()).await?;
            }
            let Some(recipient) = recipient else { return Ok(outcome) };

            let mut targets = Vec::with_capacity(events.len());
            for (id, index, event) in events {
                if !rules::concerns(&recipient, &event.actor, &self.options) {
                    continue;
                }
                let cause = Cause { kind: self.kind, key: delivery.key.clone(), id };
                match Target::new(&recipient, &event, cause) {
                    Ok(target) => targets.push(target),
                    Err(error) => outcome.reject(index, error.to_string()),
                }
            }
            Notifications::new(&self.options, delivery).tell(targets, settler).await?;
            Ok(outcome)
        }
        .boxed()
    }
}

impl CauseHandler {
    /// The event of a cause as it is now; where the cause is gone, the delivered change still says who did what. `None`
    /// when neither does.
    fn event(&self, found: Option<&Document>, delivered: &[u8]) -> Result<Option<Event>, DecodeError> {
        for json in found.map(|found| &*found.body).into_iter().chain([delivered]) {
            if let Told::Event(event) = rules::told(self.kind, json)? {
                // An event without a time is the change's fault; better said here, where it is known whose.
                event.time()?;
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Who is told. `None` when the post is not there, which its own feed will make good, or has no author that could be
    /// understood, which mending it will.
    async fn recipient(&self, key: &PartitionKey, reader: &Reader<'_>) -> Result<Option<String>, SettleError> {
        let Ok(subject) = subject(key) else { return Ok(None) };
        if self.kind == Kind::Follow {
            return Ok(Some(subject.to_owned()));
        }
        let Ok(id) = Post::id(subject) else { return Ok(None) };
        let post = reader.read(containers::POSTS, key, &id).await?;
        Ok(post.and_then(|post| author(&post)))
    }
}

fn author(post: &Document) -> Option<String> {
    Post::decode(&post.body).ok().map(|post| post.author_id)
}

/// Causes listed from their container, as targets. What cannot be understood has its own dead letter.
pub(crate) fn listed(
    kind: Kind,
    key: &PartitionKey,
    recipient: &str,
    page: Vec<(DocumentId, Document)>,
    options: &Options,
) -> Vec<Target> {
    let mut targets = Vec::with_capacity(page.len());
    for (id, found) in page {
        let Ok(Told::Event(event)) = rules::told(kind, &found.body) else { continue };
        let is_told = rules::concerns(recipient, &event.actor, options);
        if !is_told || event.time().is_err() {
            continue;
        }
        let cause = Cause { kind, key: key.clone(), id };
        targets.extend(Target::new(recipient, &event, cause).ok());
    }
    targets
}
