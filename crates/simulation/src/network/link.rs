use std::sync::atomic::Ordering;

use feedmill_clock::Clock;
use feedmill_store_api::{Error, Operation, Result};
use futures::channel::oneshot;
use futures::future::BoxFuture;

use super::fate::{self, Course, Fate};
use super::{Inner, Network};
use crate::gate::Gate;

/// One life of one host on the network.
#[derive(Clone)]
pub(crate) struct Link {
    pub(super) network: Network,
    pub(super) host: std::sync::Arc<str>,
    gate: Gate,
}

/// A request that can be sent more than once.
pub(super) type Sender<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T>> + Send + Sync>;

impl Link {
    pub(crate) fn new(network: &Network, host: &str, gate: &Gate) -> Self {
        Self { network: network.clone(), host: host.into(), gate: gate.clone() }
    }

    /// Sends a request and waits for its reply. Once it is sent it goes its way, whatever becomes of who waits.
    pub(super) async fn request<T: Send + 'static>(
        &self,
        what: impl Fn() -> String + Send + 'static,
        is_write: bool,
        send: Sender<T>,
    ) -> Result<T> {
        self.gate.pass().await;
        let Inner { entropy, weather, trace, .. } = &*self.network.0;
        let course = weather.lock().course(entropy, is_write);
        let number = self.network.0.requests.fetch_add(1, Ordering::Relaxed);
        trace.say(&self.host, || format!("#{number} {}  {:?}", what(), course.fate));
        let (reply, replied) = oneshot::channel();
        let passage = Passage { network: self.network.clone(), host: self.host.clone(), number, reply: Some(reply) };
        let under_way = is_write.then(|| UnderWay::new(&self.network));
        tokio::spawn(async move {
            passage.carry(course, send).await;
            drop(under_way);
        });
        let answer = replied.await.unwrap_or_else(|_| Err(fate::unanswered()));
        self.gate.pass().await;
        trace.say(&self.host, || match &answer {
            Ok(_) => format!("#{number} answered"),
            Err(error) => format!("#{number} {:?} {:?}", error.kind(), error.applied()),
        });
        answer
    }

    /// Tells the network that something was written.
    pub(super) fn landed<'a>(&self, container: &str, operations: impl IntoIterator<Item = &'a Operation>) {
        for operation in operations {
            self.network.0.witness.landed(&self.host, container, operation);
        }
        self.network.landings(container).raise();
    }
}

/// A request on its way.
struct Passage<T> {
    network: Network,
    host: std::sync::Arc<str>,
    number: u64,
    reply: Option<oneshot::Sender<Result<T>>>,
}

impl<T: Send + 'static> Passage<T> {
    async fn carry(mut self, Course { there, back, fate }: Course, send: Sender<T>) {
        let inner = std::sync::Arc::clone(&self.network.0);
        let Inner { clock, entropy, .. } = &*inner;
        match fate {
            Fate::Answered => {
                clock.sleep(there).await;
                let answer = self.arrive(&send).await;
                clock.sleep(back).await;
                self.answer(answer);
            }
            Fate::Refused(refusal) => {
                clock.sleep(there + back).await;
                self.answer(Err(fate::refused(refusal)));
            }
            Fate::Lost { applied } => {
                clock.sleep(there).await;
                if applied {
                    // Nobody hears what became of it.
                    let _unheard = self.arrive(&send).await;
                }
                clock.sleep(fate::give_up(entropy)).await;
                self.answer(Err(fate::unanswered()));
            }
            Fate::Late { by } => {
                clock.sleep(fate::give_up(entropy)).await;
                self.answer(Err(fate::unanswered()));
                clock.sleep(by).await;
                let _unheard = self.arrive(&send).await;
            }
            Fate::Twice { second_after, reply_of_second } => {
                clock.sleep(there).await;
                let first = self.arrive(&send).await;
                if !reply_of_second {
                    clock.sleep(back).await;
                    self.answer(first);
                }
                clock.sleep(second_after).await;
                let second = self.arrive(&send).await;
                if reply_of_second {
                    clock.sleep(back).await;
                    self.answer(second);
                }
            }
        }
    }

    async fn arrive(&self, send: &Sender<T>) -> Result<T> {
        let orphan = self.reply.as_ref().is_none_or(oneshot::Sender::is_canceled);
        let answer = send().await;
        self.network.0.trace.say(&self.host, || {
            let late = if orphan { ", late" } else { "" };
            match &answer {
                Ok(_) => format!("#{} took effect{late}", self.number),
                Err(error) => format!("#{} did not take effect{late}: {:?}", self.number, Error::kind(error)),
            }
        });
        answer
    }

    fn answer(&mut self, answer: Result<T>) {
        if let Some(reply) = self.reply.take() {
            // Who crashed meanwhile does not hear it.
            let _gone = reply.send(answer);
        }
    }
}

/// Counts a write until nothing can come of it any more.
struct UnderWay(Network);

impl UnderWay {
    fn new(network: &Network) -> Self {
        network.0.writes_under_way.fetch_add(1, Ordering::Relaxed);
        Self(network.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.writes_under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
