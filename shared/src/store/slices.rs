//! A limit that many requests count against at once: exact, and without one record that all of them write. The root record counts
//! the units that have been given out. Those are either used or held by lanes, and a lane gives only what it holds (escrow: P. O'Neil,
//! "The Escrow Transactional Method", ACM TODS 1986). A lane that is empty leases a slice from the root; where the terms change, thirty
//! lanes do at once. A request is refused only when no lane holds a unit any more (`docs/decisions/0085-room-is-leased-in-slices.md`).
//!
//! Units move in one transaction over both sides, so a crash loses none. DynamoDB refuses a transaction at once when another holds the
//! same record. On the root this is rare; on a lane the request tries another lane.

mod filling;
mod taking;

pub(super) use taking::Reservation;

use super::keys::Key;
use super::{Attributes, Store, backoff, classify, condition_failed, number, record, string};
use crate::error::ApiError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure, Update};
use futures_util::future::try_join_all;
use serde::Deserialize;
use std::time::Duration;

/// The most lanes that a limit has. At 1,250 units a second each lane takes five; at 13 ms a transaction, one in fifteen conflicts.
pub(crate) const LANES: u8 = 240;
/// The partitions that the lanes lie in. Reading all lanes takes one query for each.
pub(crate) const LANE_PARTITIONS: u8 = 8;
/// A limit has one lane for this many units, so a small limit has few lanes.
const UNITS_OF_A_LANE: u64 = 250;
/// The most units that a lane leases at a time, where units are counted one by one.
pub(super) const LARGEST_SLICE: u64 = 1_000;
/// Lanes that one transaction changes beside the root; DynamoDB takes 100 writes in one.
const AT_ONCE: usize = 90;

/// A limit, and where it is counted.
pub(super) struct Slices {
    /// The root's key, its attribute that says how many units are out, and how many may be.
    pub(super) root: Key,
    pub(super) out: &'static str,
    pub(super) limit: u64,
    /// An attribute of the root, and the value that it must have for the limit to hold; `None` if the root has none.
    pub(super) term: Option<(&'static str, u64)>,
    /// The terms that units are leased under, such as the plan. A lane never gives units that were leased under other terms.
    pub(super) terms: String,
    /// The most that a lane leases at a time.
    pub(super) largest: u64,
    /// Where a lane lies: in partition `lane % LANE_PARTITIONS`, its number behind `prefix`.
    pub(super) lane: Box<dyn Fn(u8) -> Key + Send + Sync>,
    pub(super) prefix: String,
}

/// A lane as stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Lane {
    /// Negative if more was used than had been taken.
    free_units: i64,
    /// The terms that its units were leased under; `None` if it has only ever been given units back.
    terms: Option<String>,
}

/// Where units are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// What a lane holds.
    Lane(u8),
    /// A lane as it was read, and the units of a new slice for it.
    Lease { lane: u8, found: Option<Lane>, units: u64 },
    /// What some lanes still hold, and what the root still has.
    Remains { lanes: Vec<(u8, u64)>, root: u64 },
}

/// What to do when a source was refused.
#[derive(Debug)]
pub(super) enum Next {
    Take(Source),
    /// Something changed: look at the root again.
    Again,
    /// Root and lanes together hold fewer units than were asked for.
    Full,
}

impl Slices {
    /// A lane of this limit, chosen at random.
    pub(super) fn any_lane(&self) -> u8 {
        let lanes = self.width();
        u8::try_from(getrandom::u64().unwrap_or(0) % lanes).unwrap_or(0)
    }

    /// Whether it has this lane.
    pub(super) fn has(&self, lane: u8) -> bool {
        u64::from(lane) < self.width()
    }

    /// A name that no other limit has.
    pub(super) fn name(&self) -> String {
        name(&self.root, self.out)
    }

    fn width(&self) -> u64 {
        (self.limit / UNITS_OF_A_LANE).clamp(1, u64::from(LANES))
    }

    /// How many units a lane leases while `room` are left. It is random, so that lanes do not all run out in the same moment.
    fn slice(&self, room: u64) -> u64 {
        let mean = (room / (2 * self.width())).clamp(1, self.largest);
        mean / 2 + getrandom::u64().unwrap_or(0) % (mean + 1)
    }

    /// The writes that take `count` units from a source.
    pub(super) fn take(&self, source: &Source, count: u64) -> Vec<UpdateBuilder> {
        match source {
            Source::Lane(lane) => vec![self.spend(*lane, count)],
            Source::Lease { lane, found, units } => {
                let held = i128::from(found.as_ref().map_or(0, |lane| lane.free_units));
                let left = held + i128::from(*units) - i128::from(count);
                vec![self.lease(*units), self.exchange(*lane, found.as_ref(), left)]
            }
            Source::Remains { lanes, root } => {
                let lanes = lanes.iter().map(|(lane, units)| self.spend(*lane, *units));
                lanes.chain((*root > 0).then(|| self.lease(*root))).collect()
            }
        }
    }

    fn lease(&self, units: u64) -> UpdateBuilder {
        let update = Update::builder()
            .set_key(Some(self.root.clone().attributes()))
            .update_expression("ADD #out :units")
            .condition_expression("(attribute_not_exists(#out) OR #out <= :highest)")
            .expression_attribute_names("#out", self.out)
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":highest", number(i128::from(self.limit) - i128::from(units)));
        let Some((name, value)) = self.term else { return update };
        update
            .condition_expression("(attribute_not_exists(#out) OR #out <= :highest) AND #term = :term")
            .expression_attribute_names("#term", name)
            .expression_attribute_values(":term", number(value))
    }

    fn spend(&self, lane: u8, units: u64) -> UpdateBuilder {
        Update::builder()
            .set_key(Some((self.lane)(lane).attributes()))
            .update_expression("ADD free_units :minus")
            .condition_expression("free_units >= :units AND terms = :terms")
            .expression_attribute_values(":minus", number(-i128::from(units)))
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":terms", string(&self.terms))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Sets a lane to `left` units under the present terms, if it has not changed since it was read.
    fn exchange(&self, lane: u8, found: Option<&Lane>, left: i128) -> UpdateBuilder {
        self.if_as_found(lane, found)
            .update_expression("SET free_units = :left, terms = :terms")
            .expression_attribute_values(":left", number(left))
            .expression_attribute_values(":terms", string(&self.terms))
    }

    /// Puts a lane under the present terms and adds units to it, unless its terms have changed since it was read. What it holds may have
    /// changed: that counts as out under any terms.
    fn renew(&self, lane: u8, found: Option<&Lane>, units: u64) -> UpdateBuilder {
        let update = Update::builder()
            .set_key(Some((self.lane)(lane).attributes()))
            .update_expression("SET terms = :terms ADD free_units :units")
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":terms", string(&self.terms));
        match found.and_then(|lane| lane.terms.as_ref()) {
            None => update.condition_expression("attribute_not_exists(terms)"),
            Some(terms) => update
                .condition_expression("terms = :found_terms")
                .expression_attribute_values(":found_terms", string(terms)),
        }
    }

    /// Adds units to a lane that holds none under other terms.
    fn add(&self, lane: u8, units: u64) -> UpdateBuilder {
        Update::builder()
            .set_key(Some((self.lane)(lane).attributes()))
            .update_expression("SET terms = :terms ADD free_units :units")
            .condition_expression("attribute_not_exists(free_units) OR free_units = :none OR terms = :terms")
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":terms", string(&self.terms))
    }

    fn if_as_found(&self, lane: u8, found: Option<&Lane>) -> UpdateBuilder {
        let update = Update::builder()
            .set_key(Some((self.lane)(lane).attributes()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match found {
            None => update.condition_expression("attribute_not_exists(pk)"),
            Some(Lane { free_units: free, terms: None }) => update
                .condition_expression("free_units = :found AND attribute_not_exists(terms)")
                .expression_attribute_values(":found", number(free)),
            Some(Lane { free_units: free, terms: Some(terms) }) => update
                .condition_expression("free_units = :found AND terms = :found_terms")
                .expression_attribute_values(":found", number(free))
                .expression_attribute_values(":found_terms", string(terms)),
        }
    }
}

/// The write that gives units back to a lane.
pub(super) fn give(lane: Key, units: i128) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(lane.attributes()))
        .update_expression("ADD free_units :units")
        .expression_attribute_values(":units", number(units))
}

/// How long to wait after so many conflicts. Not at all at first, since another lane is free.
pub(super) fn lane_backoff(attempt: u32) -> Duration {
    attempt.checked_sub(2).map_or(Duration::ZERO, backoff)
}

/// The name of the limit that a root's attribute counts: no other limit has it.
pub(super) fn name(root: &Key, out: &str) -> String {
    format!("{}/{}/{out}", root.pk, root.sk)
}

/// One of all lanes, chosen at random.
pub(super) fn random_lane() -> u8 {
    u8::try_from(getrandom::u64().unwrap_or(0) % u64::from(LANES)).unwrap_or(0)
}

impl Store {
    /// What to try after a source was refused. `out` is what the root has counted as given out, read after the refusal.
    pub(super) async fn next_source(
        &self,
        slices: &Slices,
        out: u64,
        refused: &Source,
        reasons: &[CancellationReason],
        count: u64,
    ) -> Result<Next, ApiError> {
        let room = slices.limit.saturating_sub(out);
        let (lane, found) = match refused {
            Source::Lane(lane) => (*lane, found(reasons.first(), None)?),
            Source::Lease { lane, found: before, .. } => (*lane, found(reasons.get(1), before.clone())?),
            Source::Remains { .. } => return self.remains(slices, out, count).await,
        };
        // Units under other terms are counted as given out already. They may be used if all that is out is within the limit.
        let held = i128::from(found.as_ref().map_or(0, |lane| lane.free_units));
        let lacking = u64::try_from(i128::from(count) - held).unwrap_or(0);
        if out > slices.limit || room < lacking {
            return self.remains(slices, out, count).await;
        }
        let units = if lacking == 0 { 0 } else { slices.slice(room).max(lacking).min(room) };
        Ok(Next::Take(Source::Lease { lane, found, units }))
    }

    /// What the lanes still hold, when the root has no slice left. Units under other terms go back to the root first.
    async fn remains(&self, slices: &Slices, out: u64, count: u64) -> Result<Next, ApiError> {
        let lanes = self.lanes(slices).await?.into_iter().filter(|(_, lane)| lane.free_units != 0);
        // Where more is out than the limit, what came back to lanes is not to be taken either.
        let is_ours = |lane: &Lane| lane.terms.as_ref() == Some(&slices.terms) && lane.free_units > 0;
        let (mut ours, others): (Vec<_>, Vec<_>) = lanes.partition(|(_, lane)| out <= slices.limit && is_ours(lane));
        if !others.is_empty() {
            self.return_to_root(slices, &others[..others.len().min(AT_ONCE)]).await?;
            return Ok(Next::Again);
        }
        ours.sort_unstable_by_key(|(_, lane)| std::cmp::Reverse(lane.free_units));
        // Requests that look at the same time start at different lanes.
        let free = |lane: &Lane| u64::try_from(lane.free_units).unwrap_or(0);
        let enough = ours.iter().take_while(|(_, lane)| free(lane) >= count).count().max(1);
        let first = usize::try_from(getrandom::u64().unwrap_or(0)).unwrap_or(0) % enough;
        let (mut wanted, mut from) = (count, Vec::new());
        for (number, lane) in ours.iter().skip(first).chain(ours.iter().take(first)).take(AT_ONCE) {
            let units = wanted.min(free(lane));
            wanted -= units;
            from.extend((units > 0).then_some((*number, units)));
        }
        if wanted <= slices.limit.saturating_sub(out) {
            return Ok(Next::Take(Source::Remains { lanes: from, root: wanted }));
        }
        if ours.len() > AT_ONCE {
            // One transaction cannot take from them all. From the root it can.
            self.return_to_root(slices, &ours[..AT_ONCE]).await?;
            return Ok(Next::Again);
        }
        // If the root has not changed while the lanes were read, no unit was missed.
        let now: Option<serde_json::Value> = self.get(slices.root.clone()).await?;
        let now = now.and_then(|root| root[slices.out].as_u64()).unwrap_or(0);
        Ok(if now == out { Next::Full } else { Next::Again })
    }

    /// All lanes.
    async fn lanes(&self, slices: &Slices) -> Result<Vec<(u8, Lane)>, ApiError> {
        let read = (0..LANE_PARTITIONS).map(|partition| self.lanes_in(slices, partition));
        Ok(try_join_all(read).await?.into_iter().flatten().collect())
    }

    /// Those of one partition.
    async fn lanes_in(&self, slices: &Slices, partition: u8) -> Result<Vec<(u8, Lane)>, ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .expression_attribute_values(":pk", string((slices.lane)(partition).pk));
        let query = if slices.prefix.is_empty() {
            query.key_condition_expression("pk = :pk")
        } else {
            let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :prefix)");
            query.expression_attribute_values(":prefix", string(&slices.prefix))
        };
        let page = query.send().await.map_err(classify)?;
        let lane = |item: Attributes| {
            let sk = super::authority::sort_key(&item);
            let number = sk.strip_prefix(&slices.prefix).unwrap_or(sk).parse().map_err(ApiError::internal)?;
            Ok((number, record(item)?))
        };
        page.items.unwrap_or_default().into_iter().map(lane).collect()
    }

    /// Moves what lanes hold back to the root, if they have not changed since they were read. Whoever loses that race reads again.
    async fn return_to_root(&self, slices: &Slices, lanes: &[(u8, Lane)]) -> Result<(), ApiError> {
        let units: i128 = lanes.iter().map(|(_, lane)| i128::from(lane.free_units)).sum();
        let back = Update::builder()
            .set_key(Some(slices.root.clone().attributes()))
            .update_expression("ADD #out :minus")
            .expression_attribute_names("#out", slices.out)
            .expression_attribute_values(":minus", number(-units));
        let mut writes = vec![self.update(back)?];
        for (lane, found) in lanes {
            let emptied = slices
                .if_as_found(*lane, Some(found))
                .update_expression("SET free_units = :none")
                .expression_attribute_values(":none", number(0));
            writes.push(self.update(emptied)?);
        }
        self.transact(writes).await.map(drop)
    }
}

/// The lane as a refusal returned it, or as it was read before if the refusal had another reason.
fn found(reason: Option<&CancellationReason>, before: Option<Lane>) -> Result<Option<Lane>, ApiError> {
    match reason {
        Some(reason) if condition_failed(reason) => {
            reason.item.clone().filter(|item: &Attributes| !item.is_empty()).map(record).transpose()
        }
        _ => Ok(before),
    }
}
