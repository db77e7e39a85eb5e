//! Who follows whom.

use std::collections::BTreeSet;

use feedmill_clock::Entropy;

use super::zipf::Zipf;

/// How much more the most followed are followed than the others. Measured social networks lie around 1.
const POPULARITY_EXPONENT: f64 = 0.9;

/// For each user, by index, whom they follow: others only, each once, in the order of their indexes.
pub(super) fn follows(users: usize, follows_mean: u32, entropy: &Entropy) -> Vec<Vec<u32>> {
    let by_rank = shuffled(users, entropy);
    let popularity = Zipf::new(users, POPULARITY_EXPONENT);
    let follows_of = |user: usize| {
        let wanted = exponential(f64::from(follows_mean), entropy).ceil().min((users - 1) as f64) as usize;
        let mut followees = BTreeSet::new();
        // Whoever wants more than the popular ones meets them again and again: some wishes stay open.
        for _ in 0..4 * wanted {
            let followee = by_rank[popularity.draw(entropy)];
            if followee as usize != user {
                followees.insert(followee);
            }
            if followees.len() == wanted {
                break;
            }
        }
        followees.into_iter().collect()
    };
    (0..users).map(follows_of).collect()
}

/// All indexes in an order of chance.
pub(super) fn shuffled(count: usize, entropy: &Entropy) -> Vec<u32> {
    let mut indexes: Vec<u32> = (0..u32::try_from(count).expect("fewer than 2³² of them")).collect();
    for index in (1..count).rev() {
        let other = entropy.below(0..index as u64 + 1) as usize;
        indexes.swap(index, other);
    }
    indexes
}

/// Mostly small, sometimes several times the mean.
pub(super) fn exponential(mean: f64, entropy: &Entropy) -> f64 {
    -mean * (1.0 - entropy.unit()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_accounts_have_very_many_followers() {
        let follows = follows(2_000, 20, &Entropy::seeded(1));
        let mut followers = vec![0_usize; 2_000];
        for followee in follows.iter().flatten() {
            followers[*followee as usize] += 1;
        }
        followers.sort_unstable_by(|a, b| b.cmp(a));
        let all: usize = followers.iter().sum();
        let top: usize = followers[..20].iter().sum();
        assert!(followers[0] > 2_000 / 3, "the most followed has {} followers", followers[0]);
        assert!(top * 5 > all, "the top hundredth has {top} of {all}");
        assert!(followers[1_000] < 20, "the median account has {} followers", followers[1_000]);
        assert!((20_000..60_000).contains(&all), "{all} edges");
    }

    #[test]
    fn nobody_follows_themselves_or_anybody_twice() {
        for (user, followees) in follows(50, 30, &Entropy::seeded(2)).iter().enumerate() {
            assert!(followees.is_sorted_by(|a, b| a < b), "{followees:?}");
            assert!(!followees.contains(&(user as u32)));
        }
    }

    #[test]
    fn a_shuffle_keeps_every_index() {
        let mut shuffled = shuffled(100, &Entropy::seeded(3));
        assert!(!shuffled.is_sorted());
        shuffled.sort_unstable();
        assert_eq!(shuffled, (0..100).collect::<Vec<_>>());
    }
}
