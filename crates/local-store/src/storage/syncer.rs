use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::channel::oneshot;
use parking_lot::{Condvar, Mutex};

use super::{Failure, Outcome, Ticket, Wait};
use crate::metrics;

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
    /// Writes that are visible, or may be at any moment, and have no ticket yet.
    begun: u64,
    /// The newest ticket handed out.
    issued: u64,
    synced: u64,
    syncs: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Outcome<()>>)>,
    held_back: Vec<oneshot::Sender<Outcome<()>>>,
    /// Those who want to know of a failure although they wait for nothing.
    watching: Vec<oneshot::Sender<Failure>>,
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

    /// Before a write is applied: [`Self::issue`] ends it, or [`Self::fail`] for good.
    pub(super) fn begin(&self) {
        self.shared.state.lock().begun += 1;
    }

    /// For a write that has just been applied.
    pub(super) fn issue(&self) -> Ticket {
        let mut state = self.shared.state.lock();
        state.begun = state.begun.saturating_sub(1);
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

    /// For everything that was visible until now; `None` when it is all synced.
    pub(super) fn wait_for_all(&self) -> Option<Wait> {
        let target = {
            let mut state = self.shared.state.lock();
            if state.begun == 0 && state.synced >= state.issued && state.failure.is_none() {
                return None;
            }
            // A sync that began before may have missed what has no ticket yet: the next one is waited for.
            state.issued += u64::from(state.begun > 0);
            state.issued
        };
        self.wait(Ticket(target))
    }

    pub(super) fn hold_back(&self) -> Wait {
        let (done, wait) = oneshot::channel();
        self.shared.state.lock().held_back.push(done);
        self.shared.wake.notify_one();
        wait
    }

    /// Resolves when nothing is acknowledged any more; never after an orderly close.
    pub(super) fn watch(&self) -> oneshot::Receiver<Failure> {
        let (tell, failed) = oneshot::channel();
        let mut state = self.shared.state.lock();
        match &state.failure {
            Some(failure) => {
                let _nobody_waits_yet = tell.send(failure.clone());
            }
            None => state.watching.push(tell),
        }
        failed
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
        let outcome = self.check();
        self.shared.state.lock().failure.get_or_insert(Failure("the store is closed".into()));
        outcome
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
        metrics::synced();
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
        self.state.lock().failure.get_or_insert_with(|| {
            tracing::error!(%failure, "the store has failed");
            failure
        });
        self.release_failed();
    }

    fn release_failed(&self) {
        let (waiting, held_back, watching, failure) = {
            let mut state = self.state.lock();
            let Some(failure) = state.failure.clone() else { return };
            let State { waiting, held_back, watching, .. } = &mut *state;
            (std::mem::take(waiting), std::mem::take(held_back), std::mem::take(watching), failure)
        };
        for watcher in watching {
            let _gone = watcher.send(failure.clone());
        }
        for waiter in waiting.into_iter().map(|(_, waiter)| waiter).chain(held_back) {
            let _gone = waiter.send(Err(failure.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::executor::block_on;

    use super::*;

    /// Syncs when told to, so that a test decides what meets in one sync.
    struct Stepped {
        begun: Mutex<std::sync::mpsc::Sender<()>>,
        go: Mutex<std::sync::mpsc::Receiver<Outcome<()>>>,
        congested: AtomicBool,
    }

    impl Device for Stepped {
        fn sync(&self) -> Outcome<()> {
            self.begun.lock().send(()).unwrap();
            // Nobody steps any more once the test is over.
            self.go.lock().recv().unwrap_or(Ok(()))
        }

        fn congested(&self) -> Outcome<bool> {
            Ok(self.congested.load(Ordering::Relaxed))
        }
    }

    type Steps = (Syncer, Arc<Stepped>, std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<Outcome<()>>);

    fn stepped() -> Steps {
        let (begun, begins) = std::sync::mpsc::channel();
        let (step, go) = std::sync::mpsc::channel();
        let device = Stepped { begun: Mutex::new(begun), go: Mutex::new(go), congested: AtomicBool::new(false) };
        let device = Arc::new(device);
        let syncer = Syncer::start(Arc::clone(&device) as Arc<dyn Device>).unwrap();
        (syncer, device, begins, step)
    }

    #[test]
    fn those_who_come_during_a_sync_share_the_next_one() {
        let (syncer, _, begins, step) = stepped();
        let first = syncer.wait(syncer.issue()).unwrap();
        begins.recv().unwrap();
        let mut later: Vec<_> = (0..50).map(|_| syncer.wait(syncer.issue()).unwrap()).collect();
        step.send(Ok(())).unwrap();
        block_on(first).unwrap().unwrap();
        begins.recv().unwrap();
        assert!(later.iter_mut().all(|wait| wait.try_recv().unwrap().is_none()), "not by the sync that began before");
        step.send(Ok(())).unwrap();
        for wait in later {
            block_on(wait).unwrap().unwrap();
        }
        assert_eq!(syncer.syncs(), 2);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_acknowledged() {
        let (syncer, _, begins, step) = stepped();
        let waiting = syncer.wait(syncer.issue()).unwrap();
        begins.recv().unwrap();
        let during = syncer.wait(syncer.issue()).unwrap();
        step.send(Err(Failure("the disk is full".into()))).unwrap();
        for wait in [waiting, during] {
            assert!(block_on(wait).unwrap().is_err());
        }
        assert!(syncer.check().is_err());
        assert!(block_on(syncer.wait(Ticket(1)).unwrap()).unwrap().is_err(), "also what might have been synced");
    }

    #[test]
    fn a_failure_is_told_to_those_who_wait_for_nothing_too() {
        let (syncer, _, begins, step) = stepped();
        let before = syncer.watch();
        let _waiting = syncer.wait(syncer.issue()).unwrap();
        begins.recv().unwrap();
        step.send(Err(Failure("the disk is full".into()))).unwrap();
        assert_eq!(&*block_on(before).unwrap().0, "the disk is full");
        assert_eq!(&*block_on(syncer.watch()).unwrap().0, "the disk is full", "also to those who come after it");
    }

    #[test]
    fn whoever_looks_waits_for_what_is_visible_and_not_synced_and_for_nothing_else() {
        let (syncer, _, begins, step) = stepped();
        assert!(syncer.wait_for_all().is_none());
        // Visible already, and its ticket not yet handed out.
        syncer.begin();
        let mut looked = syncer.wait_for_all().unwrap();
        begins.recv().unwrap();
        assert!(looked.try_recv().unwrap().is_none());
        let written = syncer.wait(syncer.issue()).unwrap();
        step.send(Ok(())).unwrap();
        block_on(looked).unwrap().unwrap();
        let looked = syncer.wait_for_all().unwrap();
        begins.recv().unwrap();
        step.send(Ok(())).unwrap();
        block_on(written).unwrap().unwrap();
        block_on(looked).unwrap().unwrap();
        assert!(syncer.wait_for_all().is_none());
    }

    #[test]
    fn those_held_back_go_on_once_there_is_room() {
        let (syncer, device, begins, step) = stepped();
        device.congested.store(true, Ordering::Relaxed);
        let mut held = syncer.hold_back();
        begins.recv().unwrap();
        step.send(Ok(())).unwrap();
        begins.recv().unwrap();
        assert!(held.try_recv().unwrap().is_none());
        device.congested.store(false, Ordering::Relaxed);
        step.send(Ok(())).unwrap();
        block_on(held).unwrap().unwrap();
    }

    #[test]
    fn nobody_waits_for_ever_for_a_closed_store() {
        let (syncer, _, _begins, step) = stepped();
        drop(step);
        syncer.close().unwrap();
        assert!(syncer.check().is_err());
        assert!(block_on(syncer.wait(Ticket(u64::MAX)).unwrap()).unwrap().is_err());
    }
}
