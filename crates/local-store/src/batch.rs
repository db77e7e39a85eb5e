use feedmill_store_api::{DocumentId, ETag, Error, ErrorKind, Operation, PartitionKey, limits};

use crate::error::invalid;
use crate::schema::{NewDocument, Schema};

/// An operation that has been checked for everything that does not depend on what is stored.
pub(crate) struct Prepared {
    pub(crate) id: DocumentId,
    pub(crate) verb: Verb,
    /// `None` for a delete and for a read.
    pub(crate) document: Option<NewDocument>,
    pub(crate) if_match: Option<ETag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Upsert,
    Replace,
    Delete,
    Read,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Upsert => "upsert",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Read => "read",
        }
    }
}

impl Prepared {
    pub(crate) fn new(schema: &Schema, key: &PartitionKey, operation: Operation) -> Result<Self, Error> {
        let (id, verb, body, if_match) = match operation {
            Operation::Create { id, body } => (id, Verb::Create, Some(body), None),
            Operation::Upsert { id, body } => (id, Verb::Upsert, Some(body), None),
            Operation::Replace { id, body, if_match } => (id, Verb::Replace, Some(body), if_match),
            Operation::Delete { id, if_match } => (id, Verb::Delete, None, if_match),
        };
        let document = body.map(|body| schema.document(key, id.as_str(), &body)).transpose()?;
        Ok(Self { id, verb, document, if_match })
    }

    /// Gives what is there, and refuses where nothing is.
    pub(crate) fn read(id: DocumentId) -> Self {
        Self { id, verb: Verb::Read, document: None, if_match: None }
    }

    /// Whether the operation may go ahead where `etag` is the version of what is there.
    pub(crate) fn check(&self, container: &str, etag: Option<&ETag>) -> Result<(), Error> {
        let refuse =
            |kind, why: &str| Err(Error::new(kind, format!("{} {} in {container}: {why}", self.verb.name(), self.id)));
        match (self.verb, etag) {
            (Verb::Create, Some(_)) => refuse(ErrorKind::Conflict, "the id is taken"),
            (Verb::Replace | Verb::Delete | Verb::Read, None) => {
                refuse(ErrorKind::NotFound, "there is no such document")
            }
            (Verb::Upsert | Verb::Replace | Verb::Delete, Some(etag))
                if self.if_match.as_ref().is_some_and(|wanted| wanted != etag) =>
            {
                refuse(ErrorKind::Precondition, &format!("its etag is {etag}"))
            }
            _ => Ok(()),
        }
    }
}

/// What no batch may be, whatever is in it: `count` operations whose bodies have so many bytes together.
pub(crate) fn check_limits(container: &str, count: usize, bytes: usize) -> Result<(), Error> {
    let max = limits::BATCH_OPERATIONS_MAX;
    if count == 0 || count > max {
        return Err(invalid(format!("write a batch of {count} operations to {container}: it may have 1 to {max}")));
    }
    let max = limits::BATCH_BYTES_MAX;
    if bytes > max {
        return Err(invalid(format!("write a batch of {bytes} bytes to {container}: it may have {max}")));
    }
    Ok(())
}
