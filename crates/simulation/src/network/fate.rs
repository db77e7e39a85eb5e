use std::time::Duration;

use feedmill_clock::Entropy;
use feedmill_store_api::{Error, ErrorKind};

use crate::seed::Chance;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Most requests and replies take up to this long.
    pub(crate) latency_max: Duration,
    /// Share of requests that take up to `slow_max` instead.
    pub(crate) slow: f64,
    pub(crate) slow_max: Duration,
    /// Share of requests to which something happens.
    pub(crate) faults: f64,
    /// How long after its sender gave up a request may still take effect.
    pub(crate) late_max: Duration,
    /// Share of reads that a replica answers which lags behind, where the read allows it.
    pub(crate) stale: f64,
    /// Nothing gets through.
    pub(crate) down: bool,
}

impl Weather {
    /// After that, in calm weather, nothing of before takes effect any more.
    pub(crate) const LATE_MAX: Duration = Duration::from_secs(130);

    /// Anything from a good day to a bad one.
    pub(crate) fn drawn(entropy: &Entropy) -> Self {
        let ms = Duration::from_millis;
        Self {
            latency_max: *entropy.one_of(&[ms(1), ms(10), ms(50)]),
            slow: *entropy.one_of(&[0.0, 0.02, 0.2]),
            slow_max: *entropy.one_of(&[ms(300), ms(3_000), ms(20_000)]),
            faults: *entropy.one_of(&[0.0, 0.02, 0.1, 0.3]),
            late_max: *entropy.one_of(&[ms(300), ms(5_000), ms(120_000)]),
            stale: *entropy.one_of(&[0.0, 0.1, 0.5]),
            down: false,
        }
    }

    /// A bad day on which many requests are still on their way when the next thing happens.
    pub(crate) fn rough(entropy: &Entropy) -> Self {
        let ms = Duration::from_millis;
        Self {
            latency_max: *entropy.one_of(&[ms(1), ms(10)]),
            slow: *entropy.one_of(&[0.1, 0.3]),
            slow_max: *entropy.one_of(&[ms(100), ms(1_000), ms(5_000)]),
            faults: *entropy.one_of(&[0.02, 0.1, 0.4]),
            ..Self::drawn(entropy)
        }
    }

    /// A good day.
    pub(crate) fn calm() -> Self {
        let ms = Duration::from_millis;
        Self { latency_max: ms(5), slow: 0.0, slow_max: ms(0), faults: 0.0, late_max: ms(0), stale: 0.0, down: false }
    }

    /// The store is down for everybody.
    pub(crate) fn outage() -> Self {
        Self { down: true, ..Self::calm() }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Answered,
    /// The store refuses it: 408, 449 and 503 in one, or 429.
    Refused(Refusal),
    /// Nothing arrives at one of the two ends, and the sender gives up.
    Lost {
        applied: bool,
    },
    /// The sender gives up, and then it takes effect.
    Late {
        by: Duration,
    },
    /// It takes effect twice: a retry below us, as SDKs do them. The reply is that of one of the two.
    Twice {
        second_after: Duration,
        reply_of_second: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Unavailable,
    Throttled { after: Duration },
}

/// The whole course of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) fate: Fate,
}

/// How long a sender waits for a reply.
const GIVE_UP_MAX: Duration = Duration::from_secs(6);
/// How far a replica may lag behind.
const LAG_MAX: Duration = Duration::from_secs(5);
/// What a store asks for when it throttles.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

impl Weather {
    pub(super) fn course(&self, entropy: &Entropy, is_write: bool) -> Course {
        let way = || {
            let max = if entropy.happens(self.slow) { self.slow_max } else { self.latency_max };
            entropy.up_to(max)
        };
        let (there, back) = (way(), way());
        let fate = if self.down { Self::nothing_gets_through(entropy) } else { self.fate(entropy, is_write) };
        Course { there, back, fate }
    }

    /// What becomes of requests to a store that is down, or not reached.
    pub(super) fn nothing_gets_through(entropy: &Entropy) -> Fate {
        if entropy.happens(0.5) { Fate::Refused(Refusal::Unavailable) } else { Fate::Lost { applied: false } }
    }

    fn fate(&self, entropy: &Entropy, is_write: bool) -> Fate {
        if !entropy.happens(self.faults) {
            return Fate::Answered;
        }
        match entropy.below(0..if is_write { 8 } else { 3 }) {
            0 => Fate::Refused(Refusal::Unavailable),
            1 => Fate::Refused(Refusal::Throttled { after: entropy.up_to(RETRY_AFTER_MAX) }),
            2 => Fate::Lost { applied: false },
            3 | 4 => Fate::Lost { applied: true },
            5 | 6 => Fate::Late { by: entropy.up_to(self.late_max) },
            _ => Fate::Twice {
                second_after: entropy.up_to(*entropy.one_of(&[self.latency_max, self.late_max])),
                reply_of_second: entropy.happens(0.5),
            },
        }
    }
}

/// When a sender whose reply does not come stops waiting for it.
pub(super) fn give_up(entropy: &Entropy) -> Duration {
    entropy.up_to(GIVE_UP_MAX)
}

/// How far behind the replica is that answers now; `None` for one that is not.
pub(super) fn lag(weather: &Weather, entropy: &Entropy) -> Option<Duration> {
    (weather.stale > 0.0 && entropy.happens(weather.stale)).then(|| entropy.up_to(LAG_MAX))
}

pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unavailable => Error::new(ErrorKind::Unavailable, "the store is not well"),
        Refusal::Throttled { after } => Error::new(ErrorKind::Throttled { after }, "too many requests"),
    }
}

pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::Unavailable, "no reply came").perhaps_applied()
}
