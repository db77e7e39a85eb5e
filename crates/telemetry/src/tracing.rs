use opentelemetry_otlp::ExporterBuildError;
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::{LogFormat, Options, Traces};

#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    #[error("read telemetry.log_filter {filter:?}: {source}")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("send traces to telemetry.traces_endpoint {endpoint:?}: it begins with neither http:// nor https://")]
    Scheme { endpoint: String },
    #[error("send traces to telemetry.traces_endpoint {endpoint:?}")]
    Endpoint { endpoint: String, source: ExporterBuildError },
    #[error("trace a part of the work of telemetry.traces_ratio {ratio}: it is from 0 to 1")]
    Ratio { ratio: f64 },
    #[error("start logging: a subscriber is installed already")]
    Installed,
}

/// Sends events to `writer` from now on, and spans to the collector, for the whole process.
///
/// The writer is the caller's because progress bars and log lines share one stderr.
pub fn start_tracing<W>(options: &Options, writer: W) -> Result<Traces, TracingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (subscriber, traces) = subscriber(options, writer)?;
    subscriber.try_init().map_err(|_| TracingError::Installed)?;
    Ok(traces)
}

fn subscriber<W>(options: &Options, writer: W) -> Result<(impl Subscriber + Send + Sync, Traces), TracingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&options.log_filter)
        .map_err(|source| TracingError::Filter { filter: options.log_filter.clone(), source })?;
    let traces = Traces::start(options)?;
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match options.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Our own alone: those of the client that sends them would be sent again and again.
    let is_ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("feedmill"));
    let spans = traces.tracer().map(|tracer| {
        let spans = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
        spans.with_target(false).with_filter(is_ours)
    });
    Ok((Registry::default().with(lines.with_filter(filter)).with(spans), traces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_filter_is_named() {
        let options = Options { log_filter: "feedmill=loud".to_owned(), ..Options::default() };
        let error = start_tracing(&options, std::io::sink).err().unwrap();
        assert!(error.to_string().contains("feedmill=loud"), "{error}");
    }
}
