//! When an event that failed by its own fault is tried again.

use std::time::Duration;

use feedmill_clock::Entropy;

use crate::Options;

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    After(Duration),
    Dead,
}

/// `retry_first · 2^retry_count`, at most `retry_max`, of that between half and all; dead once `max_retries` have failed.
pub(crate) fn next(retry_count: u32, max_retries: u32, options: &Options, entropy: &Entropy) -> Next {
    if retry_count >= max_retries {
        return Next::Dead;
    }
    Next::After(entropy.jitter(doubled(options.retry_first, retry_count, options.retry_max)))
}

/// `first · 2^times`, at most `max`.
pub(crate) fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    // 31 doublings of a nanosecond are two seconds, of anything sensible more than any cap.
    first.saturating_mul(1 << times.min(31)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u32) -> f64 {
        let options = Options { retry_max: Duration::from_secs(3_600), ..Options::default() };
        match next(count, 10, &options, &Entropy::seeded(count.into())) {
            Next::After(delay) => delay.as_secs_f64(),
            Next::Dead => panic!("not dead yet"),
        }
    }

    #[test]
    fn each_retry_waits_twice_as_long_up_to_the_cap() {
        for (count, whole) in [(0, 60.0), (1, 120.0), (2, 240.0), (5, 1_920.0), (6, 3_600.0), (9, 3_600.0)] {
            assert!((whole / 2.0..=whole).contains(&seconds(count)), "{count}");
        }
    }

    #[test]
    fn an_event_whose_last_retry_failed_is_dead() {
        let options = Options::default();
        let entropy = Entropy::seeded(1);
        assert_ne!(next(2, 3, &options, &entropy), Next::Dead);
        assert_eq!(next(3, 3, &options, &entropy), Next::Dead);
        assert_eq!(next(0, 0, &options, &entropy), Next::Dead);
    }

    #[test]
    fn the_largest_count_overflows_nothing() {
        assert_eq!(doubled(Duration::MAX, u32::MAX, Duration::from_secs(9)), Duration::from_secs(9));
    }
}
