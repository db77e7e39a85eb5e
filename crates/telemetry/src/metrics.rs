use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// A metric's name and what it means.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
}

pub(crate) const PANICS: Metric =
    Metric { name: "feedmill_telemetry_panics_total", description: "Tasks that panicked since the process started" };

#[derive(Debug, thiserror::Error)]
#[error("start collecting metrics")]
pub struct MetricsError(#[source] Box<BuildError>);

/// The process's metrics, in Prometheus' text format.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Collects from now on, for the whole process. Without it every metric costs next to nothing and goes nowhere.
    pub fn start() -> Result<Self, MetricsError> {
        let handle = PrometheusBuilder::new().install_recorder().map_err(|error| MetricsError(Box::new(error)))?;
        metrics::describe_counter!(PANICS.name, Unit::Count, PANICS.description);
        metrics::counter!(PANICS.name).absolute(0);
        Ok(Self(handle))
    }

    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms gathered. To be called every few seconds: where nobody scrapes, memory would grow.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}
