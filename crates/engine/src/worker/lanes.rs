//! Per key in feed order and never one key twice at once; across keys in parallel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Monotonic;
use feedmill_store_api::{Change, PartitionKey, SessionToken};

use super::progress::PageNumber;
use crate::limits::{GATHER_PAUSE_DOUBTED_MAX, GATHER_PAUSE_MAX};

/// Changes that wait or are being delivered, by partition key.
///
/// A key is in one of four places: `ready`, `cooling` until a time, busy, or nowhere because it has nothing to do.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<PartitionKey, Lane>,
    ready: VecDeque<PartitionKey>,
    cooling: BTreeSet<(Monotonic, PartitionKey)>,
    changes: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    waiting: Vec<(PageNumber, Change)>,
    session: Arc<SessionToken>,
    /// How long its last handling took, where its changes gather.
    took: Option<Duration>,
}

/// The changes of one key that are handled together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) key: PartitionKey,
    pub(super) changes: Vec<Change>,
    pub(super) session: SessionToken,
    pub(super) ticket: Ticket,
}

/// What must come back once they are handled.
#[derive(Debug)]
pub(super) struct Ticket {
    /// How many changes of which page.
    pub(super) pages: Vec<(PageNumber, usize)>,
    pub(super) changes: usize,
    bytes: usize,
}

impl Lanes {
    /// A change was read. Changes must come in feed order.
    pub(super) fn push(&mut self, key: PartitionKey, page: PageNumber, change: Change, session: &Arc<SessionToken>) {
        self.changes += 1;
        self.bytes += change.body.len();
        match self.lanes.get_mut(&key) {
            Some(lane) => {
                lane.session = Arc::clone(session);
                lane.waiting.push((page, change));
            }
            None => {
                let session = Arc::clone(session);
                self.ready.push_back(key.clone());
                self.lanes.insert(key, Lane { waiting: vec![(page, change)], session, took: None });
            }
        }
    }

    /// Everything that waits for the key whose turn it is; the key is then busy until [`Self::finish`].
    pub(super) fn take(&mut self, now: Monotonic) -> Option<Batch> {
        self.warm(now);
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key).expect("a ready key has a lane");
        let session = SessionToken::clone(&lane.session);
        let mut pages: Vec<(PageNumber, usize)> = Vec::new();
        let mut changes = Vec::with_capacity(lane.waiting.len());
        let mut bytes = 0;
        for (page, change) in lane.waiting.drain(..) {
            match pages.last_mut() {
                Some((last, count)) if *last == page => *count += 1,
                _ => pages.push((page, 1)),
            }
            bytes += change.body.len();
            changes.push(change);
        }
        let ticket = Ticket { pages, changes: changes.len(), bytes };
        Some(Batch { key, changes, session, ticket })
    }

    /// The batch of `key` is handled. Nothing more of it is handled before `cool_until`.
    pub(super) fn finish(&mut self, key: &PartitionKey, ticket: &Ticket, cool_until: Option<Monotonic>) {
        self.changes -= ticket.changes;
        self.bytes -= ticket.bytes;
        let lane = self.lanes.get_mut(key).expect("a busy key has a lane");
        match cool_until {
            Some(until) => {
                self.cooling.insert((until, key.clone()));
            }
            None if lane.waiting.is_empty() => {
                self.lanes.remove(key);
            }
            None => {
                self.ready.push_back(key.clone());
            }
        }
    }

    /// How long the changes of `key`, whose handling took so long, gather before it is handled again.
    ///
    /// What holds up one handling seldom holds up the next, so a long pause needs two that took long, one after the other.
    pub(super) fn pause(&mut self, key: &PartitionKey, took: Duration, factor: u32) -> Duration {
        let lane = self.lanes.get_mut(key).expect("a busy key has a lane");
        let before = lane.took.replace(took).unwrap_or_default();
        let sure = before.saturating_mul(factor).max(GATHER_PAUSE_DOUBTED_MAX);
        took.saturating_mul(factor).min(sure).min(GATHER_PAUSE_MAX)
    }

    /// Whether a key could be handled now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next cooling key may be handled again.
    pub(super) fn next_warm(&self) -> Option<Monotonic> {
        self.cooling.first().map(|(until, _)| *until)
    }

    /// Read and not settled.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keys that have cooled down wait for a place from now on, no longer for a time.
    pub(super) fn warm(&mut self, now: Monotonic) {
        while self.cooling.first().is_some_and(|(until, _)| *until <= now) {
            let (_, key) = self.cooling.pop_first().expect("looked at just now");
            match self.lanes.get_mut(&key) {
                Some(lane) if !lane.waiting.is_empty() => {
                    self.ready.push_back(key);
                }
                _ => {
                    self.lanes.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use feedmill_store_api::{ETag, Position};
    use proptest::prelude::*;

    use super::super::progress::{PageEnd, Progress};
    use super::*;

    fn page() -> PageNumber {
        Progress::default().open(PageEnd { position: Position::new("p"), lsn: 0 }, 1, 0)
    }

    fn change(lsn: u64) -> Change {
        let body = Bytes::from_static(b"{}");
        Change { lsn, timestamp_seconds: 0, etag: ETag::new(format!("\"{lsn}\"")), body }
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    fn push(lanes: &mut Lanes, key: &str, lsn: u64) {
        lanes.push(key.into(), page(), change(lsn), &Arc::new(SessionToken(lsn.to_string())));
    }

    fn lsns(batch: &Batch) -> Vec<u64> {
        batch.changes.iter().map(|change| change.lsn).collect()
    }

    #[test]
    fn what_comes_for_a_busy_key_is_handled_together_and_later() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", 1);
        let first = lanes.take(at(0)).unwrap();
        push(&mut lanes, "a", 2);
        push(&mut lanes, "b", 3);
        push(&mut lanes, "a", 4);
        assert_eq!(lsns(&lanes.take(at(0)).unwrap()), [3]);
        assert!(lanes.take(at(0)).is_none());
        lanes.finish(&first.key, &first.ticket, None);
        let second = lanes.take(at(0)).unwrap();
        assert_eq!(lsns(&second), [2, 4]);
        assert_eq!(second.session, SessionToken("4".to_owned()));
        assert_eq!((lanes.changes(), lanes.bytes()), (3, 6));
    }

    #[test]
    fn a_long_pause_needs_two_handlings_in_a_row_that_took_long() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", 1);
        let key = lanes.take(at(0)).unwrap().key;
        let mut pause = |seconds| lanes.pause(&key, Duration::from_secs(seconds), 20).as_secs();
        assert_eq!([1, 30, 10, 30, 40, 3_600, 3_600].map(&mut pause), [20, 60, 200, 200, 600, 800, 3_600]);
    }

    #[test]
    fn a_key_that_has_cooled_down_waits_for_a_place_and_for_no_time() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", 1);
        let first = lanes.take(at(0)).unwrap();
        push(&mut lanes, "a", 2);
        lanes.finish(&first.key, &first.ticket, Some(at(100)));
        lanes.warm(at(100));
        assert_eq!((lanes.next_warm(), lanes.has_ready()), (None, true));
    }

    #[test]
    fn a_cooling_key_gathers_until_its_time() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", 1);
        let first = lanes.take(at(0)).unwrap();
        push(&mut lanes, "a", 2);
        lanes.finish(&first.key, &first.ticket, Some(at(100)));
        push(&mut lanes, "a", 3);
        assert!(lanes.take(at(99)).is_none());
        assert_eq!(lanes.next_warm(), Some(at(100)));
        let second = lanes.take(at(100)).unwrap();
        assert_eq!(lsns(&second), [2, 3]);
        lanes.finish(&second.key, &second.ticket, Some(at(200)));
        push(&mut lanes, "a", 4);
        assert!(lanes.take(at(150)).is_none());
        assert_eq!(lsns(&lanes.take(at(200)).unwrap()), [4]);
    }

    #[test]
    fn a_key_that_cooled_with_nothing_to_do_is_forgotten() {
        let mut lanes = Lanes::default();
        push(&mut lanes, "a", 1);
        let first = lanes.take(at(0)).unwrap();
        lanes.finish(&first.key, &first.ticket, Some(at(100)));
        assert!(lanes.take(at(100)).is_none());
        assert_eq!(lanes.next_warm(), None);
        assert!(lanes.lanes.is_empty());
        assert_eq!(lanes.changes(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Take,
        Finish(usize, bool),
        Wait,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u8..4).prop_map(Step::Push),
            Just(Step::Take),
            (any::<usize>(), any::<bool>()).prop_map(|(which, cool)| Step::Finish(which, cool)),
            Just(Step::Wait),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn every_change_is_handled_once_in_order_and_no_key_twice_at_once(steps in steps()) {
            let mut lanes = Lanes::default();
            let (mut now, mut lsn) = (0, 0);
            let mut pushed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut handled: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut running: Vec<Batch> = Vec::new();
            let mut finish = |lanes: &mut Lanes, batch: Batch, cool: Option<Monotonic>| {
                lanes.finish(&batch.key, &batch.ticket, cool);
                handled.entry(batch.key.as_str().unwrap().to_owned()).or_default().extend(lsns(&batch));
            };
            for step in steps {
                match step {
                    Step::Push(key) => {
                        lsn += 1;
                        push(&mut lanes, &key.to_string(), lsn);
                        pushed.entry(key.to_string()).or_default().push(lsn);
                    }
                    Step::Take => if let Some(batch) = lanes.take(at(now)) {
                        prop_assert!(running.iter().all(|other| other.key != batch.key));
                        running.push(batch);
                    },
                    Step::Finish(which, cool) => if !running.is_empty() {
                        let batch = running.swap_remove(which % running.len());
                        finish(&mut lanes, batch, cool.then(|| at(now + 3)));
                    },
                    Step::Wait => now += 1,
                }
            }
            for batch in running {
                finish(&mut lanes, batch, None);
            }
            while let Some(batch) = lanes.take(at(now + 10)) {
                finish(&mut lanes, batch, None);
            }
            prop_assert_eq!(pushed, handled);
            prop_assert_eq!((lanes.changes(), lanes.bytes(), lanes.lanes.len()), (0, 0, 0));
        }
    }
}
