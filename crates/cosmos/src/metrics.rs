//! What requests cost and how often they were tried, as the client reports them. Nobody listens unless a recorder is installed.

use azure_core::http::Context;
use azure_data_cosmos::diagnostics::{CosmosOperationContext, DiagnosticsContext, DiagnosticsHandler};
use metrics::{counter, histogram};

/// Finished operations, each page of a feed or a query one, by container, operation and status.
const OPERATIONS: &str = "feedmill_cosmos_operations_total";
/// HTTP requests behind them; more than operations where the client tried again, by container and operation.
const ATTEMPTS: &str = "feedmill_cosmos_attempts_total";
/// Request units of an operation with all its attempts, by container and operation.
const UNITS: &str = "feedmill_cosmos_request_units";
/// Seconds from the first attempt to the last reply, by container and operation.
const SECONDS: &str = "feedmill_cosmos_operation_seconds";

/// Hears of every operation once, failed ones included.
pub(crate) struct Requests;

impl DiagnosticsHandler for Requests {
    fn handle(&self, diagnostics: &DiagnosticsContext, context: &Context<'_>) {
        let known = context.value::<CosmosOperationContext>();
        let container = known.and_then(CosmosOperationContext::container_name).unwrap_or("none").to_owned();
        let operation = known.and_then(CosmosOperationContext::operation_name).unwrap_or("unknown").to_owned();
        let labels = [("container", container), ("operation", operation)];
        let status = diagnostics.status().map_or("none".to_owned(), |status| u16::from(*status).to_string());
        let attempts = u64::try_from(diagnostics.request_count()).unwrap_or(u64::MAX);
        counter!(OPERATIONS, [&labels[..], &[("status", status)]].concat().as_slice()).increment(1);
        counter!(ATTEMPTS, &labels).increment(attempts);
        histogram!(UNITS, &labels).record(diagnostics.total_request_charge().value());
        histogram!(SECONDS, &labels).record(diagnostics.duration().as_secs_f64());
    }
}
