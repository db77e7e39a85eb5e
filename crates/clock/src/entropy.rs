use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Chance: jitter, incarnations, samples, generated data. Clones draw from the same stream.
///
/// ChaCha gives the same stream on every platform, which a seed that is printed and replayed needs.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Mutex<ChaCha12Rng>>);

impl Entropy {
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))))
    }

    /// Seeded by the operating system.
    pub fn from_os() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut seed)?;
        Ok(Self(Arc::new(Mutex::new(ChaCha12Rng::from_seed(seed)))))
    }

    pub fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// A number in `range`, which must not be empty. The bias of the modulo is below 2⁻³² for ranges under 2³².
    pub fn below(&self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "an empty range has no numbers");
        range.start + self.next_u64() % (range.end - range.start)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between half of `duration` and all of it, so that those who failed together do not come back together.
    pub fn jitter(&self, duration: Duration) -> Duration {
        duration.mul_f64(0.5 + self.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream() {
        let (a, b) = (Entropy::seeded(7), Entropy::seeded(7));
        let stream = |entropy: &Entropy| (0..8).map(|_| entropy.next_u64()).collect::<Vec<_>>();
        assert_eq!(stream(&a), stream(&b));
        assert_ne!(stream(&a), stream(&Entropy::seeded(8)));
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        let entropy = Entropy::seeded(1);
        for _ in 0..1_000 {
            let jittered = entropy.jitter(Duration::from_secs(2));
            assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&jittered));
        }
    }
}
