//! One delivery through its handler: tried again, taken apart, written down.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::{Change, Error};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Context, RangeState};
use crate::dead_letters::{Failure, Fault, source_id};
use crate::events::Event;
use crate::options::OnError;
use crate::protection::Protection;
use crate::supervisor::catch;
use crate::{Delivery, Outcome, SettleError, metrics, retry};

/// What became of a delivery.
pub(super) enum Fate {
    /// Every change is settled or written down. How long the handler took when it succeeded.
    Settled(Duration),
    /// The range must halt before it.
    Halt(String),
    /// This host may not work now: others may have the lease.
    Fenced,
}

/// A place among the deliveries that run; given up while a faulty one waits, so that it holds up its own key alone.
pub(super) struct Slot {
    slots: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    pub(super) fn new(slots: Arc<Semaphore>, permit: OwnedSemaphorePermit) -> Self {
        Self { slots, permit: Some(permit) }
    }

    async fn without(&mut self, wait: impl Future<Output = ()>) {
        self.permit = None;
        wait.await;
        self.permit = Arc::clone(&self.slots).acquire_owned().await.ok();
    }
}

/// Why an attempt did not succeed.
enum Trouble {
    /// The store's: it passes.
    Store(Error),
    Own(Fault),
}

/// Delivers until every change is settled or written down. Cancelling it loses nothing: nothing is settled then.
pub(super) async fn deliver(context: &Context, delivery: Delivery, mut slot: Slot) -> Fate {
    let Delivery { container, container_rid, key, changes, session } = delivery;
    let part = |changes| Delivery {
        container: Arc::clone(&container),
        container_rid: Arc::clone(&container_rid),
        key: key.clone(),
        changes,
        session: session.clone(),
    };
    let mut took = Duration::ZERO;
    let mut attempts = 0;
    let mut failed: Option<(Monotonic, Timestamp)> = None;
    let mut outage = context.patience.backoff();
    let mut faults = context.patience.backoff();
    // What is still to be delivered, the next part last.
    let mut parts = vec![part(changes)];
    while let Some(delivery) = parts.pop() {
        let began = context.clock.monotonic();
        // Whoever was frozen while it waited finds out here, before it is told.
        if !context.pulse.allows(began) && Protection::DeadlineOfDeliveries.holds() {
            return Fate::Fenced;
        }
        match attempt(context, &delivery).await {
            Ok(outcome) => {
                let this = context.clock.monotonic().since(began);
                took += this;
                context.gauge.labels().delivery(this);
                context.gauge.labels().projected(&delivery.changes, context.clock.now().as_second());
                outage.reset();
                attempts = 0;
                if let Err(reason) = conclude(context, &delivery, &outcome).await {
                    return Fate::Halt(reason);
                }
            }
            Err(Trouble::Store(error)) => {
                context.trouble(&error);
                context.clock.sleep(outage.after(error.kind())).await;
                parts.push(delivery);
            }
            Err(Trouble::Own(_)) if delivery.changes.len() > 1 => {
                // Halves, the first one first: what is not at fault goes through, in order.
                let mut first = delivery.changes;
                let second = first.split_off(first.len() / 2);
                parts.push(part(second));
                parts.push(part(first));
            }
            Err(Trouble::Own(fault)) => {
                let now = context.clock.monotonic();
                // One deadline for the delivery, so that many faulty changes of a key do not add up.
                let (since, at) = *failed.get_or_insert((now, context.clock.now()));
                attempts += 1;
                if now.since(since) < context.options.retry_inline {
                    let left = context.options.retry_inline.saturating_sub(now.since(since));
                    slot.without(context.clock.sleep(faults.next().min(left))).await;
                    parts.push(delivery);
                    continue;
                }
                if let Err(reason) = write_down(context, &delivery, 0, &fault, attempts, at).await {
                    return Fate::Halt(reason);
                }
                attempts = 0;
            }
        }
    }
    Fate::Settled(took)
}

/// A change that does not tell its key cannot be delivered.
pub(super) async fn refuse(context: &Context, change: Change, fault: Fault) -> Fate {
    let now = context.clock.now();
    match write(context, None, &change, &fault, 1, now).await {
        Ok(()) => Fate::Settled(Duration::ZERO),
        Err(reason) => Fate::Halt(reason),
    }
}

async fn attempt(context: &Context, delivery: &Delivery) -> Result<Outcome, Trouble> {
    let _active = context.participant.activity();
    let settler = context.writer.settler(delivery);
    let result = catch(context.handler.handle(delivery, &settler)).await;
    let spent = settler.tally().total();
    context.gauge.charge(spent.reads + spent.writes);
    let trouble = match result {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(SettleError::Store(error))) if !retry::is_own_fault(error.kind()) => Trouble::Store(error),
        Ok(Err(error)) => Trouble::Own(Fault::new(error.to_string())),
        Err(panicked) => Trouble::Own(Fault::new(panicked.to_string())),
    };
    context.gauge.failure();
    Err(trouble)
}

/// The handler is done with this part: what it rejected is written down at once, because no attempt would change that;
/// what it applied closes what was written down before.
async fn conclude(context: &Context, delivery: &Delivery, outcome: &Outcome) -> Result<(), String> {
    if outcome.rejected.is_empty() {
        return applied(context, delivery, &delivery.changes).await;
    }
    let now = context.clock.now();
    for (index, change) in delivery.changes.iter().enumerate() {
        match outcome.rejected.iter().find(|rejection| rejection.index == index) {
            Some(rejection) => write_down(context, delivery, index, &Fault::new(&*rejection.reason), 1, now).await?,
            None => applied(context, delivery, std::slice::from_ref(change)).await?,
        }
    }
    Ok(())
}

async fn applied(context: &Context, delivery: &Delivery, changes: &[Change]) -> Result<(), String> {
    let closed = context.ledger.applied(&delivery.key, changes).await;
    closed.map_err(|error| format!("dead letters of {} could not be closed: {error}", delivery.key))
}

async fn write_down(
    context: &Context,
    delivery: &Delivery,
    index: usize,
    fault: &Fault,
    attempts: u64,
    first_failed_at: Timestamp,
) -> Result<(), String> {
    write(context, Some(delivery), &delivery.changes[index], fault, attempts, first_failed_at).await
}

async fn write(
    context: &Context,
    delivery: Option<&Delivery>,
    change: &Change,
    fault: &Fault,
    attempts: u64,
    first_failed_at: Timestamp,
) -> Result<(), String> {
    let source_id = source_id(change);
    let key = delivery.map(|delivery| &delivery.key);
    let shown = key.map(ToString::to_string).unwrap_or_default();
    if context.options.on_error == OnError::Halt {
        return Err(format!("document {source_id} of {shown}: {}", fault.as_str()));
    }
    if !context.letters.admit(context.clock.monotonic()) {
        return Err(format!(
            "more than {} dead letters in a minute; the last one, document {source_id} of {shown}: {}",
            context.options.dead_letters_per_minute_max,
            fault.as_str()
        ));
    }
    let (source_id, range) = (&*source_id, &context.range);
    let failure = Failure { key, source_id, change, range, fault, attempts, first_failed_at };
    let written = context.ledger.write(&failure).await;
    written.map_err(|error| format!("the dead letter of {source_id} of {shown} could not be written: {error}"))?;
    context.gauge.dead_letter();
    let (processor, source, range) = context.gauge.place();
    let (document, error) = (source_id.to_owned(), fault.as_str().to_owned());
    context.events.tell(Event::DeadLetter { processor, source, range, document, error });
    tracing::warn!(
        range = %context.gauge.name(), document = source_id, key = shown, error = fault.as_str(), attempts,
        "a change could not be applied; it is a dead letter"
    );
    Ok(())
}

impl Context {
    /// Shows that the store fails.
    pub(super) fn trouble(&self, error: &Error) {
        metrics::retried(error.kind());
        let state = RangeState::Waiting { error: error.to_string() };
        if !self.gauge.is_in(&state) {
            tracing::warn!(range = %self.gauge.name(), error = %error, "the store fails; waiting");
            self.gauge.state(state);
            let (processor, source, range) = self.gauge.place();
            self.events.tell(Event::StoreFails { processor, source, range, error: error.to_string() });
        }
    }
}

/// Counts dead letters within the last minute.
#[derive(Debug)]
pub(super) struct LetterRate {
    max: usize,
    recent: Mutex<VecDeque<Monotonic>>,
}

impl LetterRate {
    const WINDOW: Duration = Duration::from_secs(60);

    pub(super) fn new(max: usize) -> Self {
        Self { max, recent: Mutex::default() }
    }

    /// Whether one more is still within the limit.
    fn admit(&self, now: Monotonic) -> bool {
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|at| now.since(*at) >= Self::WINDOW) {
            recent.pop_front();
        }
        if recent.len() >= self.max {
            return false;
        }
        recent.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_the_last_minute_only() {
        let rate = LetterRate::new(2);
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        assert!(rate.admit(at(0)) && rate.admit(at(30)));
        assert!(!rate.admit(at(59)));
        assert!(rate.admit(at(60)));
        assert!(!rate.admit(at(61)));
        assert!(rate.admit(at(90)));
    }
}
