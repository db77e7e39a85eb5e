use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, Monotonic};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::fault::Fault;

/// A request's body, whole. What is longer than `bytes_max` or takes longer than `limit` is refused without being kept.
pub(crate) async fn collect<B>(body: B, bytes_max: usize, limit: Duration, clock: &dyn Clock) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || Fault::too_large(format!("the body has more than {bytes_max} bytes"));
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match feedmill_clock::timeout(clock, limit, Limited::new(body, bytes_max).collect()).await {
        Some(Ok(collected)) => Ok(collected.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Some(Err(error)) => Err(Fault::bad_request(format!("the body ends in the middle: {error}"))),
        None => {
            Err(Fault::new(http::StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "the body takes too long to arrive"))
        }
    }
}

/// Replies of one connection that wait to be taken, by the time they were ready.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<BTreeMap<u64, Monotonic>>>);

impl Waiting {
    /// Whether one has been lying longer than `limit`.
    pub(crate) fn stalled(&self, now: Monotonic, limit: Duration) -> bool {
        self.0.lock().values().any(|since| now.since(*since) > limit)
    }

    fn add(&self, now: Monotonic) -> u64 {
        let mut waiting = self.0.lock();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        waiting.insert(number, now);
        number
    }
}

/// A reply's body: in memory as a whole, and counted until it is sent or given up.
pub(crate) struct Counted {
    bytes: Option<Bytes>,
    waiting: Waiting,
    number: u64,
    /// Of the bytes that may wait over all connections.
    _room: OwnedSemaphorePermit,
}

impl Counted {
    pub(crate) fn new(bytes: Bytes, room: OwnedSemaphorePermit, waiting: &Waiting, now: Monotonic) -> Self {
        let number = waiting.add(now);
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), waiting: waiting.clone(), number, _room: room }
    }
}

/// Chunks in which a body is handed on: when one is asked for, those before it have left.
const CHUNK: usize = 64 * 1024;

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(bytes) = &mut self.bytes else { return Poll::Ready(None) };
        let chunk = bytes.split_to(bytes.len().min(CHUNK));
        if bytes.is_empty() {
            self.bytes = None;
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.waiting.0.lock().remove(&self.number);
    }
}
