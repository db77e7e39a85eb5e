use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{Clock, Monotonic};

/// The machine's clocks; waits on tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one file that reads real time")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Monotonic {
        // Boot time, not monotonic time: a laptop or a frozen virtual machine that wakes up must see that its leases
        // are long gone, and CLOCK_MONOTONIC stands still in between.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
        Monotonic::from_origin(Duration::new(seconds, nanoseconds))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_moves_the_monotonic_clock_by_at_least_its_length() {
        let before = SystemClock.monotonic();
        SystemClock.sleep(Duration::from_millis(5)).await;
        assert!(SystemClock.monotonic().since(before) >= Duration::from_millis(5));
    }
}
