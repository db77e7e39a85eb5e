use bytes::Bytes;
use feedmill_local_store::{Step, Transacted, lsn_of};
use feedmill_store_api::{Document, DocumentId, ETag, Operation, PartitionKey, ReadLevel, limits};
use http::StatusCode;
use serde_json::Value;

use crate::directory::ContainerEntry;
use crate::fault::{Fault, sub_status};
use crate::headers::ITEM_LSN;
use crate::patch::Patch;
use crate::reply::Reply;
use crate::router::Call;
use crate::{binary, partition_key};

/// How often a patch begins again when others write in between. Each time somebody else has made progress.
pub(crate) const ROUNDS_MAX: u32 = 16;

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

/// The key of a request that names one item.
fn key(call: &Call<'_>, entry: &ContainerEntry) -> Result<PartitionKey, Fault> {
    let key = partition_key::asked(call.asked)?.ok_or_else(|| {
        Fault::bad_request("the request names no partition key: x-ms-documentdb-partitionkey is missing")
    })?;
    let (paths, parts) = (entry.container.partition_key_paths().len(), key.parts().len());
    if parts != paths {
        let text = format!("the partition key {key} has {parts} parts, the container's has {paths}");
        return Err(Fault::bad_request(text).sub(sub_status::PARTITION_KEY_MISMATCH));
    }
    Ok(key)
}

fn etag(call: &Call<'_>, name: &str) -> Option<ETag> {
    // `*` is any version: what the operation wants anyway.
    call.asked.text(name).filter(|etag| *etag != "*").map(ETag::new)
}

pub(crate) async fn create(call: &Call<'_>, entry: &ContainerEntry, upsert: bool) -> Result<Reply, Fault> {
    let Given { id, key, text: body } = given(call, entry)?;
    let only_new = call.asked.text("if-none-match") == Some("*");
    let step = match etag(call, "if-match") {
        _ if !upsert || only_new => Step::Write(Operation::Create { id, body }),
        Some(if_match) => Step::UpsertIf { id, body, if_match },
        None => Step::Write(Operation::Upsert { id, body }),
    };
    match write(call, entry, &key, step).await {
        // Absence was a condition of the upsert, not the meaning of a create.
        Err(fault) if upsert && fault.status == StatusCode::CONFLICT => Err(Fault::precondition_failed(fault.message)),
        written => written,
    }
}

pub(crate) async fn replace(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let given = given(call, entry)?;
    if given.id.as_str() != id {
        return Err(Fault::bad_request(format!("the document's id is {}, the request's is {id}", given.id)));
    }
    let replace = Operation::Replace { id: given.id, body: given.text, if_match: etag(call, "if-match") };
    write(call, entry, &given.key, Step::Write(replace)).await
}

pub(crate) async fn remove(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let delete = Operation::Delete { id: document_id(id)?, if_match: etag(call, "if-match") };
    write(call, entry, &key(call, entry)?, Step::Write(delete)).await
}

pub(crate) async fn read(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let key = key(call, entry)?;
    let (found, charge) = entry.container.read(&key, &document_id(id)?, &call.asked.read_level()).await?;
    let document = found.ok_or_else(|| Fault::not_found(format!("there is no document {id} under {key}")))?;
    let is_known = call.asked.text("if-none-match").is_some_and(|known| known == document.etag.as_str());
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut reply = Reply::new(status).charge(charge).etag(&document.etag).items(1);
    if let Some(lsn) = lsn_of(&document.etag) {
        reply = reply.header(ITEM_LSN, &lsn.to_string());
    }
    Ok(if is_known { reply } else { reply.body(document.body) })
}

/// On the version that it has read; from the beginning when another has come in between.
pub(crate) async fn patch(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<Reply, Fault> {
    let (key, id, patch) = (key(call, entry)?, document_id(id)?, Patch::parse(&call.body)?);
    let wanted = etag(call, "if-match");
    for _ in 0..ROUNDS_MAX {
        let current = current(entry, &key, &id).await?;
        if wanted.as_ref().is_some_and(|wanted| *wanted != current.etag) {
            return Err(Fault::precondition_failed(format!("{id} has the etag {}", current.etag)));
        }
        let body = patch.apply(&current.body, entry.container.partition_key_paths())?;
        let replace = Operation::Replace { id: id.clone(), body, if_match: Some(current.etag) };
        match write(call, entry, &key, Step::Write(replace)).await {
            Err(fault) if fault.status == StatusCode::PRECONDITION_FAILED => {}
            written => return written,
        }
    }
    Err(Fault::throttled(format!("{id} is being written by too many at once"), 10))
}

pub(crate) async fn current(entry: &ContainerEntry, key: &PartitionKey, id: &DocumentId) -> Result<Document, Fault> {
    let (found, _) = entry.container.read(key, id, &ReadLevel::Quorum).await?;
    found.ok_or_else(|| Fault::not_found(format!("there is no document {id} under {key}")))
}

async fn write(call: &Call<'_>, entry: &ContainerEntry, key: &PartitionKey, step: Step) -> Result<Reply, Fault> {
    let is_delete = matches!(step, Step::Write(Operation::Delete { .. }));
    let name = (entry.database.as_str(), entry.container.name());
    let store = &call.directory.store;
    let (done, session) = match store.transact(name, key, vec![step], call.asked.wants_content()).await? {
        Transacted::Committed { mut done, session, .. } => (done.pop(), session),
        Transacted::Refused { error, .. } => return Err(error.into()),
    };
    let done = done.ok_or_else(|| Fault::unavailable("the store has not said what became of the write"))?;
    let status = match done.is_new {
        _ if is_delete => StatusCode::NO_CONTENT,
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let reply = Reply::new(status).charge(done.charge).session(&session);
    let reply = done.etag.iter().fold(reply, Reply::etag);
    Ok(done.body.into_iter().fold(reply, Reply::body))
}
