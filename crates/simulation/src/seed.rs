use feedmill_clock::Entropy;

/// One number from which everything that chance decides in a run follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// Chance for one purpose. Purposes do not disturb each other: one that draws more leaves the others as they were.
    pub(crate) fn stream(self, purpose: &str) -> Entropy {
        // FNV-1a: the same on every platform and in every release of the compiler.
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Entropy::seeded(hash ^ self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// What is drawn again and again.
pub(crate) trait Chance {
    /// True in this share of the draws.
    fn happens(&self, share: f64) -> bool;

    fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T;

    /// Uniform up to `max`, to the nanosecond, so that events hardly ever fall together.
    fn up_to(&self, max: std::time::Duration) -> std::time::Duration;
}

impl Chance for Entropy {
    fn happens(&self, share: f64) -> bool {
        self.unit() < share
    }

    fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        let index = self.below(0..choices.len() as u64);
        &choices[usize::try_from(index).expect("below the length of a slice")]
    }

    fn up_to(&self, max: std::time::Duration) -> std::time::Duration {
        max.mul_f64(self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_have_streams_of_their_own() {
        let first = |seed: u64, purpose: &str| Seed(seed).stream(purpose).next_u64();
        assert_eq!(first(1, "network"), first(1, "network"));
        assert_ne!(first(1, "network"), first(1, "writer"));
        assert_ne!(first(1, "network"), first(2, "network"));
    }
}
