use std::net::{IpAddr, Ipv4Addr};

use feedmill_clock::SystemClock;
use feedmill_engine::Lag;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tonic::Code;

use super::*;
use crate::Unmeasured;
use crate::protocol::external_scaler_client::ExternalScalerClient;
use crate::protocol::{GetMetricsRequest, ScaledObjectRef};

/// Says what it is told to, and counts how often it was asked.
struct Told {
    answer: Mutex<Result<Vec<(String, Lag)>, Unmeasured>>,
    asked: Mutex<u32>,
}

impl Lags for Told {
    fn lags(&self) -> BoxFuture<'_, Result<Vec<(String, Lag)>, Unmeasured>> {
        *self.asked.lock() += 1;
        let answer = self.answer.lock().clone();
        Box::pin(std::future::ready(answer))
    }
}

type Client = ExternalScalerClient<tonic::transport::Channel>;

/// A server that knows this, and a client of it.
async fn asked(answer: Result<Vec<(String, Lag)>, Unmeasured>) -> (Arc<Told>, Client) {
    let told = Arc::new(Told { answer: Mutex::new(answer), asked: Mutex::new(0) });
    let listening = Listening::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await.unwrap();
    let address = listening.address();
    let serving = listening.serve(told.clone(), Arc::new(SystemClock), CancellationToken::new());
    tokio::spawn(serving);
    (told, ExternalScalerClient::connect(format!("http://{address}")).await.unwrap())
}

fn scaled(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ScaledObjectRef { name: "mill".to_owned(), namespace: "feeds".to_owned(), scaler_metadata: metadata.collect() }
}

async fn value(client: &mut Client, metadata: &[(&str, &str)]) -> Result<f64, tonic::Status> {
    let request = GetMetricsRequest { scaled_object_ref: Some(scaled(metadata)), metric_name: "x".to_owned() };
    let values = client.get_metrics(request).await?.into_inner().metric_values;
    assert_eq!(values[0].metric_name, "x");
    assert_eq!(values[0].metric_value, values[0].metric_value_float.ceil() as i64);
    Ok(values[0].metric_value_float)
}

fn behind(processor: &str, changes: u64, seconds: u64) -> (String, Lag) {
    (processor.to_owned(), Lag { changes, seconds })
}

#[tokio::test]
async fn keda_hears_what_is_measured_of_the_processor_it_asks_for() {
    let lags = vec![behind("user-feed", 300, 9), behind("user-feed", 50, 20), behind("counters", 7, 1)];
    let (told, mut client) = asked(Ok(lags)).await;
    assert_eq!(value(&mut client, &[]).await.unwrap(), 357.0);
    assert_eq!(value(&mut client, &[("processor", "user-feed")]).await.unwrap(), 350.0);
    assert_eq!(value(&mut client, &[("unit", "seconds")]).await.unwrap(), 20.0);
    assert!(client.is_active(scaled(&[])).await.unwrap().into_inner().result);
    assert_eq!(*told.asked.lock(), 1, "questions that follow each other are answered from one look");

    let specs = client.get_metric_spec(scaled(&[("target", "250")])).await.unwrap().into_inner().metric_specs;
    assert_eq!((specs[0].target_size, specs[0].target_size_float), (250, 250.0));
    assert_eq!(specs[0].metric_name, "feedmill-lag-changes");
}

#[tokio::test]
async fn what_cannot_be_measured_is_an_error_and_never_nothing() {
    let (told, mut client) = asked(Err(Unmeasured("the store throttles".to_owned()))).await;
    let refused = value(&mut client, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("the store throttles"), "{refused}");
    assert_eq!(client.is_active(scaled(&[])).await.unwrap_err().code(), Code::Unavailable);
    let mut stream = client.stream_is_active(scaled(&[])).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);

    *told.answer.lock() = Ok(vec![behind("user-feed", 0, 0)]);
    assert_eq!(value(&mut client, &[]).await.unwrap(), 0.0, "a failure is not kept");
    assert_eq!(value(&mut client, &[("target", "none")]).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_empty_lease_store_wants_one_replica() {
    let (_told, mut client) = asked(Ok(Vec::new())).await;
    assert_eq!(value(&mut client, &[]).await.unwrap(), 1.0);
    assert!(client.is_active(scaled(&[])).await.unwrap().into_inner().result);
    let mut stream = client.stream_is_active(scaled(&[])).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().result);
}
