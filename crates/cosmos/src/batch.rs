//! Transactional batches. A batch that was refused comes back as a success (207) with a status for each operation.

use azure_data_cosmos::TransactionalBatch;
use azure_data_cosmos::models::TransactionalBatchOperationResult;
use azure_data_cosmos::options::{BatchDeleteOptions, BatchReplaceOptions};
use feedmill_store_api::{
    BatchOutcome, ETag, Error, ErrorKind, Operation, PartitionKey, RequestCharge, Result, SessionToken, limits,
};

use crate::body;
use crate::container::{CosmosContainer, sdk_key, session};
use crate::documents::{attempted, precondition};
use crate::error::{charge, failed, lost_a_reply, of_operation, write_failed};

/// Another operation of the batch is at fault.
const FAILED_DEPENDENCY: u16 = 424;

pub(crate) async fn execute(
    container: &CosmosContainer,
    key: &PartitionKey,
    operations: Vec<Operation>,
) -> Result<BatchOutcome> {
    let name = &container.spec.name;
    check_limits(name, &operations)?;
    let what = || format!("write a batch of {} operations of {key} to {name}", operations.len());
    let mut batch = TransactionalBatch::new(sdk_key(key)?);
    for operation in &operations {
        batch = with(batch, operation)?;
    }
    let response = Box::pin(container.client.execute_transactional_batch(batch, None)).await;
    let response = response.map_err(|error| write_failed(what, error))?;
    let (charge, session) = (charge(&response.diagnostics()), session(response.headers()));
    let doubtful = lost_a_reply(&response.diagnostics());
    let answer = response.into_model().map_err(|error| failed(what, error).perhaps_applied())?;
    let outcome = judge(answer.results(), &operations, key, name, (charge, session));
    let (outcome, doubtful) = (outcome.map_err(|error| Error::new(error, what()).perhaps_applied())?, doubtful);
    Ok(match outcome {
        // The batch was perhaps carried out by an attempt whose reply was lost, and refused when it came again.
        BatchOutcome::Refused { index, error, charge } if doubtful => {
            BatchOutcome::Refused { index, error: error.perhaps_applied(), charge }
        }
        outcome => outcome,
    })
}

fn check_limits(container: &str, operations: &[Operation]) -> Result<()> {
    let (count, max) = (operations.len(), limits::BATCH_OPERATIONS_MAX);
    let invalid = |text| Err(Error::new(ErrorKind::Invalid, text));
    if count == 0 || count > max {
        return invalid(format!("write a batch of {count} operations to {container}: it may have 1 to {max}"));
    }
    let (bytes, max) = (operations.iter().map(Operation::body_bytes).sum::<usize>(), limits::BATCH_BYTES_MAX);
    if bytes > max {
        return invalid(format!("write a batch of {bytes} bytes to {container}: it may have {max}"));
    }
    Ok(())
}

fn with(batch: TransactionalBatch, operation: &Operation) -> Result<TransactionalBatch> {
    let refused = |error| failed(|| format!("put {} into a batch", operation.id()), error);
    match operation {
        Operation::Create { id, body } => batch.create_item(body::checked(id, body)?).map_err(refused),
        Operation::Upsert { id, body } => batch.upsert_item(body::checked(id, body)?, None).map_err(refused),
        Operation::Replace { id, body, if_match } => {
            let body = body::checked(id, body)?;
            let options =
                if_match.as_ref().map(|etag| BatchReplaceOptions::default().with_precondition(precondition(etag)));
            batch.replace_item(id.as_str().to_owned(), body, options).map_err(refused)
        }
        Operation::Delete { id, if_match } => {
            let options =
                if_match.as_ref().map(|etag| BatchDeleteOptions::default().with_precondition(precondition(etag)));
            Ok(batch.delete_item(id.as_str().to_owned(), options))
        }
    }
}

/// Committed only when every single operation says so; `Err` where the answer makes no sense.
fn judge(
    results: &[TransactionalBatchOperationResult],
    operations: &[Operation],
    key: &PartitionKey,
    container: &str,
    (charge, session): (RequestCharge, SessionToken),
) -> std::result::Result<BatchOutcome, ErrorKind> {
    let fault = results.iter().position(|result| !result.is_success() && result.status_code() != FAILED_DEPENDENCY);
    if let Some(index) = fault {
        let (Some(result), Some(operation)) = (results.get(index), operations.get(index)) else {
            return Err(ErrorKind::Corrupt);
        };
        let sub_status = result.substatus_code().unwrap_or(0);
        let attempted = attempted(operation, key, container);
        let error = of_operation(attempted, result.status_code(), sub_status, result.retry_after());
        return Ok(BatchOutcome::Refused { index, error, charge });
    }
    if results.len() != operations.len() || !results.iter().all(TransactionalBatchOperationResult::is_success) {
        return Err(ErrorKind::Corrupt);
    }
    let etags = results.iter().zip(operations).map(|(result, operation)| match operation {
        Operation::Delete { .. } => None,
        _ => result.etag().map(ETag::new),
    });
    Ok(BatchOutcome::Committed { etags: etags.collect(), charge, session })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use feedmill_store_api::DocumentId;

    use super::*;

    fn judged(answer: &str) -> std::result::Result<BatchOutcome, ErrorKind> {
        let results: Vec<TransactionalBatchOperationResult> = serde_json::from_str(answer).unwrap();
        let delete = |id: &str| Operation::Delete { id: DocumentId::new(id).unwrap(), if_match: None };
        let operations =
            [Operation::Create { id: DocumentId::new("a").unwrap(), body: r#"{"id":"a"}"#.into() }, delete("b")];
        let paid = (RequestCharge::new(1.0), SessionToken(String::new()));
        judge(&results, &operations, &PartitionKey::from("k"), "posts", paid)
    }

    #[test]
    fn a_batch_is_committed_only_when_every_operation_is() {
        let Ok(BatchOutcome::Committed { etags, .. }) =
            judged(r#"[{"statusCode":201,"eTag":"\"1\""},{"statusCode":204}]"#)
        else {
            panic!("both succeeded");
        };
        assert_eq!(etags, [Some(ETag::new("\"1\"")), None]);
        for answer in ["[]", r#"[{"statusCode":201}]"#, r#"[{"statusCode":424},{"statusCode":424}]"#] {
            assert_eq!(judged(answer).unwrap_err(), ErrorKind::Corrupt, "{answer}");
        }
    }

    #[test]
    fn the_operation_at_fault_is_named_with_its_remedy() {
        let table = [
            (r#"[{"statusCode":409},{"statusCode":424}]"#, 0, ErrorKind::Conflict),
            (r#"[{"statusCode":424},{"statusCode":404}]"#, 1, ErrorKind::NotFound),
            (r#"[{"statusCode":424},{"statusCode":412}]"#, 1, ErrorKind::Precondition),
            (
                r#"[{"statusCode":424},{"statusCode":429,"retryAfterMilliseconds":12}]"#,
                1,
                ErrorKind::Throttled { after: Duration::from_millis(12) },
            ),
        ];
        for (answer, at, kind) in table {
            match judged(answer) {
                Ok(BatchOutcome::Refused { index, error, .. }) => assert_eq!((index, error.kind()), (at, kind)),
                other => panic!("{answer}: {other:?}"),
            }
        }
    }
}
