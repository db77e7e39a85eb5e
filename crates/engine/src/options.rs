use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SettleOptions;
use crate::limits::{FENCE_BEFORE_EXPIRY, RANGES_PER_PARTITION_MAX, SHARED_EXPIRY_MIN};

/// How leases, delivery, retries and shutdown behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Name of the container that holds the leases; key `/id`. Default `leases`.
    pub leases: String,
    /// Name of the container that holds the dead letters; key `/id`. Default `deadLetters`.
    pub dead_letters: String,
    /// Changes asked for in one page. A page may hold more, because it is not cut within one commit. Default 1000.
    pub page_items_max: usize,
    /// Deliveries of one range that run at the same time. Default 32.
    pub deliveries_in_flight_max: usize,
    /// Changes of one range that were read and are not settled; no further page is read above it. Default 10000.
    pub changes_in_flight_max: usize,
    /// Bytes of those changes; no further page is read above it. Default 8388608 (8 MiB).
    pub bytes_in_flight_max: usize,
    /// Pages of one range behind an unsettled change; no further page is read above it. Bounds what is delivered again
    /// after a crash. Default 1000.
    pub pages_in_flight_max: usize,
    /// Wait after the first empty page. Doubles while the range stays quiet. Default 100 ms.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll_delay_min: Duration,
    /// Longest wait between two polls of a quiet range: the delay of its next change, and its idle cost. Default 5 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub poll_delay_max: Duration,
    /// A checkpoint is written once this many pages are settled. Default 50.
    pub checkpoint_pages: u64,
    /// A checkpoint is written once a settled page has waited this long for it. Default 5 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub checkpoint_age: Duration,
    /// First wait after a failure; doubles, with jitter. Default 100 ms.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub backoff_min: Duration,
    /// Longest wait between two attempts at the same request. Default 30 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub backoff_max: Duration,
    /// How long a delivery that fails by its own fault is tried again before it becomes a dead letter; its key waits,
    /// other keys do not. Default 10 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub retry_inline: Duration,
    /// What a change that keeps failing by its own fault leads to. Default `dead-letter`.
    pub on_error: OnError,
    /// A range that makes more dead letters than this within a minute halts: that is a bug, not bad data. Default 600.
    pub dead_letters_per_minute_max: usize,
    /// First wait before a dead letter is tried again; doubles at each failure. Default 1 min.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub dead_letter_retry_min: Duration,
    /// A dead letter whose next wait would be longer is tried no more by itself (`dead`). Default 24 h.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub dead_letter_retry_max: Duration,
    /// Open dead letters of one processor and source kept in memory. With more than that, every settled change costs a
    /// read of the dead letter it might have. Default 10000.
    pub dead_letters_open_max: usize,
    /// How long a closed dead letter stays. Default 30 d.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub dead_letter_retention: Duration,
    /// With `gather`: a key is handled again no sooner than this many times as long as its last handling took, so that
    /// a hot key never costs more than one part in this many of the time; a minute at most. Default 20.
    pub gather_factor: u32,
    /// How often a host says that it lives: one write and one read, whatever the number of its leases. Default 3 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub heartbeat_interval: Duration,
    /// A host whose heartbeat stood still for this long is dead, and others take its leases; it sends nothing itself from
    /// 2 s before. At least three heartbeats, and two and 2 s. Default 9 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub heartbeat_expiry: Duration,
    /// How often all leases are listed and their coverage is audited; in between the lease table is followed by its change
    /// feed. Default 10 min.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lease_list_interval: Duration,
    /// A lease that is wanted on another host goes there once everything that was read is settled, or after this time; what
    /// is then not settled is delivered again there. Default 15 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub hand_over_drain_max: Duration,
    /// Leases of each physical partition, from 1 to 1000, so that more hosts than partitions can work. Leases that are there
    /// are cut finer by their hosts when it is raised; those that are finer stay. Default 1.
    pub ranges_per_partition: usize,
    /// By which rules leases are kept. Hosts of an embedded store, which has one process, take no notice. Default `own`.
    pub lease_mode: LeaseMode,
    /// With `shared`: when a lease that nobody renews has expired, as the .NET hosts have it (`expirationInterval`). Leases are
    /// looked at and renewed as much more often as theirs are by default: of 60 s every 13 and every 17. At least 15 s. Default
    /// 60 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub shared_lease_expiry: Duration,
    /// Time from the order to stop until `run` returns; four fifths of it for running deliveries, the rest for
    /// checkpoints and leases. Default 25 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub shutdown_grace: Duration,
    /// How targets are written.
    pub settle: SettleOptions,
}

/// What a change that keeps failing by its own fault leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It is written down as a dead letter, tried again later, and the rest goes on.
    #[default]
    DeadLetter,
    /// Its range halts before it, loudly.
    Halt,
}

/// By which rules leases are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseMode {
    /// Our own: heartbeats, one plan, leases handed over by their owners.
    #[default]
    Own,
    /// Those of the .NET change feed processor, whose hosts may have leases of the same prefix.
    Shared,
}

/// Why options cannot work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("engine.heartbeat_interval must not be zero")]
    NoHeartbeat,
    #[error(
        "with engine.heartbeat_interval = {interval:?}, engine.heartbeat_expiry must be at least {least:?}, not {expiry:?}: \
         three heartbeats, so that others do not take one that is slow for a death, and two and {FENCE_BEFORE_EXPIRY:?}, because \
         a host sends nothing from then on before it may count as dead, and its next heartbeat may take that long to succeed"
    )]
    Heartbeat { interval: Duration, expiry: Duration, least: Duration },
    #[error("engine.ranges_per_partition must be from 1 to {RANGES_PER_PARTITION_MAX}, not {0}")]
    RangesPerPartition(usize),
    #[error(
        "engine.ranges_per_partition = {0} needs engine.lease_mode = \"own\": a .NET host that looks which leases are missing takes \
         one over a part of a partition for all of it, so the other parts would be nobody's"
    )]
    SharedRanges(usize),
    #[error("engine.shared_lease_expiry must be at least {SHARED_EXPIRY_MIN:?}, not {0:?}")]
    SharedExpiry(Duration),
}

impl Options {
    /// Whether they can work together.
    ///
    /// A heartbeat is sent an interval after the one before and given up after another, so between a heartbeat's sending and
    /// the next one's success there may be two. A host that has none of its own for `heartbeat_expiry` − 2 s stops itself.
    pub fn check(&self) -> Result<(), OptionsError> {
        let (interval, expiry) = (self.heartbeat_interval, self.heartbeat_expiry);
        if interval.is_zero() {
            return Err(OptionsError::NoHeartbeat);
        }
        let least = interval.saturating_mul(3).max(interval.saturating_mul(2).saturating_add(FENCE_BEFORE_EXPIRY));
        if expiry < least {
            return Err(OptionsError::Heartbeat { interval, expiry, least });
        }
        if !(1..=RANGES_PER_PARTITION_MAX).contains(&self.ranges_per_partition) {
            return Err(OptionsError::RangesPerPartition(self.ranges_per_partition));
        }
        if self.lease_mode == LeaseMode::Shared && self.ranges_per_partition > 1 {
            return Err(OptionsError::SharedRanges(self.ranges_per_partition));
        }
        if self.shared_lease_expiry < SHARED_EXPIRY_MIN {
            return Err(OptionsError::SharedExpiry(self.shared_lease_expiry));
        }
        Ok(())
    }

    /// Between two looks at all leases that are shared: 13 s of 60, as with .NET.
    pub(crate) fn shared_look_interval(&self) -> Duration {
        self.shared_lease_expiry * 13 / 60
    }

    /// Between two renewals of a lease that is shared: 17 s of 60, as with .NET.
    pub(crate) fn shared_renew_interval(&self) -> Duration {
        self.shared_lease_expiry * 17 / 60
    }

    /// The same for equal options, and for different ones as good as never: hosts of one fleet should agree.
    pub(crate) fn hash(&self) -> String {
        let text = serde_json::to_string(self).expect("options are numbers and strings");
        format!("{:016x}", crate::dead_letters::fnv1a(text.as_bytes()))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            leases: "leases".to_owned(),
            dead_letters: "deadLetters".to_owned(),
            page_items_max: 1_000,
            deliveries_in_flight_max: 32,
            changes_in_flight_max: 10_000,
            bytes_in_flight_max: 8 * 1024 * 1024,
            pages_in_flight_max: 1_000,
            poll_delay_min: Duration::from_millis(100),
            poll_delay_max: Duration::from_secs(5),
            checkpoint_pages: 50,
            checkpoint_age: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            retry_inline: Duration::from_secs(10),
            on_error: OnError::DeadLetter,
            dead_letters_per_minute_max: 600,
            dead_letter_retry_min: Duration::from_secs(60),
            dead_letter_retry_max: Duration::from_secs(24 * 60 * 60),
            dead_letters_open_max: 10_000,
            dead_letter_retention: Duration::from_secs(30 * 24 * 60 * 60),
            gather_factor: 20,
            heartbeat_interval: Duration::from_secs(3),
            heartbeat_expiry: Duration::from_secs(9),
            lease_list_interval: Duration::from_secs(10 * 60),
            hand_over_drain_max: Duration::from_secs(15),
            ranges_per_partition: 1,
            lease_mode: LeaseMode::Own,
            shared_lease_expiry: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(25),
            settle: SettleOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_survives_writing_and_reading() {
        let text = serde_json::to_string(&Options::default()).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), Options::default());
    }

    #[test]
    fn durations_are_written_as_people_say_them() {
        let options: Options = serde_json::from_str(r#"{"retry_inline":"1m 30s","on_error":"halt"}"#).unwrap();
        assert_eq!(options.retry_inline, Duration::from_secs(90));
        assert_eq!(options.on_error, OnError::Halt);
    }

    #[test]
    fn options_that_cannot_work_together_are_refused() {
        let check = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check()
        };
        let beating = |interval: u64, expiry: u64| {
            let (heartbeat_interval, heartbeat_expiry) =
                (Duration::from_millis(interval), Duration::from_millis(expiry));
            Options { heartbeat_interval, heartbeat_expiry, ..Options::default() }.check()
        };
        for (interval, least) in [(3_000, 9_000), (2_000, 6_000), (1_000, 4_000), (100, 2_200)] {
            assert_eq!(beating(interval, least), Ok(()));
            let refused = beating(interval, least - 1).unwrap_err();
            assert!(matches!(refused, OptionsError::Heartbeat { least: at, .. } if at == Duration::from_millis(least)));
        }
        assert_eq!(beating(0, 9_000), Err(OptionsError::NoHeartbeat));
        assert_eq!(check(|options| options.ranges_per_partition = 1_000), Ok(()));
        let shared = |ranges_per_partition, seconds| {
            let shared_lease_expiry = Duration::from_secs(seconds);
            let lease_mode = LeaseMode::Shared;
            Options { lease_mode, ranges_per_partition, shared_lease_expiry, ..Options::default() }.check()
        };
        assert_eq!(shared(1, 15), Ok(()));
        assert_eq!(shared(2, 60), Err(OptionsError::SharedRanges(2)));
        assert!(matches!(shared(1, 14), Err(OptionsError::SharedExpiry(_))));
        assert_eq!(check(|options| options.ranges_per_partition = 0), Err(OptionsError::RangesPerPartition(0)));
        assert_eq!(check(|options| options.ranges_per_partition = 1_001), Err(OptionsError::RangesPerPartition(1_001)));
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(serde_json::from_str::<Options>(r#"{"retry_online":"1s"}"#).is_err());
    }
}
