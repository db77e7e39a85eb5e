//! One range from getting its lease to giving it away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use feedmill_clock::timeout;
use feedmill_store_api::{FeedRange, Position};
use tokio::sync::watch;

use crate::events::Event;
use crate::fleet::Pulse;
use crate::lease::{Divided, Error, Failed, HeldLease, Keeper, Lost, Owner, Stored, Taken};
use crate::limits::RESTARTS_MAX;
use crate::metrics::LeaseMove;
use crate::shutdown::Stop;
use crate::supervisor::{Panicked, catch};
use crate::worker::{self, Context, Ended, RangeState, Renewal, Why};

/// What the fleet wants of a range that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Work,
    /// Finish what was read, store how far it is, and free the lease.
    Release,
    /// The same, and the lease goes to this host.
    HandOver(Owner),
    /// The same, and these parts get leases in its place.
    Divide(Vec<FeedRange>),
    /// The lease is somebody else's: stop at once.
    Lost(Lost),
}

/// How it came to run.
pub(crate) enum Begin {
    /// The lease is free, or its owner is dead.
    Take(Stored),
    /// Its last owner made it ours.
    Given(Stored),
}

/// How it ended.
pub(crate) enum Left {
    /// Free or handed over, as we wrote it.
    Given(Box<Stored>),
    /// Not ours: as it was found, or `None` where it is no more.
    Others(Option<Box<Stored>>),
    /// The range was split; these are its parts.
    Divided(Vec<Stored>),
    /// This host may not work now; the lease says ours as far as anybody knows.
    Fenced,
    /// The engine stops.
    Stopped,
}

/// What a range runs with.
pub(crate) struct Range {
    pub(crate) context: Arc<Context>,
    /// Its parts that have leases, because somebody began to divide it or it was made again afterwards; or that shall have
    /// them.
    pub(crate) parts: Vec<FeedRange>,
    /// In which it has the lease, or will have: the fleet takes a lease of ours in another for somebody else's doing.
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) keeper: Keeper,
    pub(crate) stop: Stop,
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) pulse: Pulse,
}

/// What ended the rest of a range that is not read.
enum Rested {
    Stopped,
    Fenced,
    /// Somebody wants its lease free.
    Released,
    /// Somebody has its lease.
    Lost,
}

/// What a worker's end leads to.
enum Next {
    Again(Stored),
    End(Left),
}

impl Range {
    /// Takes the lease, works, and gives it away.
    pub(crate) async fn keep(mut self, begin: Begin) -> Left {
        let left = self.run(begin).await;
        self.context.participant.leave();
        left
    }

    async fn run(&mut self, mut begin: Begin) -> Left {
        let mut broken = Broken::default();
        loop {
            let stored = match &begin {
                Begin::Take(stored) | Begin::Given(stored) => stored.clone(),
            };
            let taken = tokio::select! {
                biased;
                () = self.stop.taking_stopped() => return Left::Stopped,
                () = self.pulse.fenced() => return Left::Fenced,
                taken = Box::pin(self.acquire(begin)) => taken,
            };
            let lease = match taken {
                Ok(Taken::Held(lease)) => lease,
                Ok(Taken::Others(found)) => return Left::Others(found),
                Err(error) => {
                    self.halt(&describe(&error));
                    return match self.rest().await {
                        Rested::Stopped => Left::Stopped,
                        _ => Left::Fenced,
                    };
                }
            };
            match self.work(*lease, &stored, &mut broken).await {
                Next::Again(stored) => begin = Begin::Take(stored),
                Next::End(left) => return left,
            }
        }
    }

    async fn acquire(&self, begin: Begin) -> Result<Taken, Error> {
        let labels = self.context.gauge.labels();
        let stored = match begin {
            Begin::Take(stored) => stored,
            Begin::Given(stored) => match self.keeper.given(stored.clone()) {
                Some(lease) => {
                    labels.lease_moved(LeaseMove::Received);
                    return Ok(Taken::Held(Box::new(lease)));
                }
                None => stored,
            },
        };
        self.epoch.store(stored.lease.epoch() + 1, Ordering::Relaxed);
        let taken = self.keeper.take(stored).await;
        if matches!(taken, Ok(Taken::Held(_))) {
            labels.lease_moved(LeaseMove::Taken);
        }
        taken
    }

    async fn work(&mut self, lease: HeldLease, known: &Stored, broken: &mut Broken) -> Next {
        let context = Arc::clone(&self.context);
        if !self.parts.is_empty() {
            return self.divide(lease, None, "parts of it have leases, or should").await;
        }
        context.gauge.begins_at(lease.position().map(str::to_owned));
        tracing::info!(range = %context.gauge.name(), position = lease.position(), "reading");
        let (processor, source, range) = context.gauge.place();
        context.events.tell(Event::LeaseHeld { processor, source, range, epoch: lease.epoch() });
        let settled = context.gauge.settled_pages();
        let ended = catch(Box::pin(worker::run(&context, lease, &self.stop, &mut self.orders))).await;
        context.gauge.stands(None);
        context.ledger.released(&context.range);
        let Ended { why, lease, position } = match ended {
            Ok(ended) => ended,
            Err(panicked) => {
                let progressed = context.gauge.settled_pages() > settled;
                return self.broke(&panicked, known, broken, progressed).await;
            }
        };
        match (why, lease) {
            (Why::Stopped, Some(lease)) => self.give(lease, None, position).await,
            (Why::Ordered(Order::HandOver(heir)), Some(lease)) => self.give(lease, Some(heir), position).await,
            (Why::Ordered(Order::Divide(parts)), Some(lease)) => {
                self.parts = parts;
                self.divide(lease, position, "more hosts than ranges can work").await
            }
            (Why::Ordered(_), Some(lease)) => self.give(lease, None, position).await,
            (Why::Halted(reason), Some(lease)) => {
                self.halt(&reason);
                self.hold(lease, position).await
            }
            (Why::Gone(error), Some(lease)) => self.divide(lease, position, &error.to_string()).await,
            (Why::Fenced, _) => Next::End(Left::Fenced),
            (why, _) => {
                let lost = match why {
                    Why::Lost(lost) => lost,
                    _ => Lost { owner: None },
                };
                self.lost(known, &lost).await
            }
        }
    }

    /// The engine's own fault. The lease went with the worker; it is still ours in the table.
    async fn broke(&mut self, panicked: &Panicked, known: &Stored, broken: &mut Broken, progressed: bool) -> Next {
        let context = &self.context;
        if broken.once_more(progressed) > RESTARTS_MAX {
            self.halt(&format!("its worker broke {RESTARTS_MAX} times in a row: {panicked}"));
            let (Rested::Stopped | Rested::Released) = self.rest().await else { return Next::End(Left::Fenced) };
            return match self.keeper.read(known).await {
                Ok(Some(found)) if self.keeper.is_ours(&found) => match self.keeper.given(found) {
                    Some(lease) => self.give(lease, None, None).await,
                    None => Next::End(Left::Stopped),
                },
                _ => Next::End(Left::Stopped),
            };
        }
        tracing::error!(range = %context.gauge.name(), error = %panicked, "a worker broke; it begins at its checkpoint");
        context.gauge.state(RangeState::Restarting { error: panicked.to_string() });
        let (processor, source, range) = context.gauge.place();
        context.events.tell(Event::WorkerBroke { processor, source, range, error: panicked.to_string() });
        self.pause(crate::retry::doubled(context.options.backoff_min, broken.times).min(context.options.backoff_max))
            .await;
        match self.keeper.read(known).await {
            Ok(Some(found)) if self.keeper.is_ours(&found) => Next::Again(found),
            Ok(found) => Next::End(Left::Others(found.map(Box::new))),
            Err(error) => {
                self.halt(&describe(&error));
                self.rest().await;
                Next::End(Left::Fenced)
            }
        }
    }

    /// Leases for its parts, where it was split.
    async fn divide(&mut self, lease: HeldLease, position: Option<Position>, reason: &str) -> Next {
        let context = &self.context;
        context.gauge.state(RangeState::Dividing);
        tracing::info!(range = %context.gauge.name(), reason, "the range is divided; its parts get leases");
        let divided = tokio::select! {
            biased;
            () = self.pulse.fenced() => return Next::End(Left::Fenced),
            divided = self.keeper.divide(&lease, position.as_ref(), &self.parts, context.gauge.portion()) => divided,
        };
        match divided {
            Ok(Divided::Into(parts)) => {
                let (processor, source, range) = context.gauge.place();
                let into = parts.iter().map(|part| part.lease.range().clone()).collect();
                context.events.tell(Event::RangeDivided { processor, source, range, parts: into });
                context.gauge.labels().divided();
                Next::End(Left::Divided(parts))
            }
            Ok(Divided::Whole) => {
                self.pause(context.options.backoff_max.min(crate::retry::doubled(context.options.backoff_min, 3)))
                    .await;
                // Somebody may look at it anew, and this host again.
                self.give(lease, None, position).await
            }
            Err(error) => {
                self.halt(&describe(&error));
                self.hold(lease, position).await
            }
        }
    }

    /// Keeps the lease of a range that is no longer read, its progress stored, until somebody wants it free.
    async fn hold(&mut self, lease: HeldLease, position: Option<Position>) -> Next {
        let Some(position) = position else {
            return self.rest_with(lease).await;
        };
        let mut backoff = self.context.patience.backoff();
        let mut lease = lease;
        loop {
            if !self.pulse.allows(self.context.clock.monotonic()) {
                return Next::End(Left::Fenced);
            }
            match lease.checkpoint(&position).await {
                Ok((held, charge)) => {
                    self.context.gauge.lease_written(&self.context.options.leases, charge);
                    self.context.gauge.checkpointed(position.as_str(), self.context.clock.monotonic());
                    return self.rest_with(held).await;
                }
                Err(Failed::Lost(lost)) => return self.lost_now(&lost),
                Err(Failed::Store(held, error)) => {
                    lease = *held;
                    self.pause(backoff.after(error.kind())).await;
                    if self.stop.is_taking_stopped() {
                        return self.give(lease, None, Some(position)).await;
                    }
                }
            }
        }
    }

    async fn rest_with(&mut self, mut lease: HeldLease) -> Next {
        let rested = match self.context.renewal {
            None => self.rest().await,
            Some(Renewal { every, good_for }) => loop {
                let clock = Arc::clone(&self.context.clock);
                if let Some(rested) = timeout(&*clock, every, self.rest()).await {
                    break rested;
                }
                let until = lease.written_at() + good_for;
                lease = match lease.renew().await {
                    Ok((lease, charge)) => {
                        self.context.gauge.lease_written(&self.context.options.leases, charge);
                        lease
                    }
                    Err(Failed::Lost(lost)) => return self.lost_now(&lost),
                    Err(Failed::Store(lease, _)) if clock.monotonic() <= until => *lease,
                    Err(Failed::Store(..)) => return Next::End(Left::Fenced),
                };
            },
        };
        match rested {
            Rested::Stopped | Rested::Released => self.give(lease, None, None).await,
            Rested::Fenced | Rested::Lost => Next::End(Left::Fenced),
        }
    }

    /// Does nothing until the engine stops, the host is fenced, or the lease is wanted free or somebody else's.
    async fn rest(&mut self) -> Rested {
        self.context.participant.leave();
        loop {
            tokio::select! {
                biased;
                () = self.stop.taking_stopped() => return Rested::Stopped,
                () = self.pulse.fenced() => return Rested::Fenced,
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return Rested::Stopped;
                    }
                    // A halted range is not handed on: it would halt there too.
                    match *self.orders.borrow_and_update() {
                        Order::Release => return Rested::Released,
                        Order::Lost(_) => return Rested::Lost,
                        Order::Work | Order::HandOver(_) | Order::Divide(_) => {}
                    }
                }
            }
        }
    }

    /// Outlasts outages, as long as this host may send anything; the grace of the shutdown ends it too.
    async fn give(&self, mut lease: HeldLease, heir: Option<Owner>, position: Option<Position>) -> Next {
        let context = &self.context;
        let mut backoff = context.patience.backoff();
        loop {
            if !self.pulse.allows(context.clock.monotonic()) {
                return Next::End(Left::Fenced);
            }
            match lease.give(heir.as_ref(), position.as_ref()).await {
                Ok((stored, charge)) => {
                    context.gauge.lease_written(&context.options.leases, charge);
                    if let Some(position) = &position {
                        context.gauge.checkpointed(position.as_str(), context.clock.monotonic());
                    }
                    let (processor, source, range) = context.gauge.place();
                    let moved = if heir.is_some() { LeaseMove::HandedOver } else { LeaseMove::Freed };
                    let to = heir.map(|heir| heir.host);
                    context.events.tell(Event::LeaseGiven { processor, source, range, to });
                    context.gauge.labels().lease_moved(moved);
                    if context.gauge.is_sound() {
                        context.gauge.state(RangeState::Released);
                    }
                    return Next::End(Left::Given(Box::new(stored)));
                }
                Err(Failed::Lost(lost)) => return self.lost_now(&lost),
                Err(Failed::Store(held, error)) => {
                    lease = *held;
                    let attempted = format!("give {} away", context.gauge.name());
                    context.patience.wait(&mut backoff, &attempted, &error).await;
                }
            }
        }
    }

    async fn lost(&self, known: &Stored, lost: &Lost) -> Next {
        self.lost_now(lost);
        let found = tokio::select! {
            biased;
            () = self.stop.taking_stopped() => return Next::End(Left::Stopped),
            found = self.keeper.read(known) => found,
        };
        Next::End(match found {
            Ok(found) => Left::Others(found.map(Box::new)),
            Err(error) => {
                tracing::error!(range = %self.context.gauge.name(), error = %describe(&error), "the lease cannot be read");
                Left::Fenced
            }
        })
    }

    fn lost_now(&self, lost: &Lost) -> Next {
        tracing::warn!(range = %self.context.gauge.name(), owner = lost.owner, "the lease is lost");
        self.context.gauge.labels().lease_moved(LeaseMove::Lost);
        let (processor, source, range) = self.context.gauge.place();
        self.context.events.tell(Event::LeaseLost { processor, source, range, to: lost.owner.clone() });
        self.context.gauge.state(RangeState::Lost { owner: lost.owner.clone() });
        Next::End(Left::Fenced)
    }

    fn halt(&self, reason: &str) {
        tracing::error!(range = %self.context.gauge.name(), reason, "the range halts");
        self.context.gauge.labels().halt();
        let (processor, source, range) = self.context.gauge.place();
        self.context.events.tell(Event::RangeHalted { processor, source, range, reason: reason.to_owned() });
        self.context.gauge.state(RangeState::Halted { reason: reason.to_owned() });
        self.context.participant.leave();
    }

    async fn pause(&self, wait: std::time::Duration) {
        tokio::select! {
            biased;
            () = self.stop.taking_stopped() => {}
            () = self.context.clock.sleep(wait) => {}
        }
    }
}

/// How often a worker broke without settling anything in between.
#[derive(Default)]
struct Broken {
    times: u32,
}

impl Broken {
    fn once_more(&mut self, progressed: bool) -> u32 {
        self.times = if progressed { 1 } else { self.times + 1 };
        self.times
    }
}

/// The error and what caused it, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
