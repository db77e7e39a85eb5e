//! What a trace has of the work: a span for each page that is read, each delivery, and each request that writes derived
//! documents. They go where the subscriber of the process sends them; without one each costs a branch.
//!
//! Names and fields are those of OpenTelemetry where it has them, the others begin with `feedmill`. Nothing of a document is in
//! them but the trace its writer put into it.

use std::borrow::Cow;

use feedmill_store_api::{Change, Error, ErrorKind, FeedPage, RequestCharge};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::Deserialize;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::Delivery;
use crate::lag::Gauge;

const SYSTEM: &str = "azure.cosmosdb";

/// Reading one page. A trace of its own: whose changes it brings is not known before.
pub(crate) fn page(gauge: &Gauge) -> Span {
    let (processor, source, range) = gauge.place();
    info_span!(
        parent: None, "read page", otel.kind = "client", otel.status_code = Empty, error.r#type = Empty,
        db.system.name = SYSTEM, db.collection.name = source, feedmill.processor = processor, feedmill.range = %range,
        feedmill.changes = Empty, azure.cosmosdb.operation.request_charge = Empty,
    )
}

/// For the span of [`page`], in which this is called.
pub(crate) fn read(page: &Result<FeedPage, Error>) {
    let span = Span::current();
    match page {
        Ok(page) => {
            span.record("feedmill.changes", page.changes.len());
            charged(&span, page.charge);
        }
        Err(error) => failed(&span, error),
    }
}

/// One delivery with all attempts at it. A trace of its own, linked to those in which its changes were written.
pub(crate) fn delivery(gauge: &Gauge, delivery: &Delivery) -> Span {
    let (processor, source, range) = gauge.place();
    let span = info_span!(
        parent: None, "deliver", otel.kind = "consumer", otel.status_code = Empty, error.r#type = Empty,
        db.system.name = SYSTEM, db.collection.name = source, feedmill.processor = processor, feedmill.range = %range,
        feedmill.changes = delivery.changes.len(), feedmill.lsn = delivery.lsn(),
    );
    if !span.is_disabled() {
        delivery.changes.iter().filter_map(writer).for_each(|writer| span.add_link(writer));
    }
    span
}

/// One request that writes derived documents, within the delivery that made it necessary.
pub(crate) fn write(container: &str, operations: usize) -> Span {
    info_span!(
        "write",
        otel.kind = "client",
        otel.status_code = Empty,
        error.r#type = Empty,
        db.system.name = SYSTEM,
        db.collection.name = container,
        db.operation.batch.size = operations,
        azure.cosmosdb.operation.request_charge = Empty,
    )
}

/// For the span of [`write`], in which this is called.
pub(crate) fn wrote<E>(outcome: &Result<RequestCharge, (E, Error)>) {
    let span = Span::current();
    match outcome {
        Ok(charge) => charged(&span, *charge),
        Err((_, error)) => failed(&span, error),
    }
}

fn charged(span: &Span, charge: RequestCharge) {
    span.record("azure.cosmosdb.operation.request_charge", charge.units());
}

/// The text of an error may name documents, its kind does not.
fn failed(span: &Span, error: &Error) {
    let (kind, is_expected) = match error.kind() {
        ErrorKind::Conflict => ("conflict", true),
        ErrorKind::Precondition => ("precondition", true),
        ErrorKind::NotFound => ("not_found", true),
        ErrorKind::Gone => ("gone", true),
        ErrorKind::Throttled { .. } => ("throttled", false),
        ErrorKind::Unavailable => ("unavailable", false),
        ErrorKind::Forbidden => ("forbidden", false),
        ErrorKind::Invalid => ("invalid", false),
        ErrorKind::Corrupt => ("corrupt", false),
    };
    span.record("error.type", kind);
    if !is_expected {
        span.record("otel.status_code", "error");
    }
}

/// Of a document: where its writer was, as W3C Trace Context says it.
#[derive(Deserialize)]
struct Traced<'a> {
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

/// `None` where the document does not say, or nothing that can be understood: that is no fault of the change.
fn writer(change: &Change) -> Option<SpanContext> {
    let traced: Traced<'_> = serde_json::from_slice(&change.body).ok()?;
    parse(&traced.traceparent?)
}

/// `VERSION-TRACE-PARENT-FLAGS` in hexadecimal digits; later versions may say more behind it.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.split('-');
    let mut field = |digits: usize| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        fields.next().filter(|field| field.len() == digits && field.bytes().all(is_digit))
    };
    let (version, trace, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
    Some(SpanContext::new(trace, parent, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_its_specification_says() {
        let context = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-is-to-come";
        assert!(!parse(later).unwrap().is_sampled());
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
