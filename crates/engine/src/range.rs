//! One range from taking its lease to giving it back.

use std::sync::Arc;

use feedmill_store_api::Position;

use crate::lease::{Acquired, Claim, Failed, HeldLease, Keeper, Lost, Stored};
use crate::limits::RESTARTS_MAX;
use crate::shutdown::Stop;
use crate::supervisor::{Panicked, catch};
use crate::worker::{self, Context, Ended, RangeState, Why};

/// Takes the lease, works, and gives it back, until taking stops.
pub(crate) async fn keep(context: Arc<Context>, keeper: Keeper, known: Stored, stop: Stop) {
    let range = Range { context, keeper, known, stop };
    range.keep().await;
    range.context.participant.leave();
}

struct Range {
    context: Arc<Context>,
    keeper: Keeper,
    known: Stored,
    stop: Stop,
}

/// What a worker's end leads to.
enum Next {
    /// Look at the lease again, under this rule.
    Again(Claim),
    End,
}

impl Range {
    async fn keep(&self) {
        let mut claim = Claim::Start;
        let mut first = true;
        let mut broken = Broken::default();
        while !self.stop.is_taking_stopped() {
            let acquired = tokio::select! {
                biased;
                () = self.stop.taking_stopped() => return,
                acquired = Box::pin(self.acquire(claim, first)) => acquired,
            };
            first = false;
            let state = match acquired {
                Ok(Acquired::Held(lease)) => {
                    self.context.participant.enter();
                    match self.work(*lease, &mut broken).await {
                        Next::Again(next) => claim = next,
                        Next::End => return,
                    }
                    continue;
                }
                Ok(Acquired::HeldBy(owner)) => RangeState::HeldBy { owner },
                Ok(Acquired::Missing) => RangeState::Lost { owner: None },
                Err(error) => {
                    self.halt(&describe(&error));
                    self.stop.taking_stopped().await;
                    return;
                }
            };
            self.leave(state);
            self.pause(self.context.options.lease_look_interval).await;
        }
    }

    async fn acquire(&self, claim: Claim, first: bool) -> Result<Acquired, crate::lease::Error> {
        if first {
            self.keeper.acquire(self.known.clone(), claim).await
        } else {
            self.keeper.acquire_again(&self.known, claim).await
        }
    }

    async fn work(&self, lease: HeldLease, broken: &mut Broken) -> Next {
        let context = &self.context;
        context.gauge.begins_at(lease.position().map(str::to_owned));
        tracing::info!(range = %context.gauge.name(), position = lease.position(), "reading");
        let settled = context.gauge.settled_pages();
        let ended = catch(Box::pin(worker::run(context, lease, &self.stop))).await;
        context.ledger.released(&context.range);
        let Ended { why, lease, position } = match ended {
            Ok(ended) => ended,
            Err(panicked) => {
                let progressed = context.gauge.settled_pages() > settled;
                return self.broke(&panicked, broken, progressed).await;
            }
        };
        match (why, lease) {
            (Why::Stopped, Some(lease)) => self.release(lease, position).await,
            (Why::Halted(reason), Some(lease)) => {
                self.halt(&reason);
                self.hold(lease, position).await;
            }
            (Why::Gone(error), Some(lease)) => {
                tracing::error!(
                    range = %context.gauge.name(), position = lease.position(), error = %error,
                    "the range was split or merged; it is no longer read"
                );
                self.leave(RangeState::Gone);
                self.hold(lease, position).await;
            }
            (why, _) => {
                self.lost(match why {
                    Why::Lost(lost) => lost,
                    _ => Lost { owner: None },
                });
                self.pause(context.options.lease_look_interval).await;
                return Next::Again(Claim::Again);
            }
        }
        Next::End
    }

    /// The engine's own fault. The lease went with the worker; it is still ours in the table.
    async fn broke(&self, panicked: &Panicked, broken: &mut Broken, progressed: bool) -> Next {
        let context = &self.context;
        if broken.once_more(progressed) > RESTARTS_MAX {
            self.halt(&format!("its worker broke {RESTARTS_MAX} times in a row: {panicked}"));
            self.stop.taking_stopped().await;
            if let Ok(Acquired::Held(lease)) = self.acquire(Claim::Again, false).await {
                self.release(*lease, None).await;
            }
            return Next::End;
        }
        tracing::error!(range = %context.gauge.name(), error = %panicked, "a worker broke; it begins at its checkpoint");
        context.gauge.state(RangeState::Restarting { error: panicked.to_string() });
        self.pause(crate::retry::doubled(context.options.backoff_min, broken.times).min(context.options.backoff_max))
            .await;
        Next::Again(Claim::Again)
    }

    /// Keeps the lease of a range that is no longer read, its progress stored, until taking stops.
    async fn hold(&self, lease: HeldLease, position: Option<Position>) {
        let Some(position) = position else {
            self.stop.taking_stopped().await;
            return self.release(lease, None).await;
        };
        let mut backoff = self.context.patience.backoff();
        let mut lease = lease;
        loop {
            match lease.checkpoint(&position).await {
                Ok((held, charge)) => {
                    self.context.gauge.charge(charge);
                    self.context.gauge.checkpointed(position.as_str());
                    self.stop.taking_stopped().await;
                    return self.release(held, None).await;
                }
                Err(Failed::Lost(lost)) => return self.lost(lost),
                Err(Failed::Store(held, error)) => {
                    lease = *held;
                    self.pause(backoff.after(error.kind())).await;
                    if self.stop.is_taking_stopped() {
                        return self.release(lease, Some(position)).await;
                    }
                }
            }
        }
    }

    /// Outlasts outages; the grace of the shutdown ends it.
    async fn release(&self, mut lease: HeldLease, position: Option<Position>) {
        let context = &self.context;
        let mut backoff = context.patience.backoff();
        loop {
            match lease.release(position.as_ref()).await {
                Ok(charge) => {
                    context.gauge.charge(charge);
                    if let Some(position) = &position {
                        context.gauge.checkpointed(position.as_str());
                    }
                    if context.gauge.is_sound() {
                        context.gauge.state(RangeState::Released);
                    }
                    return;
                }
                Err(Failed::Lost(lost)) => return self.lost(lost),
                Err(Failed::Store(held, error)) => {
                    lease = *held;
                    let attempted = format!("release {}", context.gauge.name());
                    context.patience.wait(&mut backoff, &attempted, &error).await;
                }
            }
        }
    }

    fn lost(&self, lost: Lost) {
        tracing::warn!(range = %self.context.gauge.name(), owner = lost.owner, "the lease is lost");
        self.context.gauge.labels().lease_lost();
        self.leave(RangeState::Lost { owner: lost.owner });
    }

    fn halt(&self, reason: &str) {
        tracing::error!(range = %self.context.gauge.name(), reason, "the range halts");
        self.context.gauge.labels().halt();
        self.leave(RangeState::Halted { reason: reason.to_owned() });
    }

    /// Nobody needs to wait for this range.
    fn leave(&self, state: RangeState) {
        self.context.gauge.state(state);
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
