use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, unfold};
use tonic::{Request, Response, Status};

use crate::demand::{Demand, demand};
use crate::lags::Recent;
use crate::protocol::external_scaler_server::ExternalScaler;
use crate::protocol::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};
use crate::trigger::Trigger;

/// How often a stream looks whether replicas are wanted.
const STREAM_INTERVAL: Duration = Duration::from_secs(15);

/// Answers one question after the other; what it knows is the store's.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Recent>);

impl Service {
    async fn demand(&self, trigger: &Trigger) -> Result<Demand, Status> {
        let measured = self.0.measure().await.map_err(|error| {
            tracing::warn!(error = %error, "the lag is not known, and nobody is told that there is none");
            Status::unavailable(error.to_string())
        })?;
        let of_trigger = |processor: &str| trigger.processor.as_ref().is_none_or(|wanted| wanted == processor);
        let lags: Vec<_> =
            measured.iter().filter(|(processor, _)| of_trigger(processor)).map(|(_, lag)| *lag).collect();
        Ok(demand(trigger, &lags))
    }
}

fn trigger(scaled: &ScaledObjectRef) -> Result<Trigger, Status> {
    Trigger::parse(&scaled.scaler_metadata).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// For versions of KEDA that know whole numbers alone; what is there is never rounded to nothing.
fn whole(value: f64) -> i64 {
    value.ceil() as i64
}

#[tonic::async_trait]
impl ExternalScaler for Service {
    type StreamIsActiveStream = BoxStream<'static, Result<IsActiveResponse, Status>>;

    async fn is_active(&self, request: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        let Demand { active, .. } = self.demand(&trigger(request.get_ref())?).await?;
        Ok(Response::new(IsActiveResponse { result: active }))
    }

    /// Ends with the first failure: KEDA asks again, with growing delays, and keeps the replicas it has.
    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let trigger = trigger(request.get_ref())?;
        let answers = unfold(Some((self.clone(), trigger, false)), |state| async {
            let (service, trigger, again) = state?;
            if again {
                service.0.clock().sleep(STREAM_INTERVAL).await;
            }
            match service.demand(&trigger).await {
                Ok(Demand { active, .. }) => {
                    Some((Ok(IsActiveResponse { result: active }), Some((service, trigger, true))))
                }
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let trigger = trigger(request.get_ref())?;
        let spec = MetricSpec {
            metric_name: trigger.metric_name(),
            target_size: whole(trigger.target),
            target_size_float: trigger.target,
        };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        let scaled = scaled_object_ref.ok_or_else(|| Status::invalid_argument("nothing says what is scaled"))?;
        let Demand { value, .. } = self.demand(&trigger(&scaled)?).await?;
        let value = MetricValue { metric_name, metric_value: whole(value), metric_value_float: value };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}
