use bytes::Bytes;
use feedmill_store_api::{
    Document, DocumentId, ETag, Error, ErrorKind, Operation, PartitionKey, ReadLevel, Written, limits,
};
use http::StatusCode;
use serde_json::Value;

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::reply::Reply;
use crate::router::Call;
use crate::{binary, partition_key};

/// How often an upsert with a condition looks again when others write in between. Each time somebody else has made progress.
const ROUNDS_MAX: u32 = 16;

/// A document as a request carries it.
pub(crate) struct Given {
    pub(crate) id: DocumentId,
    pub(crate) key: PartitionKey,
    pub(crate) text: Bytes,
}

impl Given {
    /// From the JSON text of an object, under the key that the request names or, where it names none, under its own.
    pub(crate) fn new(entry: &ContainerEntry, text: Bytes, key: Option<PartitionKey>) -> Result<Self, Fault> {
        if text.len() > limits::ITEM_BYTES_MAX {
            return Err(too_large(text.len()));
        }
        let document: Value = serde_json::from_slice(&text)
            .map_err(|error| Fault::bad_request(format!("the document is no JSON: {error}")))?;
        if !document.is_object() {
            return Err(Fault::bad_request("the document is no JSON object"));
        }
        let id = document["id"].as_str().ok_or_else(|| Fault::bad_request("the document has no id that is a text"))?;
        let id = document_id(id)?;
        let paths = entry.container.partition_key_paths();
        let key = match key {
            Some(key) => {
                partition_key::check(&document, paths, &key)?;
                key
            }
            None => partition_key::of_document(&document, paths)?,
        };
        Ok(Self { id, key, text })
    }
}

pub(crate) fn too_large(bytes: usize) -> Fault {
    Fault::too_large(format!("the document has {bytes} bytes, it may have {}", limits::ITEM_BYTES_MAX))
}

pub(crate) fn document_id(id: &str) -> Result<DocumentId, Fault> {
    DocumentId::new(id).map_err(|error| Fault::bad_request(error.to_string()))
}

/// The document of a request's body, which default Rust clients send in binary.
fn given(call: &Call<'_>, entry: &ContainerEntry) -> Result<Given, Fault> {
    let text = if binary::is_binary(&call.body) {
        let text = binary::to_text(&call.body);
        Bytes::from(text.map_err(|error| Fault::bad_request(format!("the body is no binary JSON: {error}")))?)
    } else {
        call.body.clone()
    };
    Given::new(entry, text, partition_key::asked(call.asked)?)
}

/// The key of a request that has no body: it must be in the header.
fn key(call: &Call<'_>) -> Result<PartitionKey, Fault> {
    partition_key::asked(call.asked)?.ok_or_else(|| {
        Fault::bad_request("the request names no partition key: x-ms-documentdb-partitionkey is missing")
    })
}

fn etag(call: &Call<'_>, name: &str) -> Option<ETag> {
    // `*` is any version: what the operation wants anyway.
    call.asked.text(name).filter(|etag| *etag != "*").map(ETag::new)
}

pub(crate) async fn create(call: &Call<'_>, entry: &ContainerEntry, upsert: bool) -> Result<Reply, Fault> {
    let given = given(call, entry)?;
    if !upsert {
        let create = Operation::Create { id: given.id.clone(), body: given.text.clone() };
        let written = entry.container.write(&given.key, create).await?;
        return written_reply(call, entry, &given, &written, StatusCode::CREATED).await;
    }
    let only_new = call.asked.text("if-none-match") == Some("*");
    for _ in 0..ROUNDS_MAX {
        let there = read_now(entry, &given.key, &given.id).await?;
        let (operation, status) = match (&there, etag(call, "if-match")) {
            (Some(_), _) if only_new => {
                return Err(Fault::precondition_failed(format!("{} is there already", given.id)));
            }
            (Some(_), if_match @ Some(_)) => {
                (Operation::Replace { id: given.id.clone(), body: given.text.clone(), if_match }, StatusCode::OK)
            }
            // On the version just seen, so that the status tells the truth about what was there.
            (Some(there), None) => {
                let if_match = Some(there.etag.clone());
                (Operation::Replace { id: given.id.clone(), body: given.text.clone(), if_match }, StatusCode::OK)
            }
            (None, _) => (Operation::Create { id: given.id.clone(), body: given.text.clone() }, StatusCode::CREATED),
        };
        let conditional = etag(call, "if-match").is_some() && there.is_some();
        match entry.container.write(&given.key, operation).await {
            Ok(written) => return written_reply(call, entry, &given, &written, status).await,
            Err(error) if !conditional && is_race(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Fault::throttled(format!("{} is being written by too many at once", given.id), 10))
}

/// Somebody else came first.
fn is_race(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound)
}

pub(crate) async fn replace(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let given = given(call, entry)?;
    if given.id.as_str() != id {
        return Err(Fault::bad_request(format!("the document's id is {}, the request's is {id}", given.id)));
    }
    let if_match = etag(call, "if-match");
    let replace = Operation::Replace { id: given.id.clone(), body: given.text.clone(), if_match };
    let written = entry.container.write(&given.key, replace).await?;
    written_reply(call, entry, &given, &written, StatusCode::OK).await
}

pub(crate) async fn remove(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let delete = Operation::Delete { id: document_id(id)?, if_match: etag(call, "if-match") };
    let written = entry.container.write(&key(call)?, delete).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT).charge(written.charge).session(&written.session))
}

pub(crate) async fn read(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let key = key(call)?;
    let (found, charge) = entry.container.read(&key, &document_id(id)?, &ReadLevel::Quorum).await?;
    let document = found.ok_or_else(|| Fault::not_found(format!("there is no document {id} under {key}")))?;
    let is_known = call.asked.text("if-none-match").is_some_and(|known| known == document.etag.as_str());
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let reply = Reply::new(status).charge(charge).etag(&document.etag).items(1);
    Ok(if is_known { reply } else { reply.body(document.body) })
}

pub(crate) async fn patch(_call: &Call<'_>, _entry: &ContainerEntry, _id: &str) -> Result<Reply, Fault> {
    Err(Fault::not_implemented("patch is not supported here"))
}

async fn read_now(entry: &ContainerEntry, key: &PartitionKey, id: &DocumentId) -> Result<Option<Document>, Fault> {
    let (found, _) = entry.container.read(key, id, &ReadLevel::Quorum).await?;
    Ok(found)
}

async fn written_reply(
    call: &Call<'_>,
    entry: &ContainerEntry,
    given: &Given,
    written: &Written,
    status: StatusCode,
) -> Result<Reply, Fault> {
    let mut reply = Reply::new(status).charge(written.charge).session(&written.session);
    if let Some(etag) = &written.etag {
        reply = reply.etag(etag);
    }
    if !call.asked.wants_content() {
        return Ok(reply);
    }
    Ok(match read_now(entry, &given.key, &given.id).await? {
        Some(document) => reply.body(document.body),
        None => reply,
    })
}
