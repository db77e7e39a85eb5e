//! What the gateway counts, and what it says about it.

use http::StatusCode;

const REQUESTS: &str = "feedmill_gateway_requests_total";
const CONNECTIONS: &str = "feedmill_gateway_connections";
const STALLED: &str = "feedmill_gateway_stalled_connections_total";

pub(crate) fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests answered, by the class of their status");
    metrics::describe_gauge!(CONNECTIONS, "Connections that are open");
    metrics::describe_counter!(STALLED, "Connections closed because nobody took their replies");
}

pub(crate) fn answered(status: StatusCode) {
    let class = match status.as_u16() {
        429 => "throttled",
        200..=299 => "done",
        300..=399 => "unchanged",
        400..=499 => "refused",
        _ => "failed",
    };
    metrics::counter!(REQUESTS, "outcome" => class).increment(1);
}

pub(crate) fn connections(change: f64) {
    metrics::gauge!(CONNECTIONS).increment(change);
}

pub(crate) fn stalled() {
    metrics::counter!(STALLED).increment(1);
}
