use bytes::Bytes;
use feedmill_local_store::{Done, Step, Transacted};
use feedmill_store_api::{ETag, Operation, PartitionKey, RequestCharge, SessionToken, limits};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::headers::{BATCH_ATOMIC, CONTINUE_ON_ERROR};
use crate::items::{Given, ROUNDS_MAX, current, document_id};
use crate::partition_key;
use crate::patch::Patch;
use crate::reply::Reply;
use crate::router::Call;

/// What became of an operation that was refused because another one of its batch was.
const FAILED_DEPENDENCY: u16 = 424;

/// Of an operation that took no effect.
fn refused_charge() -> RequestCharge {
    RequestCharge::new(1.0)
}

/// One operation as clients write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    operation_type: String,
    id: Option<String>,
    resource_body: Option<Box<RawValue>>,
    if_match: Option<String>,
    if_none_match: Option<String>,
    /// Of bulk requests only, where each operation has its own. Some clients write it as a text of JSON.
    partition_key: Option<Value>,
}

/// One operation's part of the answer.
struct Shown {
    status: u16,
    sub_status: u32,
    charge: RequestCharge,
    etag: Option<ETag>,
    body: Option<Bytes>,
}

/// What became of operations that belong together.
enum Outcome {
    Done(Vec<Shown>, RequestCharge, Option<SessionToken>),
    Refused(usize, Fault, RequestCharge),
}

pub(crate) async fn write(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let wanted: Vec<Wanted> = call.json()?;
    let (count, max) = (wanted.len(), limits::BATCH_OPERATIONS_MAX);
    if count == 0 || count > max {
        return Err(Fault::bad_request(format!("a batch of {count} operations: it has 1 to {max}")));
    }
    let bodies = wanted.iter().filter_map(|wanted| wanted.resource_body.as_ref());
    let (bytes, max) = (bodies.map(|body| body.get().len()).sum::<usize>(), limits::BATCH_BYTES_MAX);
    if bytes > max {
        return Err(Fault::too_large(format!("the documents of the batch have {bytes} bytes, they may have {max}")));
    }
    if call.asked.text(BATCH_ATOMIC).is_some_and(|atomic| atomic.eq_ignore_ascii_case("false")) {
        return bulk(call, entry, &wanted).await;
    }
    let key = partition_key::asked(call.asked)?.ok_or_else(|| {
        Fault::bad_request("a batch is of one partition key: x-ms-documentdb-partitionkey is missing")
    })?;
    Ok(match carry_out(call, entry, &key, &wanted).await? {
        Outcome::Refused(index, fault, charge) => refused(count, index, &fault, charge),
        Outcome::Done(done, charge, session) => {
            let reply = reply(StatusCode::OK, &done).charge(charge);
            session.iter().fold(reply, Reply::session)
        }
    })
}

/// All of them or none.
async fn carry_out(
    call: &Call<'_>,
    entry: &ContainerEntry,
    key: &PartitionKey,
    wanted: &[Wanted],
) -> Result<Outcome, Fault> {
    if wanted.iter().all(|wanted| wanted.operation_type == "Read") {
        return read(call, entry, key, wanted).await;
    }
    for _ in 0..ROUNDS_MAX {
        let mut steps = Vec::with_capacity(wanted.len());
        for (index, wanted) in wanted.iter().enumerate() {
            match step(entry, key, wanted, &steps).await {
                Ok(step) => steps.push(step),
                Err(fault) => return Ok(Outcome::Refused(index, fault, refused_charge())),
            }
        }
        let name = (entry.database.as_str(), entry.container.name());
        match call.directory.store.transact(name, key, steps, call.asked.wants_content()).await? {
            Transacted::Committed { done, charge, session } => {
                let shown = done.into_iter().zip(wanted).map(shown).collect();
                return Ok(Outcome::Done(shown, charge, Some(session)));
            }
            Transacted::Refused { index, error, charge } => {
                let (fault, wanted) = (Fault::from(error), &wanted[index]);
                match fault.status {
                    // Others have written in between what was to be patched: their version is patched then.
                    StatusCode::PRECONDITION_FAILED if wanted.is("Patch") => {}
                    // Absence was a condition of the upsert, not the meaning of a create.
                    StatusCode::CONFLICT if wanted.is("Upsert") => {
                        return Ok(Outcome::Refused(index, Fault::precondition_failed(fault.message), charge));
                    }
                    _ => return Ok(Outcome::Refused(index, fault, charge)),
                }
            }
        }
    }
    Err(Fault::throttled("what the batch patches is being written by too many at once", 10))
}

fn shown((done, wanted): (Done, &Wanted)) -> Shown {
    let status = match done.is_new {
        _ if wanted.is("Delete") => StatusCode::NO_CONTENT,
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Shown { status: status.as_u16(), sub_status: 0, charge: done.charge, etag: done.etag, body: done.body }
}

impl Wanted {
    fn is(&self, kind: &str) -> bool {
        self.operation_type == kind
    }

    fn id(&self) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Body {
            id: String,
        }
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let body = self.resource_body.as_ref().and_then(|body| serde_json::from_str::<Body>(body.get()).ok());
        body.map(|body| body.id).ok_or_else(|| Fault::bad_request(format!("a {} has no id", self.operation_type)))
    }

    fn body(&self) -> Result<&str, Fault> {
        let body = self.resource_body.as_ref().map(|body| body.get());
        body.ok_or_else(|| Fault::bad_request(format!("a {} has no resourceBody", self.operation_type)))
    }

    fn etag(&self) -> Option<ETag> {
        self.if_match.as_deref().filter(|etag| *etag != "*").map(ETag::new)
    }
}

/// What the store is asked to do for one operation, which comes behind those `before` it.
async fn step(entry: &ContainerEntry, key: &PartitionKey, wanted: &Wanted, before: &[Step]) -> Result<Step, Fault> {
    let given = || {
        let text = Bytes::copy_from_slice(wanted.body()?.as_bytes());
        let given = Given::new(entry, text, Some(key.clone()))?;
        match &wanted.id {
            Some(id) if *id != given.id.as_str() => {
                Err(Fault::bad_request(format!("the document's id is {}, the operation's is {id}", given.id)))
            }
            _ => Ok((given.id, given.text)),
        }
    };
    Ok(match wanted.operation_type.as_str() {
        "Create" => {
            let (id, body) = given()?;
            Step::Write(Operation::Create { id, body })
        }
        "Upsert" => {
            let (id, body) = given()?;
            match wanted.etag() {
                _ if wanted.if_none_match.as_deref() == Some("*") => Step::Write(Operation::Create { id, body }),
                Some(if_match) => Step::UpsertIf { id, body, if_match },
                None => Step::Write(Operation::Upsert { id, body }),
            }
        }
        "Replace" => {
            let (id, body) = given()?;
            Step::Write(Operation::Replace { id, body, if_match: wanted.etag() })
        }
        "Delete" => Step::Write(Operation::Delete { id: document_id(&wanted.id()?)?, if_match: wanted.etag() }),
        "Read" => Step::Read(document_id(&wanted.id()?)?),
        "Patch" => patch(entry, key, wanted, before).await?,
        other => return Err(Fault::not_implemented(format!("the operation {other} is not supported here"))),
    })
}

/// A replacement on the condition that what has been patched is still what is there.
async fn patch(entry: &ContainerEntry, key: &PartitionKey, wanted: &Wanted, before: &[Step]) -> Result<Step, Fault> {
    let (id, patch) = (document_id(&wanted.id()?)?, Patch::parse(wanted.body()?.as_bytes())?);
    let paths = entry.container.partition_key_paths();
    let within = before.iter().rev().find_map(|step| match step {
        Step::Write(write) if *write.id() == id => Some(match write {
            Operation::Create { body, .. } | Operation::Upsert { body, .. } | Operation::Replace { body, .. } => {
                Some(body)
            }
            Operation::Delete { .. } => None,
        }),
        Step::UpsertIf { id: written, body, .. } if *written == id => Some(Some(body)),
        _ => None,
    });
    let (body, if_match) = match within {
        Some(None) => return Err(Fault::not_found(format!("the batch itself deletes {id}"))),
        // Its etag will be a new one, which no condition can name.
        Some(Some(_)) if wanted.etag().is_some() => {
            return Err(Fault::precondition_failed(format!("the batch itself writes {id}")));
        }
        Some(Some(body)) => (patch.apply(body, paths)?, None),
        None => {
            let current = current(entry, key, &id).await?;
            if wanted.etag().is_some_and(|etag| etag != current.etag) {
                return Err(Fault::precondition_failed(format!("{id} has the etag {}", current.etag)));
            }
            (patch.apply(&current.body, paths)?, Some(current.etag))
        }
    };
    Ok(Step::Write(Operation::Replace { id, body, if_match }))
}

async fn read(
    call: &Call<'_>,
    entry: &ContainerEntry,
    key: &PartitionKey,
    wanted: &[Wanted],
) -> Result<Outcome, Fault> {
    let ids = wanted.iter().map(|wanted| document_id(&wanted.id()?)).collect::<Result<Vec<_>, _>>()?;
    let (found, charge) = entry.container.read_many(key, &ids, &call.asked.read_level()).await?;
    if let Some(missing) = found.iter().position(Option::is_none) {
        let fault = Fault::not_found(format!("there is no document {} under {key}", ids[missing]));
        return Ok(Outcome::Refused(missing, fault, charge));
    }
    let share = RequestCharge::new(charge.units() / ids.len() as f64);
    let shown = found.into_iter().flatten().map(|document| Shown {
        status: 200,
        sub_status: 0,
        charge: share,
        etag: Some(document.etag),
        body: Some(document.body),
    });
    Ok(Outcome::Done(shown.collect(), charge, None))
}

/// Operations that have nothing to do with each other, as bulk executors send them.
async fn bulk(call: &Call<'_>, entry: &ContainerEntry, wanted: &[Wanted]) -> Result<Reply, Fault> {
    let go_on = call.asked.is_true(CONTINUE_ON_ERROR);
    let (mut done, mut charge) = (Vec::with_capacity(wanted.len()), RequestCharge::ZERO);
    let mut failed = false;
    for each in wanted {
        let one = if failed && !go_on { Err((dependent(), refused_charge())) } else { single(call, entry, each).await };
        let one = one.unwrap_or_else(|(fault, charge)| Shown {
            status: fault.status.as_u16(),
            sub_status: fault.sub_status,
            charge,
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

async fn single(call: &Call<'_>, entry: &ContainerEntry, wanted: &Wanted) -> Result<Shown, (Fault, RequestCharge)> {
    let refuse = |fault| (fault, refused_charge());
    let key = match &wanted.partition_key {
        Some(Value::String(text)) => partition_key::parse(text),
        Some(parts @ Value::Array(_)) => partition_key::parse(&parts.to_string()),
        _ => partition_key::asked(call.asked)
            .and_then(|key| key.ok_or_else(|| Fault::bad_request("an operation names no partition key"))),
    };
    let key = key.map_err(refuse)?;
    match carry_out(call, entry, &key, std::slice::from_ref(wanted)).await.map_err(refuse)? {
        Outcome::Refused(_, fault, charge) => Err((fault, charge)),
        Outcome::Done(mut done, ..) => {
            done.pop().ok_or_else(|| refuse(Fault::unavailable("the store has not said what became of the write")))
        }
    }
}

fn dependent() -> Fault {
    Fault::new(StatusCode::FAILED_DEPENDENCY, "FailedDependency", "an operation before it failed")
}

/// None took effect: the one that is to blame says why, the others that it was not them.
fn refused(count: usize, index: usize, fault: &Fault, charge: RequestCharge) -> Reply {
    let done = (0..count).map(|at| {
        let blamed = at == index;
        let status = if blamed { fault.status.as_u16() } else { FAILED_DEPENDENCY };
        let sub_status = if blamed { fault.sub_status } else { 0 };
        Shown { status, sub_status, charge: RequestCharge::ZERO, etag: None, body: None }
    });
    reply(StatusCode::MULTI_STATUS, &done.collect::<Vec<_>>()).charge(charge)
}

fn reply(status: StatusCode, done: &[Shown]) -> Reply {
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
