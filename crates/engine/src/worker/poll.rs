//! Reads one page ahead, and knows when to read the next.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Entropy, Monotonic};
use feedmill_store_api::{Container, Error, FeedPage, FeedRange, FeedStart, Result};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::lag::Gauge;
use crate::retry::Backoff;
use crate::{Options, spans};

/// The reading end of a worker.
pub(super) struct Poll {
    source: Arc<dyn Container>,
    range: FeedRange,
    items_max: usize,
    gauge: Arc<Gauge>,
    from: FeedStart,
    reading: Option<Reading>,
    not_before: Monotonic,
    /// Whether `not_before` is there because the store failed.
    failing: bool,
    /// The round of the last poll that was begun.
    round: u64,
    delay: Delay,
    backoff: Backoff,
}

struct Reading {
    page: AbortOnDropHandle<Result<FeedPage>>,
    round: u64,
}

/// What a poll brought.
pub(super) enum Polled {
    /// A page, and the round in which reading it began.
    Page(FeedPage, u64),
    Failed(Error),
}

impl Poll {
    pub(super) fn new(
        source: Arc<dyn Container>,
        range: FeedRange,
        from: FeedStart,
        options: &Options,
        entropy: Entropy,
        (gauge, now): (Arc<Gauge>, Monotonic),
    ) -> Self {
        Self {
            source,
            range,
            items_max: options.page_items_max.max(1),
            gauge,
            from,
            reading: None,
            not_before: now,
            failing: false,
            round: 0,
            delay: Delay::new(options.poll_delay_min, options.poll_delay_max, entropy.clone()),
            backoff: Backoff::new(entropy, options.backoff_min, options.backoff_max),
        }
    }

    /// Begins to read when it is time. A new round that is in a hurry asks at once, but does not press a store that fails.
    pub(super) fn start(&mut self, now: Monotonic, round: u64, hasten: bool) {
        let asked = hasten && round > self.round && !self.failing;
        if self.reading.is_some() || (now < self.not_before && !asked) {
            return;
        }
        self.round = round;
        // A task of its own, so that a page is read while another is handed out.
        let (source, range, from, items_max) =
            (Arc::clone(&self.source), self.range.clone(), self.from.clone(), self.items_max);
        let read = async move {
            let page = source.read_page(&range, &from, items_max).await;
            spans::read(&page);
            page
        };
        let page = tokio::spawn(read.instrument(spans::page(&self.gauge)));
        self.reading = Some(Reading { page: AbortOnDropHandle::new(page), round });
    }

    /// When [`Self::start`] is worth calling again.
    pub(super) fn due_at(&self) -> Option<Monotonic> {
        self.reading.is_none().then_some(self.not_before)
    }

    /// The page being read; never completes where there is none. Cancel-safe: reading goes on.
    pub(super) async fn finished(&mut self, now: impl Fn() -> Monotonic) -> Polled {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let round = reading.round;
        let result = (&mut reading.page).await;
        self.reading = None;
        let result = result.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("only dropping the handle aborts the task"),
        });
        match result {
            Ok(page) => {
                self.backoff.reset();
                self.failing = false;
                self.from = self.from.after(page.position.clone());
                self.not_before = now() + self.delay.after(page.changes.is_empty());
                Polled::Page(page, round)
            }
            Err(error) => {
                self.failing = true;
                self.not_before = now() + self.backoff.after(error.kind());
                Polled::Failed(error)
            }
        }
    }
}

/// The wait between polls: none behind changes, growing while there are none.
#[derive(Debug)]
struct Delay {
    min: Duration,
    max: Duration,
    next: Duration,
    entropy: Entropy,
}

impl Delay {
    fn new(min: Duration, max: Duration, entropy: Entropy) -> Self {
        Self { min, max, next: min, entropy }
    }

    fn after(&mut self, empty: bool) -> Duration {
        if !empty {
            self.next = self.min;
            return Duration::ZERO;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(self.max);
        // Ranges that went quiet together do not poll together.
        self.entropy.jitter(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_while_quiet_and_falls_at_the_first_change() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut delay = Delay::new(min, max, Entropy::seeded(1));
        let waits: Vec<_> = (0..20).map(|_| delay.after(true)).collect();
        assert!(waits[0] <= min);
        assert!(waits[1] >= min);
        assert!(waits[19] >= max / 2 && waits.iter().all(|wait| *wait <= max));
        assert_eq!(delay.after(false), Duration::ZERO);
        assert!(delay.after(true) <= min);
    }
}
