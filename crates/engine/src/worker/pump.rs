//! The loop: read page → lanes → progress → checkpoint → read page.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::{Error, ErrorKind, FeedPage, PartitionKey, Position};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument as _;

use super::checkpointer::{Checkpoint, Checkpointer};
use super::delivery::{self, Fate, Slot};
use super::lanes::{Lanes, Ticket};
use super::poll::{Poll, Polled};
use super::progress::{PageEnd, PageNumber, Progress};
use super::{Context, RangeState};
use crate::dead_letters::Fault;
use crate::lease::{HeldLease, Lost};
use crate::lifetime::Round;
use crate::limits::TURN_INTERVAL;
use crate::protection::Protection;
use crate::range::Order;
use crate::shutdown::Stop;
use crate::{Delivery, retry, spans};

/// How a worker ended.
pub(crate) struct Ended {
    pub(crate) why: Why,
    /// `None` when it is lost.
    pub(crate) lease: Option<HeldLease>,
    /// Settled, without a gap before it, and in no checkpoint yet.
    pub(crate) position: Option<Position>,
}

pub(crate) enum Why {
    Stopped,
    /// What was read is settled, and the lease is wanted elsewhere.
    Ordered(Order),
    /// This host may send nothing any more.
    Fenced,
    Lost(Lost),
    Halted(String),
    Gone(Error),
}

/// Reads and delivers from the lease's position until told to stop or something ends it.
pub(crate) async fn run(
    context: &Arc<Context>,
    lease: HeldLease,
    stop: &Stop,
    orders: &mut watch::Receiver<Order>,
) -> Ended {
    let mut pump = Pump::new(context, lease);
    let why = loop {
        if let Some(why) = pump.start() {
            break why;
        }
        let event = pump.next(stop, orders).await;
        if let Some(why) = pump.handle(event) {
            break why;
        }
    };
    pump.end(why, stop).await
}

struct Pump {
    context: Arc<Context>,
    poll: Poll,
    lanes: Lanes,
    slots: Arc<Semaphore>,
    deliveries: JoinSet<Done>,
    progress: Progress,
    checkpointer: Checkpointer,
    rounds: watch::Receiver<Round>,
    leaving: Option<Leaving>,
    /// The round of the last poll, when it was empty.
    empty_in: Option<u64>,
    /// The last round this range was reported idle in.
    reported: u64,
}

/// No more is read: the lease is wanted elsewhere once what was read is settled, or at this time.
struct Leaving {
    order: Order,
    until: Monotonic,
}

/// A delivery that came to its end.
struct Done {
    /// `None` for a change that never had a key.
    lane: Option<(PartitionKey, Ticket)>,
    pages: Vec<(PageNumber, usize)>,
    fate: Fate,
}

enum Event {
    Stop,
    Fenced,
    Order(Order),
    Polled(Polled),
    Done(Result<Done, JoinError>),
    Slot(OwnedSemaphorePermit),
    Checkpoint(Checkpoint),
    Time,
}

impl Pump {
    fn new(context: &Arc<Context>, lease: HeldLease) -> Self {
        let now = context.clock.monotonic();
        let (options, entropy) = (&context.options, context.entropy.clone());
        let source = Arc::clone(&context.source);
        let gauge = Arc::clone(&context.gauge);
        let poll = Poll::new(source, context.range.clone(), lease.start().clone(), options, entropy, (gauge, now));
        context.gauge.state(RangeState::Reading);
        Self {
            poll,
            lanes: Lanes::default(),
            slots: Arc::new(Semaphore::new(options.deliveries_in_flight_max.max(1))),
            deliveries: JoinSet::new(),
            progress: Progress::default(),
            checkpointer: Checkpointer::new(lease, options, context.renewal, context.patience.backoff()),
            rounds: context.participant.rounds(),
            leaving: None,
            empty_in: None,
            reported: 0,
            context: Arc::clone(context),
        }
    }

    /// Starts whatever can be started now. Returns why it ends, where there is nothing left to wait for.
    fn start(&mut self) -> Option<Why> {
        let now = self.context.clock.monotonic();
        self.context.gauge.stands(Some((now, self.lanes.changes())));
        // Also where no place is free: otherwise the loop would wake for a time that has passed, again and again.
        self.lanes.warm(now);
        let is_ours = self.checkpointer.good_until().is_none_or(|until| now <= until);
        if !is_ours || (!self.context.pulse.allows(now) && Protection::DeadlineOfDeliveries.holds()) {
            return Some(Why::Fenced);
        }
        if let Some(leaving) = &self.leaving
            && (self.is_idle() || leaving.until <= now)
        {
            return Some(Why::Ordered(leaving.order.clone()));
        }
        while let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            if !self.deliver(now, permit) {
                break;
            }
        }
        let Round { number: round, hasten } = *self.rounds.borrow_and_update();
        if self.has_room() {
            self.poll.start(now, round, hasten);
        }
        let idle = self.is_idle();
        if idle && self.empty_in.is_some() {
            self.context.gauge.caught_up();
        }
        let caught_up = idle && round > self.reported && self.empty_in == Some(round);
        self.checkpointer.start(now, caught_up);
        if caught_up {
            self.reported = round;
            self.context.participant.idle(round);
        }
        None
    }

    async fn next(&mut self, stop: &Stop, orders: &mut watch::Receiver<Order>) -> Event {
        let clock = &self.context.clock;
        let now = clock.monotonic();
        let poll_at = if self.has_room() { self.poll.due_at() } else { None };
        let leave_at = self.leaving.as_ref().map(|leaving| leaving.until);
        let over_at = self.checkpointer.good_until().map(|until| until + Duration::from_millis(1));
        let due = [poll_at, self.lanes.next_warm(), self.checkpointer.due_at(), leave_at, over_at];
        let wake = due.into_iter().flatten().min();
        // Also where there is nothing to wait for but the store: a loop that goes round is told from one that hangs.
        let wait = wake.map_or(TURN_INTERVAL, |at| at.since(now).min(TURN_INTERVAL));
        let slots = Arc::clone(&self.slots);
        // In this order nobody starves: orders and checkpoints are few, pages end when there is no room, and whatever
        // happens, the loop then starts all that is due.
        tokio::select! {
            biased;
            () = stop.taking_stopped() => Event::Stop,
            () = self.context.pulse.fenced() => Event::Fenced,
            // Without the fleet that gives orders there are none.
            Ok(()) = orders.changed() => Event::Order(orders.borrow_and_update().clone()),
            checkpoint = self.checkpointer.finished(|| clock.monotonic()) => Event::Checkpoint(checkpoint),
            polled = self.poll.finished(|| clock.monotonic()) => Event::Polled(polled),
            Some(done) = self.deliveries.join_next() => Event::Done(done),
            // Dropping a place in the queue is fine: who is ahead is not slowed down by it.
            permit = slots.acquire_owned(), if self.lanes.has_ready() => {
                Event::Slot(permit.expect("the semaphore is never closed"))
            }
            _ = self.rounds.changed() => Event::Time,
            () = clock.sleep(wait) => Event::Time,
        }
    }

    fn handle(&mut self, event: Event) -> Option<Why> {
        match event {
            Event::Stop => Some(Why::Stopped),
            Event::Fenced => Some(Why::Fenced),
            Event::Order(order) => self.order(order),
            Event::Time => None,
            Event::Slot(permit) => {
                self.deliver(self.context.clock.monotonic(), permit);
                None
            }
            Event::Done(done) => {
                let mut why = self.done(done);
                // Many end at once; each of them is not worth a turn of the loop.
                while why.is_none()
                    && let Some(done) = self.deliveries.try_join_next()
                {
                    why = self.done(done);
                }
                why
            }
            Event::Polled(Polled::Page(page, round)) => {
                self.page(page, round);
                None
            }
            Event::Polled(Polled::Failed(error)) => self.poll_failed(error),
            Event::Checkpoint(checkpoint) => self.checkpointed(checkpoint),
        }
    }

    fn order(&mut self, order: Order) -> Option<Why> {
        match order {
            Order::Work => self.leaving = None,
            Order::Lost(lost) => return Some(Why::Lost(lost)),
            Order::Release | Order::HandOver(_) | Order::Divide(_) => {
                self.context.gauge.state(RangeState::Leaving);
                let until = self.context.clock.monotonic() + self.context.options.hand_over_drain_max;
                self.leaving = Some(Leaving { order, until });
            }
        }
        None
    }

    fn page(&mut self, page: FeedPage, round: u64) {
        let context = &self.context;
        context.gauge.page(page.changes.len(), page.head_lsn, page.charge, context.clock.monotonic());
        context.gauge.recovered();
        context.ledger.session(&context.range, &page.session);
        let (Some(first), Some(last)) = (page.changes.first(), page.changes.last()) else {
            self.empty_in = Some(round);
            return;
        };
        self.empty_in = None;
        context.gauge.state(RangeState::Reading);
        let end = PageEnd { position: page.position, lsn: last.lsn };
        let number = self.progress.open(end, page.changes.len(), first.timestamp_seconds);
        context.gauge.oldest(self.progress.oldest());
        let session = Arc::new(page.session);
        for change in page.changes {
            match context.paths.of(&change.body) {
                Ok(key) => self.lanes.push(key, number, change, &session),
                Err(error) => {
                    let fault = Fault::new(format!("its partition key cannot be read: {error}"));
                    let context = Arc::clone(context);
                    self.deliveries.spawn(async move {
                        let fate = delivery::refuse(&context, change, fault).await;
                        Done { lane: None, pages: vec![(number, 1)], fate }
                    });
                }
            }
        }
    }

    /// False when there is nothing to deliver now.
    fn deliver(&mut self, now: Monotonic, permit: OwnedSemaphorePermit) -> bool {
        // A key that gathers is not waited for by a lease that is wanted elsewhere.
        let warm = if self.leaving.is_some() { Monotonic::from_origin(Duration::MAX) } else { now };
        let Some(batch) = self.lanes.take(warm) else { return false };
        let context = Arc::clone(&self.context);
        let slot = Slot::new(Arc::clone(&self.slots), permit);
        let mut ticket = batch.ticket;
        let pages = std::mem::take(&mut ticket.pages);
        let delivery = Delivery {
            container: Arc::clone(&context.container),
            container_rid: Arc::clone(&context.container_rid),
            key: batch.key.clone(),
            changes: batch.changes,
            session: batch.session,
        };
        self.deliveries.spawn(async move {
            let span = spans::delivery(&context.gauge, &delivery);
            let fate = Box::pin(delivery::deliver(&context, delivery, slot).instrument(span)).await;
            Done { lane: Some((batch.key, ticket)), pages, fate }
        });
        true
    }

    fn done(&mut self, done: Result<Done, JoinError>) -> Option<Why> {
        let done = match done {
            Ok(done) => done,
            // Handlers' panics are caught before; this one is the engine's own.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return None,
            },
        };
        let took = match done.fate {
            Fate::Settled(took) => took,
            Fate::Halt(reason) => return Some(Why::Halted(reason)),
            Fate::Fenced => return Some(Why::Fenced),
        };
        let now = self.context.clock.monotonic();
        if let Some((key, ticket)) = &done.lane {
            let factor = self.context.options.gather_factor;
            let cool = self.context.gather.then(|| now + self.lanes.pause(key, took, factor));
            self.lanes.finish(key, ticket, cool);
        }
        for (page, changes) in done.pages {
            self.progress.done(page, changes);
            self.context.gauge.delivered(changes, now);
        }
        if let Some((pages, end)) = self.progress.settled() {
            self.context.gauge.settled(pages, end.lsn);
            self.checkpointer.settled(pages, end, now);
        }
        self.context.gauge.oldest(self.progress.oldest());
        self.context.gauge.recovered();
        None
    }

    fn poll_failed(&mut self, error: Error) -> Option<Why> {
        match error.kind() {
            ErrorKind::Gone => Some(Why::Gone(error)),
            kind if retry::is_outage(kind) => {
                // Nobody knows whether it still is at its end.
                self.empty_in = None;
                self.context.trouble(&error);
                None
            }
            // A container that is gone, or a position that the feed does not know: no amount of waiting helps.
            _ => Some(Why::Halted(format!("reading the feed: {error}"))),
        }
    }

    fn checkpointed(&mut self, checkpoint: Checkpoint) -> Option<Why> {
        match checkpoint {
            Checkpoint::Written(position, charge) => {
                if let Some(position) = position {
                    self.context.gauge.checkpointed(position.as_str(), self.context.clock.monotonic());
                }
                self.context.gauge.lease_written(&self.context.options.leases, charge);
                None
            }
            Checkpoint::Failed(error) => {
                self.context.trouble(&error);
                None
            }
            Checkpoint::Lost(lost) => Some(Why::Lost(lost)),
        }
    }

    /// Drains what runs, unless the lease is lost, and takes the lease out.
    async fn end(mut self, mut why: Why, stop: &Stop) -> Ended {
        self.context.gauge.stands(None);
        while !matches!(why, Why::Lost(_) | Why::Fenced)
            && (!self.deliveries.is_empty() || self.checkpointer.is_writing())
        {
            let clock = &self.context.clock;
            let event = tokio::select! {
                biased;
                () = self.context.pulse.fenced() => Event::Fenced,
                Some(done) = self.deliveries.join_next() => Event::Done(done),
                checkpoint = self.checkpointer.finished(|| clock.monotonic()) => Event::Checkpoint(checkpoint),
                () = stop.draining_stopped(), if !self.deliveries.is_empty() => {
                    self.deliveries.shutdown().await;
                    continue;
                }
            };
            match self.handle(event) {
                Some(Why::Lost(lost)) => why = Why::Lost(lost),
                Some(Why::Fenced) => why = Why::Fenced,
                // A second reason to halt does not replace the first.
                Some(other) if matches!(why, Why::Stopped) => why = other,
                _ => {}
            }
        }
        // Nothing that was done without the lease may be done any longer.
        self.deliveries.shutdown().await;
        let (lease, position) = self.checkpointer.into_lease();
        Ended { why, lease, position }
    }

    fn is_idle(&self) -> bool {
        self.lanes.changes() == 0 && self.deliveries.is_empty()
    }

    fn has_room(&self) -> bool {
        let options = &self.context.options;
        self.leaving.is_none()
            && self.lanes.changes() < options.changes_in_flight_max
            && self.lanes.bytes() < options.bytes_in_flight_max
            && self.progress.pages() < options.pages_in_flight_max
    }
}
