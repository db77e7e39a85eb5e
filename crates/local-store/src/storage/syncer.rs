use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;
use parking_lot::{Condvar, Mutex};

use super::{Failure, Outcome, Ticket, Wait};

/// How often the thread looks whether congestion has passed. It looks only while somebody waits for that.
const CONGESTION_POLL: Duration = Duration::from_millis(2);

/// What the thread does for those who wait.
pub(super) trait Device: Send + Sync + 'static {
    /// Makes everything survive a power cut whose ticket was handed out before the call.
    fn sync(&self) -> Outcome<()>;

    /// Whether writers should still hold back.
    fn congested(&self) -> Outcome<bool>;
}

/// Group commit: one thread syncs for all who wait. While it syncs, others write on; the next sync is theirs together.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// The newest ticket handed out.
    issued: u64,
    synced: u64,
    syncs: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Outcome<()>>)>,
    held_back: Vec<oneshot::Sender<Outcome<()>>>,
    /// Once set, nothing is acknowledged any more.
    failure: Option<Failure>,
    closing: bool,
}

impl Syncer {
    pub(super) fn start(device: Arc<dyn Device>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let thread = std::thread::Builder::new().name("feedmill:sync".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&*device)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// For a write that has just been applied.
    pub(super) fn issue(&self) -> Ticket {
        let mut state = self.shared.state.lock();
        state.issued += 1;
        Ticket(state.issued)
    }

    pub(super) fn check(&self) -> Outcome<()> {
        self.shared.state.lock().failure.clone().map_or(Ok(()), Err)
    }

    /// From now on everybody is told so.
    pub(super) fn fail(&self, failure: Failure) {
        self.shared.fail(failure);
    }

    pub(super) fn wait(&self, ticket: Ticket) -> Option<Wait> {
        let mut state = self.shared.state.lock();
        let (done, wait) = oneshot::channel();
        if let Some(failure) = &state.failure {
            let _nobody_waits_yet = done.send(Err(failure.clone()));
            return Some(wait);
        }
        if state.synced >= ticket.0 {
            return None;
        }
        state.waiting.push_back((ticket.0, done));
        drop(state);
        self.shared.wake.notify_one();
        Some(wait)
    }

    pub(super) fn hold_back(&self) -> Wait {
        let (done, wait) = oneshot::channel();
        self.shared.state.lock().held_back.push(done);
        self.shared.wake.notify_one();
        wait
    }

    pub(super) fn syncs(&self) -> u64 {
        self.shared.state.lock().syncs
    }

    /// Syncs a last time and ends the thread. Blocks.
    pub(super) fn close(&self) -> Outcome<()> {
        self.shared.state.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has set no failure, but then nothing was synced either.
            thread.join().map_err(|_| Failure("the thread that syncs has panicked".into()))?;
        }
        self.check()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _unheard = self.close();
    }
}

impl Shared {
    fn run(&self, device: &dyn Device) {
        loop {
            let (target, last) = {
                let mut state = self.state.lock();
                while state.waiting.is_empty() && state.held_back.is_empty() && !state.closing {
                    self.wake.wait(&mut state);
                }
                if state.failure.is_some() {
                    drop(state);
                    self.release_failed();
                    if self.state.lock().closing {
                        return;
                    }
                    continue;
                }
                (state.issued, state.closing)
            };
            let outcome = device.sync();
            self.release_held_back(device);
            match outcome {
                Ok(()) => self.release_synced(target),
                Err(failure) => self.fail(failure),
            }
            if last {
                return;
            }
            let mut state = self.state.lock();
            if state.waiting.is_empty() && !state.held_back.is_empty() {
                self.wake.wait_for(&mut state, CONGESTION_POLL);
            }
        }
    }

    fn release_synced(&self, target: u64) {
        let mut state = self.state.lock();
        state.synced = target;
        state.syncs += 1;
        // Tickets are issued and queued by different steps, so the queue is only nearly in order.
        let (done, waiting): (VecDeque<_>, _) = state.waiting.drain(..).partition(|&(ticket, _)| ticket <= target);
        state.waiting = waiting;
        drop(state);
        for (_, waiter) in done {
            // A waiter that was dropped does not want to know.
            let _gone = waiter.send(Ok(()));
        }
    }

    fn release_held_back(&self, device: &dyn Device) {
        match device.congested() {
            Ok(true) => {}
            Ok(false) => {
                for waiter in std::mem::take(&mut self.state.lock().held_back) {
                    let _gone = waiter.send(Ok(()));
                }
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&self, failure: Failure) {
        self.state.lock().failure.get_or_insert(failure);
        self.release_failed();
    }

    fn release_failed(&self) {
        let (waiting, held_back, failure) = {
            let mut state = self.state.lock();
            let Some(failure) = state.failure.clone() else { return };
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.held_back), failure)
        };
        for waiter in waiting.into_iter().map(|(_, waiter)| waiter).chain(held_back) {
            let _gone = waiter.send(Err(failure.clone()));
        }
    }
}
