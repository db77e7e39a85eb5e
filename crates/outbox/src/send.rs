//! Writes documents of one partition key, together where they can travel together.

use std::time::Duration;

use feedmill_clock::{Clock, Monotonic, timeout};
use feedmill_store_api::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use feedmill_store_api::{
    BatchOutcome, Container, Document, DocumentId, Error, ErrorKind, Operation, PartitionKey, ReadLevel, Result,
};

use crate::decide::{self, Stored};
use crate::document::Prepared;
use crate::metrics;

/// Attempts at one request before its events are put off.
const ATTEMPTS_MAX: u32 = 6;
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The document is this version, or a newer one.
    Landed { written: bool },
    /// The event's own fault.
    Failed(String),
    /// The store's fault, or nobody's: to be tried again, at least this much later.
    Deferred { why: String, after: Duration },
}

/// A document to write and the field its version stands in.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) event: &'a Prepared,
    pub(crate) version_field: &'a str,
}

/// One container and partition key, until a deadline.
pub(crate) struct Sender<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) container: &'a dyn Container,
    pub(crate) key: &'a PartitionKey,
    pub(crate) deadline: Monotonic,
}

impl Sender<'_> {
    /// Writes different documents. One verdict an item, in their order.
    pub(crate) async fn send(&self, items: &[Item<'_>]) -> Vec<Verdict> {
        let mut verdicts = vec![None; items.len()];
        let mut parts = parts(items);
        while let Some(part) = parts.pop() {
            let of_part: Vec<Item<'_>> = part.iter().map(|index| items[*index]).collect();
            match self.write(&of_part).await {
                Ok(written) => {
                    for (index, written) in part.into_iter().zip(written) {
                        verdicts[index] = Some(Verdict::Landed { written });
                    }
                }
                // One of them cannot be written as it is, and the store does not say reliably which.
                Err(error) if is_own_fault(&error) && part.len() > 1 => {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.extend([first, second]);
                }
                Err(error) => {
                    let verdict = verdict(&error, self.container.name());
                    for index in part {
                        verdicts[index] = Some(verdict.clone());
                    }
                }
            }
        }
        verdicts.into_iter().map(|verdict| verdict.expect("parts cover all items")).collect()
    }

    /// All or nothing. Whether each item was written, or found to be there already.
    async fn write(&self, items: &[Item<'_>]) -> Result<Vec<bool>> {
        let mut delay = BACKOFF_MIN;
        let mut guess = true;
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let error = match self.attempt(items, guess).await {
                Ok(written) => return Ok(written),
                Err(error) => error,
            };
            match error.kind() {
                // Somebody else wrote in between, or an earlier attempt of ours that was not answered did.
                ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound => guess = false,
                ErrorKind::Throttled { after } if self.clock.monotonic() + after < self.deadline => {
                    self.clock.sleep(after.max(delay)).await;
                    delay *= 2;
                }
                _ => return Err(error),
            }
            last = Some(error);
        }
        let error = Error::new(ErrorKind::Unavailable, format!("write to {}: gave up for now", self.container.name()));
        Err(match last {
            Some(last) => error.with_source(last),
            None => error,
        })
    }

    /// `guess`: take it that a first version is not there, and spare the read.
    async fn attempt(&self, items: &[Item<'_>], guess: bool) -> Result<Vec<bool>> {
        let is_read = |item: &Item<'_>| !guess || item.event.version > 1;
        let ids: Vec<DocumentId> =
            items.iter().filter(|item| is_read(item)).map(|item| item.event.id.clone()).collect();
        let mut documents = self.read(&ids).await?.into_iter();
        let mut operations = Vec::new();
        let mut written = Vec::with_capacity(items.len());
        for item in items {
            let document = if is_read(item) { Some(documents.next().flatten()) } else { None };
            let stored = match &document {
                None => Stored::Unread,
                Some(None) => Stored::Absent,
                Some(Some(document)) => Stored::Is(document),
            };
            let operation = decide::write(item.event, item.version_field, &stored)?;
            written.push(operation.is_some());
            operations.extend(operation);
        }
        self.request(operations).await.map(|()| written)
    }

    async fn read(&self, ids: &[DocumentId]) -> Result<Vec<Option<Document>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.container.read_many(self.key, ids, &ReadLevel::Quorum);
        let (documents, charge) = self.in_time(read).await?;
        charged(charge.units());
        Ok(documents)
    }

    async fn request(&self, mut operations: Vec<Operation>) -> Result<()> {
        if operations.len() > 1 {
            return match self.in_time(self.container.batch(self.key, operations)).await? {
                BatchOutcome::Committed { charge, .. } => {
                    charged(charge.units());
                    Ok(())
                }
                BatchOutcome::Refused { error, charge, .. } => {
                    charged(charge.units());
                    Err(error)
                }
            };
        }
        if let Some(operation) = operations.pop() {
            charged(self.in_time(self.container.write(self.key, operation)).await?.charge.units());
        }
        Ok(())
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        // Zero when the deadline has passed; then nothing is sent.
        let left = self.deadline.since(self.clock.monotonic());
        let late = || {
            let text = format!("no answer of {} before the end of the batch", self.container.name());
            Error::new(ErrorKind::Unavailable, text).perhaps_applied()
        };
        if left.is_zero() {
            return Err(late());
        }
        timeout(self.clock, left, request).await.unwrap_or_else(|| Err(late()))
    }
}

/// Cuts items into what one batch may hold. The last part is the first to be sent.
fn parts(items: &[Item<'_>]) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, item) in items.iter().enumerate() {
        let more = item.event.body.len();
        match parts.last_mut() {
            Some(part) if part.len() < BATCH_OPERATIONS_MAX && bytes + more <= BATCH_BYTES_MAX => part.push(index),
            _ => {
                parts.push(vec![index]);
                bytes = 0;
            }
        }
        bytes += more;
    }
    parts.reverse();
    parts
}

fn is_own_fault(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Corrupt)
}

pub(crate) fn verdict(error: &Error, container: &str) -> Verdict {
    let why = format!("write to {container}: {}", chain(error));
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Corrupt => Verdict::Failed(why),
        ErrorKind::Throttled { after } => Verdict::Deferred { why, after },
        _ => Verdict::Deferred { why, after: Duration::ZERO },
    }
}

/// Operators read this text in a table, where nobody follows sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn charged(units: f64) {
    ::metrics::counter!(metrics::CHARGE).increment((units * 100.0).round() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{document, route};

    fn events(count: usize, bytes: usize) -> Vec<Prepared> {
        let event = |index: usize| {
            let payload = format!(r#"{{"postId":"{index}","version":1,"text":"{}"}}"#, "x".repeat(bytes));
            document::prepare(&route::defaults()["post"], &payload, 60).unwrap()
        };
        (0..count).map(event).collect()
    }

    fn lengths(events: &[Prepared]) -> Vec<usize> {
        let items: Vec<Item<'_>> = events.iter().map(|event| Item { event, version_field: "version" }).collect();
        parts(&items).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_batch_holds_a_hundred_documents_or_two_megabytes() {
        assert_eq!(lengths(&events(250, 1)), [50, 100, 100]);
        assert_eq!(lengths(&events(5, 900_000)), [1, 2, 2]);
        assert_eq!(lengths(&events(1, 3_000_000)), [1]);
        assert_eq!(lengths(&[]), [0_usize; 0]);
    }
}
