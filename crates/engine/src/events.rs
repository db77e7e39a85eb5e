//! What happens to leases and hosts, for whoever wants to know.

use feedmill_store_api::FeedRange;
use serde::Serialize;
use tokio::sync::broadcast;

/// Events kept for a listener that is slow; it is told how many it missed.
const KEPT: usize = 1_024;

/// Something that happened on this host, or that it found out about another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A range is read here from now on.
    LeaseHeld { processor: String, source: String, range: FeedRange, epoch: u64 },
    /// A lease was freed, or handed to `to`, with everything settled in it.
    LeaseGiven { processor: String, source: String, range: FeedRange, to: Option<String> },
    /// A lease went to somebody else, or was changed by an operator.
    LeaseLost { processor: String, source: String, range: FeedRange, to: Option<String> },
    /// A range was split; its parts have leases.
    RangeDivided { processor: String, source: String, range: FeedRange, parts: Vec<FeedRange> },
    /// A range stopped, and somebody must look.
    RangeHalted { processor: String, source: String, range: FeedRange, reason: String },
    /// The store fails a range; everything is sent again until it does not.
    StoreFails { processor: String, source: String, range: FeedRange, error: String },
    /// The worker of a range broke, which is a bug of ours; it begins again at its checkpoint.
    WorkerBroke { processor: String, source: String, range: FeedRange, error: String },
    /// A change could not be applied by its own fault, and was written down.
    DeadLetter { processor: String, source: String, range: FeedRange, document: String, error: String },
    /// This host was not heard of for so long that others may have its leases; it does nothing until it is heard of again.
    Fenced { host: String },
    /// Another host's heartbeat stood still; its leases go to others.
    HostDied { host: String, incarnation: String },
}

/// Where events come out. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }

    pub(crate) fn tell(&self, event: Event) {
        // Nobody listens: nothing to do.
        let _listeners = self.0.send(event);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
