//! Counts what lookups came to, per class, and writes the counts as CloudWatch EMF lines, a batch a minute.

use serde_json::{Value, json};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
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
    Fill,
    /// A fetched value not stored: the lease was gone, or the cache.
    FillRejected,
    /// Waited for another caller's fetch.
    Wait,
    /// A renewal or invalidation delivered.
    Renewal,
    /// A renewal or invalidation that could not be delivered: readers may get the old value for the class's bound.
    RenewalLost,
    /// An operation failed or took too long.
    Failure,
    /// Turned away: too many fetches at once.
    Busy,
}

const EVENTS: [(Event, &str); 12] = [
    (Event::Hit, "Hits"),
    (Event::LocalHit, "LocalHits"),
    (Event::StaleHit, "StaleHits"),
    (Event::Miss, "Misses"),
    (Event::Fetch, "Fetches"),
    (Event::Fill, "Fills"),
    (Event::FillRejected, "FillsRejected"),
    (Event::Wait, "Waits"),
    (Event::Renewal, "Renewals"),
    (Event::RenewalLost, "RenewalsLost"),
    (Event::Failure, "Failures"),
    (Event::Busy, "Busy"),
];

/// More classes than this are counted together under the last.
const CLASSES: usize = 16;

/// A batch is due after this long.
const BATCH_MS: u64 = 60_000;

#[derive(Default)]
struct Counts {
    class: OnceLock<&'static str>,
    events: [AtomicU64; EVENTS.len()],
}

/// The counts of one cache.
#[derive(Default)]
pub(super) struct Meter {
    classes: [Counts; CLASSES],
    /// When the next batch is due, in ms since 1970; 0 until something is counted.
    due_ms: AtomicU64,
}

impl Meter {
    pub(super) fn count(&self, class: &'static str, event: Event) {
        self.of(class).events[event as usize].fetch_add(1, Relaxed);
    }

    /// How often `event` happened since the last batch.
    pub(super) fn read(&self, class: &'static str, event: Event) -> u64 {
        self.of(class).events[event as usize].load(Relaxed)
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

    /// Takes the counts, as one EMF document per class in which something happened.
    pub(super) fn take(&self, now_ms: u64, breaker_open: bool) -> Vec<String> {
        let classes = self.classes.iter().filter_map(|counts| Some((*counts.class.get()?, counts)));
        classes
            .filter_map(|(class, counts)| {
                let taken = EVENTS.map(|(event, name)| (name, counts.events[event as usize].swap(0, Relaxed)));
                taken.iter().any(|(_, count)| *count > 0).then(|| document(class, &taken, now_ms, breaker_open))
            })
            .collect()
    }
}

/// One EMF document (CloudWatch's embedded metric format): a log line that CloudWatch turns into metrics.
fn document(class: &str, counts: &[(&str, u64)], now_ms: u64, breaker_open: bool) -> String {
    let happened = || counts.iter().filter(|(_, count)| *count > 0);
    let mut names: Vec<Value> = happened().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    names.push(json!({"Name": "BreakerOpen", "Unit": "Count"}));
    let mut line = json!({
        "_aws": {
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{"Namespace": "CitizenApp/Cache", "Dimensions": [["Class"], []], "Metrics": names}],
        },
        "Class": class,
        "BreakerOpen": u8::from(breaker_open),
    });
    for (name, count) in happened() {
        line[*name] = json!(count);
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_what_happened_once() {
        let meter = Meter::default();
        for _ in 0..3 {
            meter.count("plan", Event::Hit);
        }
        meter.count("prices", Event::StaleHit);
        let lines: Vec<Value> = meter.take(7, true).iter().map(|line| line.parse().expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["Class"], &lines[0]["Hits"]), (&json!("plan"), &json!(3)));
        assert_eq!((&lines[1]["StaleHits"], &lines[1]["BreakerOpen"]), (&json!(1), &json!(1)));
        for line in &lines {
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("a name");
                assert!(line[name].is_u64(), "{name} is named and not given");
            }
        }
        assert!(meter.take(8, false).is_empty());
    }

    #[test]
    fn batches_come_once_a_minute() {
        let meter = Meter::default();
        let due = (1..600).filter(|second| meter.is_due(1_000_000 + second * 1000)).count();
        assert_eq!(due, 9);
    }
}
