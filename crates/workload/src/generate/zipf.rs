use feedmill_clock::Entropy;

/// Ranks drawn so that rank r comes up in proportion to 1 / (r + 1)^exponent: few ranks very often, most hardly ever.
pub(super) struct Zipf {
    /// Share of all ranks up to this one; the last is 1.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `ranks` must not be 0.
    pub(super) fn new(ranks: usize, exponent: f64) -> Self {
        assert!(ranks > 0, "there must be a rank to draw");
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (0..ranks)
            .map(|rank| {
                sum += ((rank + 1) as f64).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { cumulative }
    }

    pub(super) fn draw(&self, entropy: &Entropy) -> usize {
        let point = entropy.unit();
        self.cumulative.partition_point(|share| *share <= point).min(self.cumulative.len() - 1)
    }

    /// The part of all draws that this rank gets.
    pub(super) fn share(&self, rank: usize) -> f64 {
        let before = rank.checked_sub(1).map_or(0.0, |before| self.cumulative[before]);
        self.cumulative[rank] - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_comes_up_twice_as_often_as_the_second() {
        let zipf = Zipf::new(100, 1.0);
        let entropy = Entropy::seeded(1);
        let mut drawn = [0_u32; 100];
        for _ in 0..100_000 {
            drawn[zipf.draw(&entropy)] += 1;
        }
        let ratio = f64::from(drawn[0]) / f64::from(drawn[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!((zipf.share(0) - f64::from(drawn[0]) / 100_000.0).abs() < 0.01);
        assert!(drawn[99] > 0);
    }

    #[test]
    fn shares_add_up_to_one() {
        let zipf = Zipf::new(1_000, 0.8);
        let sum: f64 = (0..1_000).map(|rank| zipf.share(rank)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
