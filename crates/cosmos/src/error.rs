//! Status and sub-status to what the caller should do next.

use std::sync::Arc;
use std::time::Duration;

use azure_data_cosmos::diagnostics::DiagnosticsContext;
use azure_data_cosmos::{CosmosError, CosmosStatus};
use feedmill_store_api::{Error, ErrorKind, RequestCharge};

/// The service always says how long to wait; this is for a proxy that does not.
const THROTTLE_WAIT: Duration = Duration::from_secs(1);

/// A read that failed.
pub(crate) fn failed(attempted: impl FnOnce() -> String, source: CosmosError) -> Error {
    Error::new(kind(source.status(), retry_after(&source)), attempted()).with_source(source)
}

/// A write that failed. It says so where an earlier attempt of the client, or this last one, may have happened: a 409 or 412 after
/// a lost reply may be our own success.
pub(crate) fn write_failed(attempted: impl FnOnce() -> String, source: CosmosError) -> Error {
    let (status, diagnostics) = (source.status(), source.diagnostics());
    let doubtful = match &diagnostics {
        Some(diagnostics) => lost_a_reply(diagnostics) || (is_timeout(status) && was_sent(diagnostics)),
        None => is_outage(status),
    };
    let error = failed(attempted, source);
    if doubtful { error.perhaps_applied() } else { error }
}

/// One operation's part of a batch.
pub(crate) fn of_operation(attempted: String, status: u16, sub_status: u32, after: Option<Duration>) -> Error {
    let kind = kind_of(status, sub_status, after);
    let answer = if sub_status == 0 { status.to_string() } else { format!("{status}/{sub_status}") };
    Error::new(kind, format!("{attempted}: the service answers {answer}"))
}

fn kind(status: CosmosStatus, after: Option<Duration>) -> ErrorKind {
    let sub_status = status.sub_status().map_or(0, |sub_status| u32::from(sub_status.value()));
    kind_of(u16::from(status), sub_status, after)
}

fn kind_of(status: u16, sub_status: u32, after: Option<Duration>) -> ErrorKind {
    match (status, sub_status) {
        (409, _) => ErrorKind::Conflict,
        (412, _) => ErrorKind::Precondition,
        (429, _) => ErrorKind::Throttled { after: after.unwrap_or(THROTTLE_WAIT) },
        // ReadSessionNotAvailable: the replica is behind, not the document gone.
        (404, 1002 | 20_310) => ErrorKind::Unavailable,
        (404, _) => ErrorKind::NotFound,
        // PartitionKeyRangeGone, CompletingSplit, CompletingPartitionMigration.
        (410, 1002 | 1007 | 1008) => ErrorKind::Gone,
        // The client followed one split after another.
        (500, 20_206) => ErrorKind::Gone,
        // A region that takes no writes, or is no longer of the account: the client looks for another one.
        (403, 3 | 1008) => ErrorKind::Unavailable,
        (401 | 403, _) => ErrorKind::Forbidden,
        // The container was made anew under its name.
        (400, 1024) => ErrorKind::NotFound,
        // An answer that is not what the protocol promises.
        (500, 20_020) => ErrorKind::Corrupt,
        (500, 20_021) => ErrorKind::Invalid,
        (408 | 410 | 449 | 500.., _) => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}

fn retry_after(error: &CosmosError) -> Option<Duration> {
    error.response().and_then(|response| response.headers().retry_after_ms).map(Duration::from_millis)
}

/// Request units of a failed operation with all its attempts.
pub(crate) fn charge_of(error: &CosmosError) -> RequestCharge {
    error.diagnostics().map_or(RequestCharge::ZERO, |diagnostics| charge(&diagnostics))
}

pub(crate) fn charge(diagnostics: &Arc<DiagnosticsContext>) -> RequestCharge {
    RequestCharge::new(diagnostics.total_request_charge().value())
}

/// Whether an attempt was perhaps carried out although nobody heard of it.
pub(crate) fn lost_a_reply(diagnostics: &DiagnosticsContext) -> bool {
    diagnostics.requests().iter().any(|request| {
        let lost = request.timed_out() || is_outage(*request.status());
        // Before it calls an attempt failed, the client may have sent it over another connection of its own accord.
        let on_the_side =
            request.failed_transport_shards().iter().any(|failed| failed.request_sent().may_have_been_sent());
        on_the_side || (lost && request.request_sent().may_have_been_sent())
    })
}

fn was_sent(diagnostics: &DiagnosticsContext) -> bool {
    let requests = diagnostics.requests();
    requests.is_empty() || requests.iter().any(|request| request.request_sent().may_have_been_sent())
}

fn is_timeout(status: CosmosStatus) -> bool {
    u16::from(status) == 408
}

/// Not an answer to the request, so it says nothing about whether it was carried out.
fn is_outage(status: CosmosStatus) -> bool {
    matches!(u16::from(status), 408 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_remedy() {
        use ErrorKind::*;
        let after = Duration::from_millis(7);
        let table = [
            (400, 0, Invalid),
            (400, 1001, Invalid),
            (400, 1024, NotFound),
            (400, 20_113, Invalid),
            (401, 0, Forbidden),
            (401, 20_402, Forbidden),
            (403, 0, Forbidden),
            (403, 3, Unavailable),
            (403, 1008, Unavailable),
            (403, 5300, Forbidden),
            (404, 0, NotFound),
            (404, 1002, Unavailable),
            (404, 1003, NotFound),
            (408, 20_008, Unavailable),
            (409, 0, Conflict),
            (410, 0, Unavailable),
            (410, 1000, Unavailable),
            (410, 1002, Gone),
            (410, 1007, Gone),
            (410, 1008, Gone),
            (412, 0, Precondition),
            (413, 0, Invalid),
            (429, 3200, Throttled { after }),
            (449, 0, Unavailable),
            (500, 0, Unavailable),
            (500, 20_020, Corrupt),
            (500, 20_206, Gone),
            (503, 20_003, Unavailable),
        ];
        for (status, sub_status, expected) in table {
            assert_eq!(kind_of(status, sub_status, Some(after)), expected, "{status}/{sub_status}");
        }
        assert_eq!(kind_of(429, 3200, None), Throttled { after: THROTTLE_WAIT });
    }
}
