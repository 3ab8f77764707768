//! Chance that a seed repeats (SplitMix64, Steele et al. 2014), and the shape that latencies have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Random numbers for whoever asks. A clone is the same source.
#[derive(Clone, Debug)]
pub(crate) struct SeededRng(Arc<AtomicU64>);

impl SeededRng {
    /// The `stream`th source of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))))
    }

    /// From 0 up to 1, without either.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    pub(crate) fn unit(&self) -> f64 {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = (mixed ^ (mixed >> 31)) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Whether something happens that has this probability.
    pub(crate) fn happens(&self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Between two durations, each as likely.
    pub(crate) fn between(&self, (least, most): (Duration, Duration)) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }
}

/// Durations as services answer: half are shorter than `p50_ms`, one in a hundred is longer than `p99_ms`, and the logarithms
/// are normally distributed. Fits the percentiles that are published; their tails are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lognormal {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The 99th percentile of the normal distribution, in standard deviations.
const P99_DEVIATIONS: f64 = 2.326_347_874;

impl Lognormal {
    /// From its two percentiles, in milliseconds.
    #[must_use]
    pub const fn ms(p50_ms: f64, p99_ms: f64) -> Self {
        Self { p50_ms, p99_ms }
    }

    /// One of them. Box and Muller's method makes the normal deviate.
    pub(crate) fn draw(&self, rng: &SeededRng) -> Duration {
        let normal = (-2.0 * rng.unit().ln()).sqrt() * (std::f64::consts::TAU * rng.unit()).cos();
        let sigma = (self.p99_ms / self.p50_ms).ln() / P99_DEVIATIONS;
        Duration::from_secs_f64(self.p50_ms / 1000.0 * (sigma * normal).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_are_below_the_median_and_one_in_a_hundred_is_beyond_the_99th_percentile() {
        let (rng, hold) = (SeededRng::new(1, 1), Lognormal::ms(10.0, 60.0));
        let mut drawn: Vec<Duration> = (0..20_000).map(|_| hold.draw(&rng)).collect();
        drawn.sort();
        let at = |share: usize| drawn[20_000 * share / 100].as_secs_f64() * 1000.0;
        assert!((9.5..10.5).contains(&at(50)), "{}", at(50));
        assert!((54.0..66.0).contains(&at(99)), "{}", at(99));
        let again = SeededRng::new(1, 1);
        assert!((0..100).all(|_| SeededRng::new(1, 1).unit() == SeededRng::new(1, 1).unit()), "a seed repeats");
        assert!(again.unit() != SeededRng::new(1, 2).unit(), "a stream is its own");
    }

    #[test]
    fn chance_keeps_its_probability() {
        let rng = SeededRng::new(2, 1);
        let hits = (0..100_000).filter(|_| rng.happens(0.01)).count();
        assert!((850..1150).contains(&hits), "{hits}");
    }
}
