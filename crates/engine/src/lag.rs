//! How far behind each range is, and what else is shown of it.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Monotonic};
use feedmill_store_api::{FeedRange, RequestCharge};
use parking_lot::{Mutex, RwLock};

use crate::fleet::Pace;
use crate::lease::Portion;
use crate::metrics::{self, Labels};
use crate::worker::RangeState;
use crate::{Tally, Writer};

/// Time over which the rate is smoothed.
const RATE_SMOOTHING: Duration = Duration::from_secs(10);
/// Time over which changes are counted before they enter the rate.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// How often the lag metrics are set.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How a run is doing: before, while and after it. Clones show the same run.
#[derive(Clone)]
pub struct Status {
    ranges: Arc<RwLock<Vec<Arc<Gauge>>>>,
    left: Arc<Mutex<Left>>,
    writer: Writer,
    clock: Arc<dyn Clock>,
}

/// What ranges did that are no longer here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    pub(crate) delivered: u64,
    pub(crate) dead_letters: u64,
}

/// One range of one processor.
#[derive(Clone, Debug)]
pub struct RangeStatus {
    pub processor: String,
    pub source: String,
    pub range: FeedRange,
    /// Changes settled or written down as dead letters in this run.
    pub delivered: u64,
    /// Pages of which every change was delivered, without a gap before them.
    pub settled_pages: u64,
    /// Commits (LSNs) between the last settled page and the head of the feed, as far as it is known. A commit of many
    /// documents counts once, and a part of a physical partition counts its share by keys, as both halves of one that was split
    /// do with what was there before. 0 at rest.
    pub lag_changes: Option<u64>,
    /// Age of the oldest change that is read and not settled. 0 at rest.
    pub lag_seconds: Option<f64>,
    /// Read and not settled: fewer than `changes_in_flight_max`, and one page more.
    pub changes_waiting: usize,
    /// Smoothed over ten seconds.
    pub changes_per_second: f64,
    pub state: RangeState,
    /// Dead letters written in this run.
    pub dead_letters: u64,
    /// Everything this range caused: feed, checkpoints, settling.
    pub charge: RequestCharge,
    /// The last checkpoint.
    pub position: Option<String>,
    /// How long something that was read is in no checkpoint: since the last one, or since the first page after it. `None`
    /// where all of it is.
    pub checkpoint_age: Option<Duration>,
}

impl Status {
    pub(crate) fn new(writer: Writer, clock: Arc<dyn Clock>) -> Self {
        Self { ranges: Arc::default(), left: Arc::default(), writer, clock }
    }

    /// Those whose leases this host has, by processor, source and range.
    pub fn ranges(&self) -> Vec<RangeStatus> {
        let (now, monotonic) = (self.clock.now().as_second(), self.clock.monotonic());
        self.ranges.read().iter().map(|gauge| gauge.status(now, monotonic)).collect()
    }

    /// A worker whose loop has not gone round for longer than `limit`, and for how long. It goes round all the time, also
    /// while the store is waited for.
    pub fn hangs(&self, limit: Duration) -> Option<(String, Duration)> {
        hangs(&self.ranges.read(), self.clock.monotonic(), limit)
    }

    /// Everything settled so far.
    pub fn writer(&self) -> Tally {
        self.writer.totals()
    }

    /// Keeps the lag metrics true: the worst range in seconds, the sum of all ranges in changes. Never completes.
    pub(crate) async fn report(&self) {
        loop {
            for group in self.ranges.read().chunk_by(|a, b| a.order().0 == b.order().0 && a.order().1 == b.order().1) {
                report_lag(group, self.clock.now().as_second());
            }
            self.writer.report_requests();
            self.clock.sleep(REPORT_INTERVAL).await;
        }
    }

    pub(crate) fn left(&self) -> Left {
        *self.left.lock()
    }

    /// The range is no longer this host's: what it did stays in the sums.
    pub(crate) fn remove(&self, gauge: &Arc<Gauge>) {
        let mut ranges = self.ranges.write();
        ranges.retain(|other| !Arc::ptr_eq(other, gauge));
        let inner = gauge.inner.lock();
        let mut left = self.left.lock();
        left.delivered += inner.delivered;
        left.dead_letters += inner.dead_letters;
    }

    pub(crate) fn add(&self, gauge: &Arc<Gauge>) {
        let mut ranges = self.ranges.write();
        ranges.push(Arc::clone(gauge));
        ranges.sort_by(|a, b| a.order().cmp(&b.order()));
    }
}

fn hangs(ranges: &[Arc<Gauge>], now: Monotonic, limit: Duration) -> Option<(String, Duration)> {
    let stood = |gauge: &Arc<Gauge>| Some((gauge.name(), now.since(gauge.inner.lock().turned?)));
    ranges.iter().filter_map(stood).find(|(_, stood)| *stood > limit)
}

/// Of the ranges of one processor and source.
fn report_lag(ranges: &[Arc<Gauge>], now_seconds: i64) {
    let (mut seconds, mut changes, mut waiting) = (None, Some(0), 0);
    for gauge in ranges {
        let inner = gauge.inner.lock();
        waiting += inner.waiting;
        seconds = [seconds, inner.lag_seconds(now_seconds)].into_iter().flatten().reduce(f64::max);
        changes = changes.zip(inner.lag_changes(&gauge.portion)).map(|(sum, more): (u64, u64)| sum + more);
    }
    if let Some(gauge) = ranges.first() {
        gauge.labels.lag(seconds, changes);
        gauge.labels.waiting(waiting);
    }
}

/// What a worker reports of its range.
pub(crate) struct Gauge {
    processor: String,
    source: String,
    range: FeedRange,
    /// How many of the feed's commits are its own.
    portion: Portion,
    labels: Labels,
    inner: Mutex<Inner>,
}

struct Inner {
    delivered: u64,
    settled_pages: u64,
    head_lsn: Option<u64>,
    settled_lsn: Option<u64>,
    /// Epoch seconds of the oldest change that is read and not settled.
    oldest: Option<i64>,
    state: RangeState,
    dead_letters: u64,
    charge: RequestCharge,
    position: Option<String>,
    /// Since when something is in no checkpoint.
    unwritten_since: Option<Monotonic>,
    /// When the worker's loop last went round.
    turned: Option<Monotonic>,
    /// Changes that are read and not settled.
    waiting: usize,
    rate: Rate,
    /// Attempts at deliveries that failed.
    failures: u64,
    /// Of charge in hundredths and of failures, as far as [`Gauge::pace`] has counted them.
    spending: Counted,
    failing: Counted,
}

/// What grows elsewhere, and how fast.
struct Counted {
    so_far: u64,
    rate: Rate,
}

impl Counted {
    fn new(now: Monotonic) -> Self {
        Self { so_far: 0, rate: Rate::new(now) }
    }

    fn per_second(&mut self, total: u64, now: Monotonic) -> f64 {
        self.rate.count(total.saturating_sub(self.so_far), now);
        self.so_far = total;
        self.rate.per_second(now)
    }
}

impl Gauge {
    pub(crate) fn new(processor: &str, source: &str, range: FeedRange, portion: Portion, now: Monotonic) -> Self {
        let inner = Inner {
            delivered: 0,
            settled_pages: 0,
            head_lsn: None,
            settled_lsn: None,
            oldest: None,
            state: RangeState::Starting,
            dead_letters: 0,
            charge: RequestCharge::ZERO,
            position: None,
            unwritten_since: None,
            turned: None,
            waiting: 0,
            rate: Rate::new(now),
            failures: 0,
            spending: Counted::new(now),
            failing: Counted::new(now),
        };
        Self {
            processor: processor.to_owned(),
            source: source.to_owned(),
            range,
            portion,
            labels: Labels::new(processor, source),
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn portion(&self) -> &Portion {
        &self.portion
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Processor, source and range.
    pub(crate) fn place(&self) -> (String, String, FeedRange) {
        (self.processor.clone(), self.source.clone(), self.range.clone())
    }

    pub(crate) fn name(&self) -> String {
        format!("{} over {} {}", self.processor, self.source, self.range)
    }

    pub(crate) fn page(&self, changes: usize, head_lsn: u64, charge: RequestCharge, now: Monotonic) {
        self.labels.page(changes);
        metrics::charged(&self.source, "feed", charge);
        let mut inner = self.inner.lock();
        if changes > 0 && inner.unwritten_since.is_none() {
            inner.unwritten_since = Some(now);
        }
        inner.head_lsn = Some(head_lsn);
        inner.charge += charge;
    }

    pub(crate) fn delivered(&self, changes: usize, now: Monotonic) {
        self.labels.delivered(changes);
        let mut inner = self.inner.lock();
        inner.delivered += changes as u64;
        inner.rate.count(changes as u64, now);
    }

    pub(crate) fn settled(&self, pages: u64, lsn: u64) {
        let mut inner = self.inner.lock();
        inner.settled_pages += pages;
        inner.settled_lsn = Some(lsn);
    }

    /// Epoch seconds of the oldest change that is read and not settled; `None` when there is none.
    pub(crate) fn oldest(&self, seconds: Option<i64>) {
        self.inner.lock().oldest = seconds;
    }

    /// The feed was read to its head and all of it is settled.
    pub(crate) fn caught_up(&self) {
        let mut inner = self.inner.lock();
        inner.settled_lsn = inner.head_lsn;
        inner.oldest = None;
        inner.state = RangeState::Idle;
    }

    pub(crate) fn checkpointed(&self, position: &str, now: Monotonic) {
        self.labels.checkpoint();
        let mut inner = self.inner.lock();
        inner.position = Some(position.to_owned());
        inner.unwritten_since = inner.oldest.map(|_| now);
    }

    /// One write of the range's lease, in this container.
    pub(crate) fn lease_written(&self, container: &str, charge: RequestCharge) {
        metrics::charged(container, "lease", charge);
        self.charge(charge);
    }

    /// The worker's loop went round, with so many changes read and not settled; `None`: there is no loop now.
    pub(crate) fn stands(&self, turned: Option<(Monotonic, usize)>) {
        let mut inner = self.inner.lock();
        inner.turned = turned.map(|(now, _)| now);
        inner.waiting = turned.map_or(0, |(_, changes)| changes);
    }

    pub(crate) fn begins_at(&self, position: Option<String>) {
        self.inner.lock().position = position;
    }

    pub(crate) fn charge(&self, charge: RequestCharge) {
        self.inner.lock().charge += charge;
    }

    pub(crate) fn failure(&self) {
        self.labels.failure();
        self.inner.lock().failures += 1;
    }

    pub(crate) fn dead_letter(&self) {
        self.labels.dead_letter();
        self.inner.lock().dead_letters += 1;
    }

    pub(crate) fn state(&self, state: RangeState) {
        self.inner.lock().state = state;
    }

    /// The store answers again.
    pub(crate) fn recovered(&self) {
        let mut inner = self.inner.lock();
        if matches!(inner.state, RangeState::Waiting { .. }) {
            inner.state = RangeState::Reading;
        }
    }

    pub(crate) fn settled_pages(&self) -> u64 {
        self.inner.lock().settled_pages
    }

    /// Whether nobody needs to look at it.
    pub(crate) fn is_sound(&self) -> bool {
        self.inner.lock().state.trouble().is_none()
    }

    pub(crate) fn is_in(&self, state: &RangeState) -> bool {
        self.inner.lock().state == *state
    }

    /// Changes a second and commits behind the head, for the plan.
    pub(crate) fn load(&self, now: Monotonic) -> (f64, u64) {
        let inner = self.inner.lock();
        (inner.rate.per_second(now), inner.lag_changes(&self.portion).unwrap_or(0))
    }

    /// For people. Right when it is asked every few seconds.
    pub(crate) fn pace(&self, now: Monotonic) -> Pace {
        const HOUR: f64 = 3_600.0;
        let mut inner = self.inner.lock();
        let (charge, failures) = ((inner.charge.units() * 100.0) as u64, inner.failures);
        Pace {
            changes_per_hour: (inner.rate.per_second(now) * HOUR) as u64,
            request_units_per_hour: (inner.spending.per_second(charge, now) * HOUR / 100.0) as u64,
            failures_per_hour: (inner.failing.per_second(failures, now) * HOUR) as u64,
            halted: u64::from(inner.state.trouble().is_some()),
        }
    }

    fn order(&self) -> (&str, &str, &FeedRange) {
        (&self.processor, &self.source, &self.range)
    }

    fn status(&self, now_seconds: i64, now: Monotonic) -> RangeStatus {
        let inner = self.inner.lock();
        RangeStatus {
            processor: self.processor.clone(),
            source: self.source.clone(),
            range: self.range.clone(),
            delivered: inner.delivered,
            settled_pages: inner.settled_pages,
            lag_changes: inner.lag_changes(&self.portion),
            lag_seconds: inner.lag_seconds(now_seconds),
            changes_waiting: inner.waiting,
            changes_per_second: inner.rate.per_second(now),
            state: inner.state.clone(),
            dead_letters: inner.dead_letters,
            charge: inner.charge,
            position: inner.position.clone(),
            checkpoint_age: inner.unwritten_since.map(|since| now.since(since)),
        }
    }
}

impl Inner {
    /// Unknown before the first page, and before the first settled one when there is something to settle: a position
    /// does not tell its LSN.
    fn lag_changes(&self, portion: &Portion) -> Option<u64> {
        Some(portion.own(self.settled_lsn?, self.head_lsn?))
    }

    fn lag_seconds(&self, now: i64) -> Option<f64> {
        match self.oldest {
            Some(oldest) => Some(now.saturating_sub(oldest).max(0) as f64),
            None => self.settled_lsn.map(|_| 0.0),
        }
    }
}

/// Changes per second, smoothed.
struct Rate {
    smoothed: Option<f64>,
    since: Monotonic,
    counted: u64,
}

impl Rate {
    fn new(now: Monotonic) -> Self {
        Self { smoothed: None, since: now, counted: 0 }
    }

    fn count(&mut self, changes: u64, now: Monotonic) {
        self.counted += changes;
        if now.since(self.since) >= RATE_WINDOW {
            self.smoothed = Some(self.per_second(now));
            self.since = now;
            self.counted = 0;
        }
    }

    fn per_second(&self, now: Monotonic) -> f64 {
        let elapsed = now.since(self.since);
        if elapsed < RATE_WINDOW && self.smoothed.is_some() {
            return self.smoothed.unwrap_or_default();
        }
        let seconds = elapsed.as_secs_f64();
        let current = if seconds > 0.0 { self.counted as f64 / seconds } else { 0.0 };
        match self.smoothed {
            None => current,
            Some(smoothed) => {
                let kept = (-seconds / RATE_SMOOTHING.as_secs_f64()).exp();
                smoothed * kept + current * (1.0 - kept)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn a_steady_stream_has_its_own_rate_and_silence_lets_it_fall() {
        let mut rate = Rate::new(at(0));
        for second in 1..=60 {
            rate.count(100, at(second));
        }
        assert!((rate.per_second(at(60)) - 100.0).abs() < 1.0);
        assert!(rate.per_second(at(120)) < 1.0);
    }

    #[test]
    fn lag_is_unknown_then_counted_and_zero_at_rest() {
        let gauge = Gauge::new("p", "s", FeedRange::full(), Portion::of_keys(1.0), at(0));
        let lag = |gauge: &Gauge| {
            let status = gauge.status(100, at(1));
            (status.lag_changes, status.lag_seconds)
        };
        assert_eq!(lag(&gauge), (None, None));
        gauge.page(3, 12, RequestCharge::ZERO, at(1));
        gauge.oldest(Some(90));
        gauge.settled(1, 5);
        assert_eq!(lag(&gauge), (Some(7), Some(10.0)));
        let quarter = Gauge::new("p", "s", FeedRange::full(), Portion::of_keys(0.25), at(0));
        quarter.page(3, 12, RequestCharge::ZERO, at(1));
        quarter.settled(1, 5);
        assert_eq!(lag(&quarter).0, Some(2), "a part has its share");
        gauge.caught_up();
        assert_eq!(lag(&gauge), (Some(0), Some(0.0)));
    }

    #[test]
    fn a_loop_that_stands_still_is_told_from_one_that_waits() {
        let limit = Duration::from_secs(60);
        let gauge = Arc::new(Gauge::new("p", "s", FeedRange::full(), Portion::of_keys(1.0), at(0)));
        let hangs = |now| hangs(std::slice::from_ref(&gauge), at(now), limit).map(|(_, stood)| stood.as_secs());
        assert_eq!(hangs(500), None, "there is no loop yet");
        gauge.stands(Some((at(100), 0)));
        gauge.state(RangeState::Waiting { error: "no route".to_owned() });
        assert_eq!(hangs(160), None);
        assert_eq!(hangs(161), Some(61));
        gauge.stands(Some((at(161), 0)));
        assert_eq!(hangs(200), None);
        gauge.stands(None);
        assert_eq!(hangs(900), None, "its lease is elsewhere");
    }

    #[test]
    fn a_checkpoint_is_as_old_as_what_it_leaves_out() {
        let gauge = Gauge::new("p", "s", FeedRange::full(), Portion::of_keys(1.0), at(0));
        let age = |gauge: &Gauge, now| gauge.status(100, at(now)).checkpoint_age.map(|age| age.as_secs());
        gauge.page(0, 12, RequestCharge::ZERO, at(1));
        assert_eq!(age(&gauge, 9), None, "an empty page leaves nothing out");
        gauge.page(3, 12, RequestCharge::ZERO, at(2));
        gauge.oldest(Some(90));
        gauge.page(3, 15, RequestCharge::ZERO, at(4));
        assert_eq!(age(&gauge, 9), Some(7));
        gauge.checkpointed("5", at(9));
        assert_eq!(age(&gauge, 12), Some(3), "it left something out");
        gauge.oldest(None);
        gauge.checkpointed("15", at(13));
        assert_eq!(age(&gauge, 20), None);
    }
}
