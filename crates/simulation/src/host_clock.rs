use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, ManualClock, Monotonic};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::gate::Gate;

/// How far a host's wall clock may be off, in milliseconds either way.
const SKEW_MS_MAX: u64 = 120_000;
/// How much faster or slower than it should a host's oscillator runs, at most. Real ones stay below a thousandth.
const DRIFT_MAX: f64 = 0.001;

/// The clocks of one host: they drift, the wall clock jumps, and nobody wakes up while the host is frozen.
#[derive(Clone, Debug)]
pub(crate) struct HostClock {
    world: ManualClock,
    /// Its seconds in one of ours.
    rate: f64,
    skew: Arc<Mutex<SignedDuration>>,
    gate: Gate,
}

impl HostClock {
    pub(crate) fn new(world: &ManualClock, gate: &Gate, entropy: &Entropy) -> Self {
        let rate = 1.0 + DRIFT_MAX * (2.0 * entropy.unit() - 1.0);
        Self { world: world.clone(), rate, skew: Arc::new(Mutex::new(skew(entropy))), gate: gate.clone() }
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, entropy: &Entropy) {
        *self.skew.lock() = skew(entropy);
    }

    fn elapsed(&self) -> Duration {
        self.world.monotonic().since(Monotonic::from_origin(Duration::ZERO)).mul_f64(self.rate)
    }
}

fn skew(entropy: &Entropy) -> SignedDuration {
    let ms = entropy.below(0..2 * SKEW_MS_MAX).cast_signed() - SKEW_MS_MAX.cast_signed();
    SignedDuration::from_millis(ms)
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        self.world.now() + *self.skew.lock()
    }

    /// Goes on while the host is frozen, as the clock that counts suspension does.
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(self.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return std::future::ready(()).boxed();
        }
        // Rounding must not wake anybody before their deadline: they would go to sleep again for nothing, for ever.
        let sleep = self.world.sleep(duration.div_f64(self.rate) + Duration::from_nanos(2));
        let gate = self.gate.clone();
        async move {
            sleep.await;
            gate.pass().await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage;

    #[test]
    fn a_sleep_is_never_too_short_on_the_clock_it_was_measured_with() {
        let world = ManualClock::new(Timestamp::UNIX_EPOCH);
        let (entropy, at_work) = (Entropy::seeded(3), world.clone());
        let played = stage::play(&world, Duration::from_secs(100_000), async move {
            for _ in 0..1_000 {
                let clock = HostClock::new(&at_work, &Gate::open(), &entropy);
                let (began, wait) = (clock.monotonic(), Duration::from_nanos(entropy.below(1..10_000_000_000)));
                clock.sleep(wait).await;
                let slept = clock.monotonic().since(began);
                assert!(slept >= wait && slept < wait + Duration::from_micros(1), "{slept:?} for {wait:?}");
            }
        });
        assert_eq!(played, Ok(()));
    }

    #[test]
    fn a_frozen_host_wakes_late() {
        let world = ManualClock::new(Timestamp::UNIX_EPOCH);
        let gate = Gate::open();
        let clock = HostClock::new(&world, &gate, &Entropy::seeded(1));
        gate.set_open(false);
        let at_work = world.clone();
        let played = stage::play(&world, Duration::from_secs(60), async move {
            let sleeping = tokio::spawn({
                let clock = clock.clone();
                async move { clock.sleep(Duration::from_secs(1)).await }
            });
            at_work.sleep(Duration::from_secs(30)).await;
            assert!(!sleeping.is_finished());
            gate.set_open(true);
            sleeping.await.unwrap();
        });
        assert_eq!(played, Ok(()));
    }
}
