//! Where everything happens: one thread, and time that moves only when nothing else can.

use std::future::Future;
use std::panic::resume_unwind;
use std::time::Duration;

use feedmill_clock::{Clock, ManualClock};
use tokio::runtime::Builder;
use tokio_util::task::AbortOnDropHandle;

/// Why a play did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stuck {
    #[error("nobody can go on and nobody waits for time to pass")]
    Deadlock,
    #[error("still not over after {0:?} of simulated time")]
    Endless(Duration),
}

/// Runs `work` and all it spawns. Whenever nobody can go on, `clock` jumps to the next time that somebody waits for.
///
/// Tasks run in the order in which they were woken, so the order of events follows from the times alone. `work` is one of
/// them: whoever moves time must not be woken by anything but that nobody can go on.
pub(crate) fn play<T: Send + 'static>(
    clock: &ManualClock,
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Stuck> {
    // With an interval that is never reached, whoever yields goes on when the queue of tasks is empty.
    let runtime = Builder::new_current_thread().event_interval(u32::MAX).build();
    let runtime = runtime.expect("a runtime without drivers needs nothing of the system");
    let end = clock.monotonic() + limit;
    runtime.block_on(async {
        let mut work = AbortOnDropHandle::new(tokio::spawn(work));
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done.unwrap_or_else(|error| resume_unwind(error.into_panic()))),
                () = tokio::task::yield_now() => {}
            }
            match clock.next_due() {
                None => return Err(Stuck::Deadlock),
                Some(_) if clock.monotonic() >= end => return Err(Stuck::Endless(limit)),
                Some(due) => clock.advance(due),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use parking_lot::Mutex;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn time_jumps_from_event_to_event_and_tasks_run_in_order() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (at_work, noted) = (clock.clone(), Arc::clone(&seen));
        let done = play(&clock, HOUR, async move {
            let tasks: Vec<_> = [3, 1, 2]
                .map(|seconds| {
                    let (clock, seen) = (at_work.clone(), Arc::clone(&noted));
                    tokio::spawn(async move {
                        clock.sleep(Duration::from_secs(seconds)).await;
                        seen.lock().push(seconds);
                    })
                })
                .into_iter()
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(done, Ok(()));
        assert_eq!(*seen.lock(), [1, 2, 3]);
        assert_eq!(clock.now(), Timestamp::from_second(3).unwrap());
    }

    #[test]
    fn what_waits_for_nothing_and_what_never_ends_are_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(play(&clock, HOUR, std::future::pending::<()>()), Err(Stuck::Deadlock));
        let at_work = clock.clone();
        let endless = async move {
            loop {
                at_work.sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(play::<()>(&clock, HOUR, endless), Err(Stuck::Endless(HOUR)));
    }
}
