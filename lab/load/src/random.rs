//! Random numbers that a seed repeats (SplitMix64, Steele et al. 2014), and the distributions that traffic has.

use std::time::Duration;

/// A generator of its own for whoever acts: being faster changes nobody's choices.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The `stream`th generator of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95));
        random.bits();
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to `count`, without it; 0 for none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.bits() % (count.max(1) as u64)).unwrap_or(0)
    }

    /// From 0 up to 1, without it.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The time to the next arrival of a Poisson process.
    pub fn until_next(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.unit()).ln() / per_second)
    }
}

/// Zipf's law with exponent 1: the k-th most popular is asked for 1/k as often as the first.
#[derive(Debug)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Over `count` ranks.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let ranks = 1..=u32::try_from(count).unwrap_or(u32::MAX);
        Self(
            ranks
                .map(|rank| {
                    sum += 1.0 / f64::from(rank);
                    sum
                })
                .collect(),
        )
    }

    /// A rank, from 0.
    pub fn pick(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|sum| *sum <= at).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_first_rank_is_asked_for_most() {
        let (mut one, mut two) = (Random::new(7, 1), Random::new(7, 1));
        assert!((0..100).all(|_| one.bits() == two.bits()));
        assert_ne!(Random::new(7, 1).bits(), Random::new(7, 2).bits());
        let zipf = Zipf::new(50);
        let mut counts = [0u32; 50];
        (0..100_000).for_each(|_| counts[zipf.pick(&mut one)] += 1);
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.0..12.5).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
