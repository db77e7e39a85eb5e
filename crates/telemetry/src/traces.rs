use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceId, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample};

use crate::{Options, TracingError};

/// Where collectors take spans, behind their address.
const PATH: &str = "/v1/traces";
/// How long the end waits for what is not sent yet.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Sends what has been sampled to the collector until it is dropped, which sends the rest. Holds 2,048 spans at most; what a
/// collector does not take fast enough is lost.
#[must_use = "nothing is sent once it is dropped"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Credentials, another name than `feedmill` and more may be in the environment, in OpenTelemetry's own variables
    /// (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`).
    pub(crate) fn start(options: &Options) -> Result<Self, TracingError> {
        let (endpoint, ratio) = (options.traces_endpoint.clone(), options.traces_ratio);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(TracingError::Ratio { ratio });
        }
        if endpoint == "none" {
            return Ok(Self(None));
        }
        if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Err(TracingError::Scheme { endpoint });
        }
        let exporter =
            SpanExporter::builder().with_http().with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')));
        let exporter = exporter.build().map_err(|source| TracingError::Endpoint { endpoint, source })?;
        let detectors: [Box<dyn ResourceDetector>; 2] =
            [Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())];
        let resource = Resource::builder_empty().with_service_name("feedmill").with_detectors(&detectors);
        let sampling = Sampling(Sampler::TraceIdRatioBased(ratio));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_sampler(Sampler::ParentBased(Box::new(sampling)))
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(Some(provider)))
    }

    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.0.as_ref().map(|provider| provider.tracer("feedmill"))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(|provider| provider.shutdown_with_timeout(FLUSH_MAX)) {
            tracing::warn!(error = %error, "the last spans were not sent");
        }
    }
}

/// What a sampled trace is linked to is sampled, so that one can follow it to the end; of the rest a part.
#[derive(Clone, Debug)]
struct Sampling(Sampler);

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_followed = links.iter().any(|link| link.span_context.is_sampled());
        let sampler = if is_followed { &Sampler::AlwaysOn } else { &self.0 };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}
