use std::sync::Arc;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

use crate::Family;

/// A metric's name and what it means.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
}

pub(crate) const PANICS: Metric =
    Metric { name: "feedmill_telemetry_panics_total", description: "Tasks that panicked since the process started" };

/// Upper bounds for whatever is counted in seconds: from a read in memory to a day of catching up.
const SECONDS: [f64; 17] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0, 86_400.0];

/// Upper bounds for request units of one operation.
const UNITS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 2_000.0];

#[derive(Debug, thiserror::Error)]
#[error("start collecting metrics")]
pub struct MetricsError(#[source] Box<BuildError>);

/// What is asked at each scrape.
type Source = Box<dyn Fn() -> Vec<Family> + Send + Sync>;

/// The process's metrics, in Prometheus' text format. Clones are one.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    sources: Arc<RwLock<Vec<Source>>>,
}

impl Metrics {
    /// Collects from now on, for the whole process. Without it every metric costs next to nothing and goes nowhere.
    pub fn start() -> Result<Self, MetricsError> {
        let recorded = recorder().map_err(|error| MetricsError(Box::new(error)))?;
        metrics::describe_counter!(PANICS.name, Unit::Count, PANICS.description);
        metrics::counter!(PANICS.name).absolute(0);
        Ok(Self { recorded, sources: Arc::default() })
    }

    /// Asks `source` at each scrape, too. It must not wait for anything.
    pub fn ask(&self, source: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.sources.write().push(Box::new(source));
    }

    pub fn render(&self) -> String {
        let mut text = self.recorded.render();
        for source in self.sources.read().iter() {
            source().iter().for_each(|family| family.render(&mut text));
        }
        text
    }

    /// Folds what histograms gathered. To be called every few seconds: where nobody scrapes, memory would grow.
    pub fn upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// With buckets, so that quantiles can be taken over all hosts.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_units".to_owned()), &UNITS)?
        .install_recorder()
}
