//! A token bucket, by a clock in milliseconds.

use std::time::Duration;

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) a_second: f64,
    most: f64,
    left: f64,
    at_ms: u64,
}

/// From one time to another, both in milliseconds.
pub(crate) fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    Duration::from_millis(to_ms.saturating_sub(from_ms)).as_secs_f64()
}

impl Bucket {
    /// A full one that holds `most`.
    pub(crate) fn new(a_second: f64, most: f64, now_ms: u64) -> Self {
        Self { a_second, most, left: most, at_ms: now_ms }
    }

    /// What is left now.
    pub(crate) fn left(&mut self, now_ms: u64) -> f64 {
        self.left = (self.left + seconds(self.at_ms, now_ms) * self.a_second).min(self.most);
        self.at_ms = now_ms;
        self.left
    }

    /// Takes so much, which may be more than is left and is owed then.
    pub(crate) fn take(&mut self, units: f64) {
        if self.most.is_finite() {
            self.left -= units;
        }
    }

    /// Takes one if there is a whole one.
    pub(crate) fn take_one(&mut self, now_ms: u64) -> bool {
        let is_there = self.left(now_ms) >= 1.0;
        if is_there {
            self.take(1.0);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_up_to_what_it_holds() {
        let mut bucket = Bucket::new(10.0, 2.0, 0);
        assert!(bucket.take_one(0) && bucket.take_one(0) && !bucket.take_one(0));
        assert!(!bucket.take_one(99) && bucket.take_one(100) && !bucket.take_one(150));
        assert!((bucket.left(10_000) - 2.0).abs() < 1e-9);
        bucket.take(5.0);
        assert!(!bucket.take_one(10_399) && bucket.take_one(10_401));
    }
}
