//! Counts what lookups came to, per class, and gives the counts for metrics, a batch a minute.

use crate::telemetry::metrics::Metric;
use serde_json::Number;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A fresh value from the cache server (or from the memory that stands in for it).
    Hit,
    /// A fresh value from the process-local layer.
    LocalHit,
    /// A value served stale while one caller fetches.
    StaleHit,
    /// Nothing to serve.
    Miss,
    /// A read of the origin.
    Fetch,
    /// A fetched value stored.
    Store,
    /// A fetched value not stored: the lease was gone, or the cache, or it is larger than its class keeps.
    StoreRejected,
    /// Waited for another caller's fetch.
    Wait,
    /// A renewal or invalidation delivered.
    Renewal,
    /// A renewal or invalidation that was not delivered before its write was acknowledged: readers may get the old value
    /// until it is, or for the class's bound.
    RenewalLost,
    /// A lost one that was delivered after the reply.
    RenewalLate,
    /// An operation failed or took too long.
    Failure,
    /// Turned away: too many fetches at once.
    Busy,
}

const EVENTS: [(Event, Metric); 13] = [
    (Event::Hit, Metric("Hits")),
    (Event::LocalHit, Metric("LocalHits")),
    (Event::StaleHit, Metric("StaleHits")),
    (Event::Miss, Metric("Misses")),
    (Event::Fetch, Metric("Fetches")),
    (Event::Store, Metric("Stores")),
    (Event::StoreRejected, Metric("StoresRejected")),
    (Event::Wait, Metric("Waits")),
    (Event::Renewal, Metric("Renewals")),
    (Event::RenewalLost, Metric("RenewalsLost")),
    (Event::RenewalLate, Metric("RenewalsLate")),
    (Event::Failure, Metric("Failures")),
    (Event::Busy, Metric("Busy")),
];

/// More classes than this are counted together under the last.
const CLASSES: usize = 16;

/// A batch is due after this long.
const BATCH_MS: u64 = 60_000;

/// Due long ago: a writer that is rare may not be called again for hours.
const AT_ONCE: u64 = 1;

#[derive(Default)]
struct Counts {
    class: OnceLock<&'static str>,
    events: [AtomicU64; EVENTS.len()],
}

/// The counts of one cache.
#[derive(Default)]
pub(super) struct CacheMetrics {
    classes: [Counts; CLASSES],
    /// When the next batch is due, in ms since 1970; 0 until something is counted.
    due_ms: AtomicU64,
}

impl CacheMetrics {
    pub(super) fn count(&self, class: &'static str, event: Event) {
        self.of(class).events[event as usize].fetch_add(1, Relaxed);
        if event == Event::RenewalLost {
            self.due_ms.store(AT_ONCE, Relaxed);
        }
    }

    fn of(&self, class: &'static str) -> &Counts {
        let mine = |counts: &&Counts| *counts.class.get_or_init(|| class) == class;
        self.classes.iter().find(mine).unwrap_or(&self.classes[CLASSES - 1])
    }

    /// Whether a batch should be taken at `now_ms`; only one caller is told so.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let due = self.due_ms.load(Relaxed);
        now_ms >= due && self.due_ms.compare_exchange(due, now_ms + BATCH_MS, Relaxed, Relaxed).is_ok() && due != 0
    }

    /// Takes the counts of each class in which something happened.
    pub(super) fn take(&self) -> Vec<(&'static str, Vec<(Metric, Number)>)> {
        let classes = self.classes.iter().filter_map(|counts| Some((*counts.class.get()?, counts)));
        let taken = classes.map(|(class, counts)| {
            let taken = EVENTS.map(|(event, name)| (name, counts.events[event as usize].swap(0, Relaxed)));
            let happened = taken.into_iter().filter(|(_, count)| *count > 0);
            (class, happened.map(|(name, count)| (name, count.into())).collect())
        });
        taken.filter(|(_, counts): &(_, Vec<_>)| !counts.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_happened_once() {
        let metrics = CacheMetrics::default();
        for _ in 0..3 {
            metrics.count("plan", Event::Hit);
        }
        metrics.count("prices", Event::StaleHit);
        let taken = metrics.take();
        assert_eq!(
            taken,
            [("plan", vec![(Metric("Hits"), 3.into())]), ("prices", vec![(Metric("StaleHits"), 1.into())])]
        );
        assert!(metrics.take().is_empty());
    }

    #[test]
    fn a_lost_renewal_is_reported_at_once() {
        let metrics = CacheMetrics::default();
        metrics.count("plan", Event::Renewal);
        assert!(!metrics.is_due(1_000_000), "it waits for others");
        metrics.count("plan", Event::RenewalLost);
        assert!(metrics.is_due(1_000_001) && !metrics.is_due(1_000_002));
    }

    #[test]
    fn batches_come_once_a_minute() {
        let metrics = CacheMetrics::default();
        let due = (1..600).filter(|second| metrics.is_due(1_000_000 + second * 1000)).count();
        assert_eq!(due, 9);
    }
}
