//! What is noted of a run: which records two requests' writes met, what was refused, and which records take most units.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::RecordKey;
use crate::clock::Clock;

tokio::task_local! {
    static REQUEST: Request;
}

/// A request that a function answers.
#[derive(Clone, Debug)]
pub struct Request {
    id: u64,
    function: Arc<str>,
}

impl Request {
    /// Runs what belongs to it. `id` tells it from all others.
    pub async fn during<T>(id: u64, function: Arc<str>, work: impl Future<Output = T>) -> T {
        REQUEST.scope(Self { id, function }, work).await
    }
}

/// Notes of a run, since it was made. It keeps a line for each record written: not for a system that runs on and on.
#[derive(Debug)]
pub struct Ledger {
    clock: Clock,
    begun_ms: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    records: HashMap<RecordKey, Written>,
    refusals: BTreeMap<(String, Refusal), u64>,
    units: HashMap<RecordKey, Units>,
}

/// The requests that wrote a record.
#[derive(Debug)]
struct Written {
    last: u64,
    functions: BTreeSet<Arc<str>>,
    writes: u64,
    /// Whether two requests wrote it, or one checked in a transaction what another wrote.
    is_shared: bool,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// A transaction held the record.
    Conflict,
    /// The record's partition had given what it gives in a second.
    Throttle,
}

/// Capacity units that a record took, or the records of a partition key.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    pub read: f64,
    pub write: f64,
}

/// Records of a kind that two requests' writes met.
#[derive(Clone, Debug, PartialEq)]
pub struct Contention {
    /// As [`RecordKey::kind`].
    pub kind: String,
    /// The functions whose requests wrote them.
    pub functions: BTreeSet<Arc<str>>,
    /// How many records.
    pub records: usize,
    /// Writes a second of the one that most met on.
    pub most_a_second: f64,
}

impl Ledger {
    /// Empty, from now on by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { begun_ms: AtomicU64::new(clock.now_ms()), clock, notes: Mutex::default() }
    }

    /// Begins anew.
    pub fn clear(&self) {
        self.begun_ms.store(self.clock.now_ms(), Relaxed);
        *self.notes() = Notes::default();
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the present request writes a record, or checks it in a transaction. What no request does is not noted.
    pub(crate) fn wrote(&self, key: &RecordKey) {
        let noted = |request: &Request| {
            let mut notes = self.notes();
            let new = || Written { last: request.id, functions: BTreeSet::new(), writes: 0, is_shared: false };
            let written = notes.records.entry(key.clone()).or_insert_with(new);
            written.is_shared |= written.last != request.id;
            written.last = request.id;
            written.writes += 1;
            written.functions.insert(Arc::clone(&request.function));
        };
        // An error is that there is no request.
        let _ = REQUEST.try_with(noted);
    }

    pub(crate) fn refused(&self, key: &RecordKey, why: Refusal) {
        *self.notes().refusals.entry((key.kind(), why)).or_default() += 1;
    }

    pub(crate) fn took(&self, key: &RecordKey, units: Units) {
        let mut notes = self.notes();
        let sum = notes.units.entry(key.clone()).or_default();
        *sum = Units { read: sum.read + units.read, write: sum.write + units.write };
    }

    /// Seconds since it was made.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let passed = Duration::from_millis(self.clock.now_ms().saturating_sub(self.begun_ms.load(Relaxed)));
        passed.as_secs_f64().max(0.001)
    }

    /// The records on which two requests' writes met, by kind, the busiest first.
    #[must_use]
    pub fn meetings(&self) -> Vec<Contention> {
        let (seconds, notes) = (self.seconds(), self.notes());
        let mut kinds: BTreeMap<String, Contention> = BTreeMap::new();
        for (key, written) in notes.records.iter().filter(|(_, written)| written.is_shared) {
            let kind = key.kind();
            let new = Contention { kind: kind.clone(), functions: BTreeSet::new(), records: 0, most_a_second: 0.0 };
            let meeting = kinds.entry(kind).or_insert(new);
            meeting.functions.extend(written.functions.iter().cloned());
            meeting.records += 1;
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
            let a_second = written.writes as f64 / seconds;
            meeting.most_a_second = meeting.most_a_second.max(a_second);
        }
        let mut meetings: Vec<Contention> = kinds.into_values().collect();
        meetings.sort_by(|one, other| other.most_a_second.total_cmp(&one.most_a_second));
        meetings
    }

    /// The records that requests have written, or checked in a transaction.
    #[must_use]
    pub fn written(&self) -> BTreeSet<RecordKey> {
        self.notes().records.keys().cloned().collect()
    }

    /// How often records of each kind were refused, and why.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<(String, Refusal), u64> {
        self.notes().refusals.clone()
    }

    /// The `count` records that took most units, with their units a second: each against what a partition gives.
    #[must_use]
    pub fn hottest(&self, count: usize) -> Vec<(RecordKey, Units)> {
        let (seconds, notes) = (self.seconds(), self.notes());
        let a_second = |units: &Units| Units { read: units.read / seconds, write: units.write / seconds };
        let mut hottest: Vec<_> = notes.units.iter().map(|(key, units)| (key.clone(), a_second(units))).collect();
        drop(notes);
        let heat =
            |units: &Units| (units.write / super::capacity::WRITE_UNITS).max(units.read / super::capacity::READ_UNITS);
        hottest.sort_by(|(_, one), (_, other)| heat(other).total_cmp(&heat(one)));
        hottest.truncate(count);
        hottest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pk: &str) -> RecordKey {
        RecordKey { pk: pk.to_owned(), sk: "X".to_owned() }
    }

    #[tokio::test]
    async fn two_requests_meet_on_a_record_and_one_alone_does_not() {
        let clock = Clock::stopped();
        let ledger = Ledger::new(clock.clone());
        ledger.wrote(&key("A#1"));
        for (id, pk) in [(1, "A#1"), (1, "A#1"), (1, "B#1"), (2, "B#1"), (2, "B#2")] {
            Request::during(id, "create-item".into(), async { ledger.wrote(&key(pk)) }).await;
        }
        clock.jump(Duration::from_secs(2));
        let (kind, functions) = ("B#* / X".to_owned(), BTreeSet::from(["create-item".into()]));
        assert_eq!(ledger.meetings(), [Contention { kind, functions, records: 1, most_a_second: 1.0 }]);
    }

    #[tokio::test]
    async fn the_hottest_is_that_which_takes_most_of_a_partition() {
        let clock = Clock::stopped();
        let ledger = Ledger::new(clock.clone());
        ledger.took(&key("A#1"), Units { read: 200.0, write: 0.0 });
        ledger.took(&key("B#1"), Units { read: 0.0, write: 100.0 });
        ledger.took(&key("B#1"), Units { read: 0.0, write: 100.0 });
        ledger.took(&key("C#1"), Units { read: 10.0, write: 0.0 });
        clock.jump(Duration::from_secs(2));
        let hottest = ledger.hottest(2);
        assert_eq!(hottest[0], (key("B#1"), Units { read: 0.0, write: 100.0 }));
        assert_eq!(hottest[1], (key("A#1"), Units { read: 100.0, write: 0.0 }));
        ledger.refused(&key("A#1"), Refusal::Conflict);
        assert_eq!(ledger.refusals(), BTreeMap::from([(("A#* / X".to_owned(), Refusal::Conflict), 1)]));
    }
}
