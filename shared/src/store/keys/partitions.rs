//! Partitions: what lies together, and what one thing is spread over.

use crate::ids::{JobId, OrgId, UserId};
use crate::model::org::OrgRecord;
use crate::model::time::Moment;

/// The partition of a user.
#[must_use]
pub fn user_pk(user: UserId) -> String {
    format!("USER#{user}")
}

/// The partition of an organization.
#[must_use]
pub fn org_pk(org: OrgId) -> String {
    format!("ORG#{org}")
}

/// The partition of an organization's items.
#[must_use]
pub fn items_pk(org: OrgId) -> String {
    format!("ITEMS#{org}")
}

/// A partition of a list, and how many records it is asked for first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub pk: String,
    pub first: usize,
}

/// The partitions of a list for a page of `limit` of what was made before a moment: one, and where the organization is spread, others;
/// the one holds what was written before. Most pages lie on one side of that moment: one record of the other side is enough to see that it has
/// nothing newer.
#[must_use]
pub fn partitions(org: &OrgRecord, together: String, count: u8, limit: u8, before: Moment) -> Vec<Partition> {
    // One record beyond the page says whether there is another one.
    let limit = usize::from(limit) + 1;
    let Some(from) = org.spread_from else { return vec![Partition { pk: together, first: limit }] };
    // Twice what each has on average, and four: one page in fifty needs more of one of them.
    let share = limit.min(2 * limit / usize::from(count.max(1)) + 4);
    let (first, of_each) = if from < before { (1, share) } else { (limit, 1) };
    let spread = (0..count).map(|partition| Partition { pk: part_of(together.clone(), partition), first: of_each });
    let spread: Vec<_> = spread.collect();
    std::iter::once(Partition { pk: together, first }).chain(spread).collect()
}

/// One of the partitions that what would lie in one is spread over: the growing end of each takes 1,000 units a second, however
/// long it is busy.
pub(super) fn part_of(pk: String, partition: u8) -> String {
    format!("{pk}#{partition}")
}

/// What the sort keys of a month's lanes start with.
#[must_use]
pub fn usage_prefix(month: &str, what: &str) -> String {
    format!("{month}#{what}#")
}

/// One of the partitions of an organization's lanes of room for items.
#[must_use]
pub fn item_room_pk(org: OrgId, partition: u8) -> String {
    format!("ROOM#{org}#{partition}")
}

/// The partition of an organization's jobs.
#[must_use]
pub fn jobs_pk(org: OrgId) -> String {
    format!("JOBS#{org}")
}

/// Partitions of what is to be looked at: one would bound the writes of all organizations together. Each job keeps the number of its
/// own, so that there may be more of them in a later version. The sweeper reads no others: never make them fewer.
pub const DUE_SHARDS: u8 = 16;
/// As many as there were when jobs did not keep it.
const DUE_SHARDS_OF_0_1: u8 = 16;

/// The partition of a new job, or of a batch that is begun.
#[must_use]
pub fn due_shard(id: impl Into<uuid::Uuid>) -> u8 {
    last_byte(id) % DUE_SHARDS
}

/// The partition of a job that does not say it.
#[must_use]
pub fn due_shard_of_0_1(job: JobId) -> u8 {
    last_byte(job) % DUE_SHARDS_OF_0_1
}

fn last_byte(id: impl Into<uuid::Uuid>) -> u8 {
    id.into().as_bytes()[15]
}

/// One of them.
#[must_use]
pub fn due_pk(shard: u8) -> String {
    format!("DUE#{shard:02}")
}

/// The partition of jobs that failed beside one of what is due.
#[must_use]
pub fn failed_pk(shard: u8) -> String {
    format!("FAILED#{shard:02}")
}

/// What its sort keys start with: 13 digits sort by time until the year 2286.
#[must_use]
pub fn due_sk(at: Moment) -> String {
    format!("{:013}", at.as_millis().max(0))
}

/// The partition of one version of the catalogue.
#[must_use]
pub fn catalogue_pk(version: &str) -> String {
    format!("PRICES#{version}")
}
