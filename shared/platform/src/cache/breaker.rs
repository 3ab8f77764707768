//! Opens after failures in a row, so that callers do not wait for a cache that does not answer, and lets one
//! probe through every second until it answers again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Failures in a row that open it.
pub(super) const FAILURES: u32 = 5;

/// How long it stays open before the next probe.
pub(super) const PROBE_EVERY_MS: u64 = 1000;

/// What an operation does. Each kind fails on its own: a read-only replica answers every read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// One per connection.
#[derive(Default)]
pub(super) struct Breaker {
    failures: [AtomicU32; 2],
    /// Milliseconds on the caller's monotonic clock, plus one; 0 is closed.
    probe_at: AtomicU64,
}

impl Breaker {
    /// Whether an operation may be tried at `now_ms` (any monotonic clock). While open, one in
    /// [`PROBE_EVERY_MS`] is.
    pub(super) fn admits(&self, now_ms: u64) -> bool {
        let probe_at = self.probe_at.load(Relaxed);
        if probe_at == 0 {
            return true;
        }
        now_ms + 1 >= probe_at
            && self.probe_at.compare_exchange(probe_at, now_ms + 1 + PROBE_EVERY_MS, Relaxed, Relaxed).is_ok()
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.probe_at.load(Relaxed) != 0
    }

    /// Whether it is open, and has failed within so long before `now_ms`. What nobody has tried since may answer by now.
    pub(super) fn failed_within(&self, within_ms: u64, now_ms: u64) -> bool {
        let probe_at = self.probe_at.load(Relaxed);
        probe_at != 0 && now_ms + 1 + PROBE_EVERY_MS < probe_at + within_ms
    }

    /// Notes an answer, which closes it. Gives whether it was open. What failed of the other kind is not
    /// forgotten: one more failure of that kind opens it again.
    pub(super) fn succeeded(&self, access: Access) -> bool {
        let failures = &self.failures[access as usize];
        if failures.load(Relaxed) != 0 {
            failures.store(0, Relaxed);
        }
        self.probe_at.load(Relaxed) != 0 && self.probe_at.swap(0, Relaxed) != 0
    }

    /// Notes a failure. Gives whether this opened it.
    pub(super) fn failed(&self, access: Access, now_ms: u64) -> bool {
        let failures = self.failures[access as usize].fetch_add(1, Relaxed).saturating_add(1);
        failures >= FAILURES && self.probe_at.swap(now_ms + 1 + PROBE_EVERY_MS, Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{Read, Write};
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            assert!(!breaker.failed(Read, 0));
        }
        assert!(!breaker.succeeded(Read));
        for _ in 0..FAILURES - 1 {
            assert!(!breaker.failed(Read, 0));
        }
        assert!(breaker.admits(0) && !breaker.is_open());
        assert!(breaker.failed(Read, 0), "the failure that opens it says so");
        assert!(breaker.is_open() && !breaker.admits(0));
    }

    #[test]
    fn one_probe_a_second_until_it_succeeds() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(Read, 10_000);
        }
        let admitted = |from: u64, to: u64| (from..to).filter(|now| breaker.admits(*now)).count();
        assert_eq!(admitted(10_000, 11_000), 0);
        assert_eq!(admitted(11_000, 16_000), 5);
        assert!(breaker.succeeded(Read), "the success that closes it says so");
        assert!(breaker.admits(16_000) && !breaker.is_open());
    }

    #[test]
    fn what_failed_long_ago_may_answer_by_now() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(Write, 5_000);
        }
        assert!(breaker.failed_within(10_000, 14_999) && !breaker.failed_within(10_000, 15_000));
        assert!(breaker.is_open(), "readers still go without");
        breaker.failed(Write, 15_000);
        assert!(breaker.failed_within(10_000, 24_999), "and it does not");
        breaker.succeeded(Write);
        assert!(!breaker.failed_within(10_000, 15_001), "now it does");
    }

    #[test]
    fn reads_that_work_do_not_excuse_writes_that_fail() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.succeeded(Read);
            breaker.failed(Write, 0);
        }
        assert!(breaker.is_open());
        assert!(breaker.succeeded(Read) && !breaker.is_open());
        assert!(breaker.failed(Write, 0) && breaker.is_open(), "one more failed write is enough");
        breaker.succeeded(Write);
        assert!(!breaker.failed(Write, 0), "a write that works is a new start");
    }
}
