//! Sends conditional writes of one partition key, together where they can travel together.

use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use feedmill_store_api::{BatchOutcome, Error, ErrorKind, Operation, PartitionKey, RequestCharge};
use tracing::Instrument as _;

use super::pace::LARGE_WRITES;
use super::reader::Reader;
use super::settler::SettleError;
use super::writer::{Opened, Writer};
use crate::protection::Protection;
use crate::{metrics, spans};

/// Attempts at one request before its failure is the delivery's.
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// A write and the target it is for.
pub(super) struct Prepared {
    pub(super) target: usize,
    pub(super) operation: Operation,
}

/// What became of one request.
enum Sent {
    Committed,
    /// The operation at this index met another version; none took effect.
    Conflict(usize),
    /// Too much time has passed since the targets were read: they must be read again.
    Late,
}

/// Sends `writes`, whose targets were read at `read_at`, and returns the targets that must be settled again.
///
/// A batch in which one write meets another version is sent again without it, in two parts: what stood before it was
/// accepted, what stood behind it was never looked at.
pub(super) async fn send(
    reader: &Reader<'_>,
    opened: &Opened,
    key: &PartitionKey,
    writes: Vec<Prepared>,
    read_at: Monotonic,
) -> Result<Vec<usize>, SettleError> {
    let mut again = Vec::new();
    let mut parts = parts(writes);
    while let Some(mut part) = parts.pop() {
        match request(reader, opened, key, &part, read_at).await? {
            Sent::Committed => {
                reader.record(opened.container.name(), |tally| tally.written += part.len() as u64);
            }
            Sent::Conflict(index) => {
                reader.record(opened.container.name(), |tally| tally.conflicts += 1);
                let behind = part.split_off(index + 1);
                again.extend(part.pop().map(|write| write.target));
                parts.extend([behind, part].into_iter().filter(|part| !part.is_empty()));
            }
            Sent::Late => again.extend(part.iter().map(|write| write.target)),
        }
    }
    Ok(again)
}

/// Cuts writes into what one batch may hold.
fn parts(writes: Vec<Prepared>) -> Vec<Vec<Prepared>> {
    let mut parts = Vec::new();
    let mut part: Vec<Prepared> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let more = write.operation.body_bytes();
        if !part.is_empty() && (part.len() == BATCH_OPERATIONS_MAX || bytes + more > BATCH_BYTES_MAX) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(write);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

async fn request(
    reader: &Reader<'_>,
    opened: &Opened,
    key: &PartitionKey,
    part: &[Prepared],
    read_at: Monotonic,
) -> Result<Sent, SettleError> {
    let writer = reader.writer;
    let mut attempt = 0;
    loop {
        let sent = reader.sends(part.len());
        if sent >= LARGE_WRITES {
            in_turn(writer, opened, part.len()).await;
        }
        let permit = writer.window().enter(sent).await;
        let sent_at = writer.clock().monotonic();
        if sent_at.since(read_at) > writer.options().settle_max && Protection::SettleMax.holds() {
            return Ok(Sent::Late);
        }
        if !writer.pulse().allows(sent_at) {
            // Others may have the lease before this would arrive.
            let text = "write: this host was not heard of for too long";
            return Err(Error::new(ErrorKind::Unavailable, text).into());
        }
        let outcome = once(opened, key, part).instrument(spans::write(opened.container.name(), part.len())).await;
        let now = writer.clock().monotonic();
        let took = now.since(sent_at);
        let failure = match &outcome {
            Ok(_) => None,
            Err((_, error)) => Some(error.kind()),
        };
        writer.window().leave(permit, took, failure);
        let (index, error) = match outcome {
            Ok(charge) => {
                opened.pace.accepted(now, part.len(), charge);
                reader.record(opened.container.name(), |tally| tally.writes += charge);
                return Ok(Sent::Committed);
            }
            Err(failed) => failed,
        };
        let wait = match error.kind() {
            ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::NotFound => return Ok(Sent::Conflict(index)),
            ErrorKind::Invalid => {
                let id = part[index].operation.id();
                return Err(SettleError::Invalid(format!("write {id} into {}: {error}", opened.container.name())));
            }
            // The store's own word on when to come back; it does not use up attempts.
            ErrorKind::Throttled { after } => {
                opened.pace.refused(now);
                after + writer.entropy().jitter(BACKOFF_MIN)
            }
            ErrorKind::Unavailable if attempt + 1 < ATTEMPTS_MAX => {
                attempt += 1;
                writer.entropy().jitter(BACKOFF_MIN * 2_u32.pow(attempt))
            }
            _ => return Err(error.into()),
        };
        metrics::retried(error.kind());
        writer.clock().sleep(wait).await;
    }
}

/// Waits until it is the turn of a large delivery's next writes.
async fn in_turn(writer: &Writer, opened: &Opened, writes: usize) {
    let Some(turn) = opened.pace.turn(writer.clock().monotonic(), writes) else { return };
    loop {
        let wait = opened.pace.wait(writer.clock().monotonic(), turn);
        if wait.is_zero() {
            return;
        }
        writer.clock().sleep(wait).await;
    }
}

/// One request. A failure names the operation it is about.
async fn once(opened: &Opened, key: &PartitionKey, part: &[Prepared]) -> Result<RequestCharge, (usize, Error)> {
    let outcome = if let [only] = part {
        let written = opened.container.write(key, only.operation.clone()).await;
        written.map(|written| written.charge).map_err(|error| (0, error))
    } else {
        let operations = part.iter().map(|write| write.operation.clone()).collect();
        match opened.container.batch(key, operations).await {
            Ok(BatchOutcome::Committed { charge, .. }) => Ok(charge),
            Ok(BatchOutcome::Refused { index, error, .. }) => Err((index, error)),
            Err(error) => Err((0, error)),
        }
    };
    spans::wrote(&outcome);
    outcome
}
