//! Reads one range of a feed and delivers it. Read `pump.rs` for the loop.

mod checkpointer;
mod delivery;
mod key;
mod lanes;
mod poll;
mod progress;
mod pump;
mod state;

use std::sync::Arc;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{Container, FeedRange};

use self::delivery::LetterRate;
pub(crate) use self::key::KeyPaths;
use crate::dead_letters::Ledger;
use crate::events::Events;
use crate::fleet::Pulse;
use crate::lag::Gauge;
use crate::lifetime::{Participant, Rounds};
use crate::retry::Patience;
use crate::{Handler, Options, Processor, Writer};

pub(crate) use checkpointer::Renewal;
pub(crate) use pump::{Ended, Why, run};
pub use state::RangeState;

/// What one worker works with.
pub(crate) struct Context {
    pub(crate) range: FeedRange,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) participant: Participant,
    source: Arc<dyn Container>,
    container: Arc<str>,
    container_rid: Arc<str>,
    paths: KeyPaths,
    handler: Arc<dyn Handler>,
    gather: bool,
    writer: Writer,
    pub(crate) pulse: Pulse,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Entropy,
    pub(crate) patience: Patience,
    pub(crate) options: Arc<Options>,
    /// Where leases are shared: how they are kept.
    pub(crate) renewal: Option<Renewal>,
    letters: LetterRate,
}

/// What the workers of all processors share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) patience: Patience,
    pub(crate) options: Arc<Options>,
    /// Where leases are shared: how they are kept.
    pub(crate) renewal: Option<Renewal>,
    pub(crate) writer: Writer,
    pub(crate) rounds: Arc<Rounds>,
    pub(crate) pulse: Pulse,
    pub(crate) events: Events,
}

impl Context {
    pub(crate) fn new(
        shared: &Shared,
        processor: &Processor,
        source: &Arc<dyn Container>,
        range: FeedRange,
        gauge: Arc<Gauge>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            range,
            gauge,
            ledger,
            participant: shared.rounds.participant(),
            source: Arc::clone(source),
            container: source.name().into(),
            container_rid: source.rid().into(),
            paths: KeyPaths::new(source.partition_key_paths()),
            handler: Arc::clone(&processor.handler),
            gather: processor.gather,
            writer: shared.writer.clone(),
            pulse: shared.pulse.clone(),
            events: shared.events.clone(),
            clock: Arc::clone(&shared.clock),
            entropy: shared.entropy.clone(),
            patience: shared.patience.clone(),
            options: Arc::clone(&shared.options),
            renewal: shared.renewal,
            letters: LetterRate::new(shared.options.dead_letters_per_minute_max),
        }
    }
}
