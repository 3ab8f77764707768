//! Token buckets: one of each kind for each partition, and one for the account.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::{Capacity, Kind, READ_UNITS, ThrottledBy, WRITE_UNITS};
use crate::like_aws::bucket::{Bucket, seconds};

#[derive(Clone, Debug)]
struct Partition {
    read: Bucket,
    write: Bucket,
    heat: Heat,
}

/// How long a partition has been hot, and by which of its keys.
#[derive(Clone, Debug)]
struct Heat {
    /// When the second began that is looked at.
    second: u64,
    units: f64,
    since: Option<u64>,
    by_key: HashMap<String, f64>,
}

impl Partition {
    fn new(saves: Duration, now: u64) -> Self {
        let bucket = |a_second: f64| Bucket::new(a_second, a_second * saves.as_secs_f64(), now);
        let heat = Heat { second: now, units: 0.0, since: None, by_key: HashMap::new() };
        Self { read: bucket(READ_UNITS), write: bucket(WRITE_UNITS), heat }
    }

    fn bucket(&mut self, kind: Kind) -> &mut Bucket {
        match kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
        }
    }
}

/// All of a table's.
#[derive(Debug)]
pub(super) struct Buckets {
    capacity: Capacity,
    partitions: Vec<Partition>,
    /// Partitions that hold one partition key, by that.
    alone: HashMap<String, Partition>,
    account: [Bucket; 2],
}

impl Buckets {
    pub(super) fn new(capacity: Capacity, now: u64) -> Self {
        let partition = Partition::new(capacity.saves, now);
        let account = [Bucket::new(capacity.account, capacity.account, now); 2];
        Self {
            partitions: vec![partition; capacity.partitions.max(1) as usize],
            alone: HashMap::new(),
            account,
            capacity,
        }
    }

    fn partition(&mut self, pk: &str, now: u64) -> &mut Partition {
        if self.capacity.is_settled || self.alone.contains_key(pk) {
            let saves = self.capacity.saves;
            return self.alone.entry(pk.to_owned()).or_insert_with(|| Partition::new(saves, now));
        }
        let mut hasher = DefaultHasher::new();
        pk.hash(&mut hasher);
        let count = self.partitions.len() as u64;
        let at = usize::try_from(hasher.finish() % count).unwrap_or_default();
        &mut self.partitions[at]
    }

    /// What has nothing left for a call to a record of this partition key.
    pub(super) fn short(&mut self, kind: Kind, pk: &str, now: u64) -> Option<ThrottledBy> {
        if self.account[kind as usize].left(now) <= 0.0 {
            return Some(ThrottledBy::Account);
        }
        (self.partition(pk, now).bucket(kind).left(now) <= 0.0).then_some(ThrottledBy::Partition)
    }

    pub(super) fn take(&mut self, kind: Kind, pk: &str, units: f64, now: u64) {
        self.account[kind as usize].take(units);
        let bucket = self.partition(pk, now).bucket(kind);
        bucket.take(units);
        let share = units / bucket.a_second;
        if !self.capacity.is_settled && !self.alone.contains_key(pk) {
            self.warm(pk, share, now);
        }
    }

    /// Notes heat, and isolates the hottest key of a partition that has been hot for long.
    fn warm(&mut self, pk: &str, share: f64, now: u64) {
        let (after, above, saves) = (self.capacity.isolates_after, self.capacity.isolates_above, self.capacity.saves);
        let heat = &mut self.partition(pk, now).heat;
        let second = seconds(heat.second, now);
        if second >= 1.0 {
            let is_hot = heat.units / second >= above;
            heat.since = if is_hot { heat.since.or(Some(heat.second)) } else { None };
            if !is_hot {
                heat.by_key.clear();
            }
            (heat.second, heat.units) = (now, 0.0);
        }
        heat.units += share;
        *heat.by_key.entry(pk.to_owned()).or_default() += share;
        if heat.since.is_some_and(|since| seconds(since, now) >= after.as_secs_f64()) {
            let hottest = heat.by_key.iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
            let hottest = hottest.map(|(key, _)| key.clone());
            (heat.since, heat.by_key) = (None, HashMap::new());
            self.alone.extend(hottest.map(|key| (key, Partition::new(saves, now))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes units one by one as long as there are any; how many there were.
    fn drain(buckets: &mut Buckets, pk: &str, now: u64) -> u32 {
        (0..)
            .take_while(|_| {
                let given = buckets.short(Kind::Write, pk, now).is_none();
                if given {
                    buckets.take(Kind::Write, pk, 1.0, now);
                }
                given
            })
            .last()
            .map_or(0, |last| last + 1)
    }

    #[test]
    fn a_partition_gives_a_thousand_a_second_however_long_it_rested() {
        let mut buckets = Buckets::new(Capacity::settled(), 0);
        let start = 0;
        assert_eq!(drain(&mut buckets, "A", start), 1000);
        assert_eq!(drain(&mut buckets, "B", start), 1000, "another key has its own");
        assert_eq!(drain(&mut buckets, "A", start + 100), 100);
        assert_eq!(drain(&mut buckets, "A", start + 3_600_000), 1000);
    }

    #[test]
    fn what_was_taken_beyond_it_is_owed() {
        let mut buckets = Buckets::new(Capacity::settled(), 0);
        let start = 0;
        buckets.take(Kind::Write, "A", 1500.0, start);
        assert_eq!(buckets.short(Kind::Write, "A", start + 499), Some(ThrottledBy::Partition));
        assert_eq!(buckets.short(Kind::Write, "A", start + 501), None);
    }

    #[test]
    fn a_new_table_has_four_partitions_and_an_account_its_quota() {
        let mut buckets = Buckets::new(Capacity::default(), 0);
        let start = 0;
        let given: u32 = (0..200).map(|key| drain(&mut buckets, &format!("K{key}"), start)).sum();
        assert_eq!(given, 4000);
        let mut buckets = Buckets::new(Capacity { account: 2500.0, ..Capacity::settled() }, 0);
        let given: u32 = (0..200).map(|key| drain(&mut buckets, &format!("K{key}"), start)).sum();
        assert_eq!(given, 2500);
        assert_eq!(buckets.short(Kind::Write, "new", start), Some(ThrottledBy::Account));
    }

    #[test]
    fn the_hottest_key_of_a_hot_partition_is_isolated_in_time() {
        let mut buckets = Buckets::new(Capacity { partitions: 1, ..Capacity::default() }, 0);
        let start = 0;
        let (mut first, mut last) = (0, 0);
        for tick in 0..=6_500u64 {
            let now = start + 100 * tick;
            if buckets.short(Kind::Write, "quiet", now).is_none() {
                buckets.take(Kind::Write, "quiet", 1.0, now);
            }
            let hot = drain(&mut buckets, "hot", now);
            (first, last) = (if tick == 100 { hot } else { first }, hot);
        }
        assert!((98..=100).contains(&first), "{first}");
        assert_eq!(last, 100);
        assert!(buckets.alone.contains_key("hot") && !buckets.alone.contains_key("quiet"));
    }
}
