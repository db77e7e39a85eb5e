use bytes::Bytes;
use feedmill_store_api::{BatchOutcome, DocumentId, ETag, Operation, PartitionKey, ReadLevel, RequestCharge, limits};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::headers::{BATCH_ATOMIC, CONTINUE_ON_ERROR};
use crate::items::{Given, document_id};
use crate::partition_key;
use crate::reply::Reply;
use crate::router::Call;

/// What became of an operation that was refused because another one of its batch was.
const FAILED_DEPENDENCY: u16 = 424;

/// One operation as clients write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    operation_type: String,
    id: Option<String>,
    resource_body: Option<Box<RawValue>>,
    if_match: Option<String>,
    /// Of bulk requests only, where each operation has its own. Some clients write it as a text of JSON.
    partition_key: Option<Value>,
}

/// What became of one operation.
struct Done {
    status: u16,
    sub_status: u32,
    charge: RequestCharge,
    etag: Option<ETag>,
    body: Option<Bytes>,
}

pub(crate) async fn write(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let (bytes, bytes_max) = (call.body.len(), limits::BATCH_BYTES_MAX);
    if bytes > bytes_max {
        return Err(Fault::too_large(format!("the batch has {bytes} bytes, it may have {bytes_max}")));
    }
    let wanted: Vec<Wanted> = call.json()?;
    let (count, max) = (wanted.len(), limits::BATCH_OPERATIONS_MAX);
    if count == 0 || count > max {
        return Err(Fault::bad_request(format!("a batch of {count} operations: it has 1 to {max}")));
    }
    if call.asked.text(BATCH_ATOMIC).is_some_and(|atomic| atomic.eq_ignore_ascii_case("false")) {
        return bulk(call, entry, wanted).await;
    }
    let key = partition_key::asked(call.asked)?.ok_or_else(|| {
        Fault::bad_request("a batch is of one partition key: x-ms-documentdb-partitionkey is missing")
    })?;
    let reads = wanted.iter().filter(|wanted| wanted.operation_type == "Read").count();
    if reads == count {
        return read(call, entry, &key, &wanted).await;
    }
    if reads > 0 {
        return Err(Fault::not_implemented("a batch that both reads and writes is not supported here"));
    }
    let statuses = statuses(entry, &key, &wanted).await?;
    let mut operations = Vec::with_capacity(count);
    for (index, (wanted, status)) in wanted.iter().zip(&statuses).enumerate() {
        match operation(entry, &key, wanted, *status == StatusCode::OK) {
            Ok(operation) => operations.push(operation),
            Err(fault) => return refused(count, index, &fault, RequestCharge::ZERO),
        }
    }
    let ids: Vec<_> = operations.iter().map(|operation| operation.id().clone()).collect();
    match entry.container.batch(&key, operations).await? {
        BatchOutcome::Refused { index, error, charge } => refused(count, index, &Fault::from(error), charge),
        BatchOutcome::Committed { etags, charge, session } => {
            let bodies = if call.asked.wants_content() {
                entry.container.read_many(&key, &ids, &ReadLevel::Quorum).await?.0
            } else {
                vec![None; count]
            };
            let share = RequestCharge::new(charge.units() / count as f64);
            let done = statuses.iter().zip(etags).zip(bodies).map(|((status, etag), body)| Done {
                status: status.as_u16(),
                sub_status: 0,
                charge: share,
                body: body.filter(|_| etag.is_some()).map(|document| document.body),
                etag,
            });
            Ok(reply(StatusCode::OK, &done.collect::<Vec<_>>()).charge(charge).session(&session))
        }
    }
}

/// What each operation will answer when all go well: for an upsert that depends on what is there.
async fn statuses(entry: &ContainerEntry, key: &PartitionKey, wanted: &[Wanted]) -> Result<Vec<StatusCode>, Fault> {
    let mut statuses = Vec::with_capacity(wanted.len());
    for each in wanted {
        statuses.push(match each.operation_type.as_str() {
            "Create" => StatusCode::CREATED,
            "Delete" => StatusCode::NO_CONTENT,
            "Upsert" => match id(each).ok().map(|id| document_id(&id)) {
                Some(Ok(id)) => {
                    let (found, _) = entry.container.read(key, &id, &ReadLevel::Quorum).await?;
                    if found.is_some() { StatusCode::OK } else { StatusCode::CREATED }
                }
                _ => StatusCode::CREATED,
            },
            _ => StatusCode::OK,
        });
    }
    Ok(statuses)
}

fn id(wanted: &Wanted) -> Result<String, Fault> {
    if let Some(id) = &wanted.id {
        return Ok(id.clone());
    }
    #[derive(Deserialize)]
    struct Body {
        id: String,
    }
    let body = wanted.resource_body.as_ref().and_then(|body| serde_json::from_str::<Body>(body.get()).ok());
    body.map(|body| body.id).ok_or_else(|| Fault::bad_request(format!("a {} has no id", wanted.operation_type)))
}

fn operation(entry: &ContainerEntry, key: &PartitionKey, wanted: &Wanted, exists: bool) -> Result<Operation, Fault> {
    let if_match = wanted.if_match.as_deref().filter(|etag| *etag != "*").map(ETag::new);
    let body = || -> Result<(DocumentId, Bytes), Fault> {
        let body = wanted.resource_body.as_ref();
        let body =
            body.ok_or_else(|| Fault::bad_request(format!("a {} has no resourceBody", wanted.operation_type)))?;
        let given = Given::new(entry, Bytes::copy_from_slice(body.get().as_bytes()), Some(key.clone()))?;
        match &wanted.id {
            Some(id) if *id != given.id.as_str() => {
                Err(Fault::bad_request(format!("the document's id is {}, the operation's is {id}", given.id)))
            }
            _ => Ok((given.id, given.text)),
        }
    };
    Ok(match wanted.operation_type.as_str() {
        "Create" => {
            let (id, body) = body()?;
            Operation::Create { id, body }
        }
        "Upsert" => {
            let (id, body) = body()?;
            match if_match {
                Some(_) if exists => Operation::Replace { id, body, if_match },
                _ => Operation::Upsert { id, body },
            }
        }
        "Replace" => {
            let (id, body) = body()?;
            Operation::Replace { id, body, if_match }
        }
        "Delete" => Operation::Delete { id: document_id(&id(wanted)?)?, if_match },
        other => return Err(Fault::not_implemented(format!("the operation {other} is not supported here"))),
    })
}

async fn read(_call: &Call<'_>, entry: &ContainerEntry, key: &PartitionKey, wanted: &[Wanted]) -> Result<Reply, Fault> {
    let ids = wanted.iter().map(|wanted| document_id(&id(wanted)?)).collect::<Result<Vec<_>, _>>()?;
    let (found, charge) = entry.container.read_many(key, &ids, &ReadLevel::Quorum).await?;
    if let Some(missing) = found.iter().position(Option::is_none) {
        let fault = Fault::not_found(format!("there is no document {} under {key}", ids[missing]));
        return refused(wanted.len(), missing, &fault, charge);
    }
    let share = RequestCharge::new(charge.units() / ids.len() as f64);
    let done = found.into_iter().flatten().map(|document| Done {
        status: 200,
        sub_status: 0,
        charge: share,
        etag: Some(document.etag),
        body: Some(document.body),
    });
    Ok(reply(StatusCode::OK, &done.collect::<Vec<_>>()).charge(charge))
}

/// Operations that have nothing to do with each other, as bulk executors send them.
async fn bulk(call: &Call<'_>, entry: &ContainerEntry, wanted: Vec<Wanted>) -> Result<Reply, Fault> {
    let go_on = call.asked.is_true(CONTINUE_ON_ERROR);
    let (mut done, mut charge) = (Vec::with_capacity(wanted.len()), RequestCharge::ZERO);
    let mut failed = false;
    for each in &wanted {
        let one = if failed && !go_on { Err(dependent()) } else { single(call, entry, each).await };
        let one = one.unwrap_or_else(|fault| Done {
            status: fault.status.as_u16(),
            sub_status: fault.sub_status,
            charge: RequestCharge::new(1.0),
            etag: None,
            body: None,
        });
        failed |= one.status >= 400;
        charge += one.charge;
        done.push(one);
    }
    let status = if failed { StatusCode::MULTI_STATUS } else { StatusCode::OK };
    Ok(reply(status, &done).charge(charge))
}

async fn single(call: &Call<'_>, entry: &ContainerEntry, wanted: &Wanted) -> Result<Done, Fault> {
    let key = match &wanted.partition_key {
        Some(Value::String(text)) => partition_key::parse(text)?,
        Some(parts @ Value::Array(_)) => partition_key::parse(&parts.to_string())?,
        _ => partition_key::asked(call.asked)?
            .ok_or_else(|| Fault::bad_request("an operation names no partition key"))?,
    };
    let id = document_id(&id(wanted)?)?;
    if wanted.operation_type == "Read" {
        let (found, charge) = entry.container.read(&key, &id, &ReadLevel::Quorum).await?;
        let found = found.ok_or_else(|| Fault::not_found(format!("there is no document {id} under {key}")))?;
        return Ok(Done { status: 200, sub_status: 0, charge, etag: Some(found.etag), body: Some(found.body) });
    }
    let status = statuses(entry, &key, std::slice::from_ref(wanted)).await?[0];
    let operation = operation(entry, &key, wanted, status == StatusCode::OK)?;
    let written = entry.container.write(&key, operation).await?;
    let body = if call.asked.wants_content() && written.etag.is_some() {
        let (found, _) = entry.container.read(&key, &id, &ReadLevel::Quorum).await?;
        found.map(|document| document.body)
    } else {
        None
    };
    Ok(Done { status: status.as_u16(), sub_status: 0, charge: written.charge, etag: written.etag, body })
}

fn dependent() -> Fault {
    Fault::new(StatusCode::FAILED_DEPENDENCY, "FailedDependency", "an operation before it failed")
}

/// None took effect: the one that is to blame says why, the others that it was not them.
fn refused(count: usize, index: usize, fault: &Fault, charge: RequestCharge) -> Result<Reply, Fault> {
    let done = (0..count).map(|at| {
        let blamed = at == index;
        let status = if blamed { fault.status.as_u16() } else { FAILED_DEPENDENCY };
        let sub_status = if blamed { fault.sub_status } else { 0 };
        Done { status, sub_status, charge: RequestCharge::ZERO, etag: None, body: None }
    });
    Ok(reply(StatusCode::MULTI_STATUS, &done.collect::<Vec<_>>()).charge(charge))
}

fn reply(status: StatusCode, done: &[Done]) -> Reply {
    let mut text = vec![b'['];
    for (index, one) in done.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let mut head = json!({"statusCode": one.status, "requestCharge": one.charge.units()});
        if one.sub_status > 0 {
            head["subStatusCode"] = json!(one.sub_status);
        }
        if let Some(etag) = &one.etag {
            head["eTag"] = json!(etag);
        }
        let head = head.to_string();
        match &one.body {
            None => text.extend(head.as_bytes()),
            Some(body) => {
                text.extend(head.strip_suffix('}').unwrap_or(&head).as_bytes());
                text.extend(br#","resourceBody":"#);
                text.extend(body.as_ref());
                text.push(b'}');
            }
        }
    }
    text.push(b']');
    Reply::new(status).body(Bytes::from(text)).items(done.len())
}
