//! Room for items: counted in the organization's record, or where its items are spread, taken from lanes.

use super::super::idempotency::{Begun, Keyed};
use super::super::keys::Key;
use super::super::slices::{self, LARGEST_SLICE, Next, Slices, Source};
use super::super::{Store, backoff, contended, number, string};
use crate::error::{ApiError, chain};
use crate::ids::OrgId;
use crate::model::org::{OrgRecord, Plan};
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use platform::idempotency::KeyClaim;
use std::time::Duration;

/// How often a creation is tried that meets others or whose plan changed meanwhile.
const ROOT_ATTEMPTS: u32 = 8;
/// The same where there is another lane to try.
const LANE_ATTEMPTS: u32 = 16;
/// As many transactions that one request met on its organization's records show that it is hot.
const HOT: u32 = 3;

/// When they are spread that an operator has spread: no request is under way by then that has not read of it.
pub const SPREAD_BY_OPERATOR_AFTER: Duration = Duration::from_secs(60);

/// What came of taking room where an organization's record counts it.
enum Rooted<'k> {
    Begun(Begun<'k>),
    /// Others have found it hot, or this request has: as it is now.
    HasLanes(Box<OrgRecord>),
}

impl Store {
    /// Takes room for `count` items, and stores what goes with it, together or not at all. As a transaction
    /// even if it is one write: its token makes a retry after a lost reply count once.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`] without room.
    pub(super) async fn with_room<'k>(
        &self,
        org: &OrgRecord,
        count: usize,
        claim: Option<&KeyClaim<'k>>,
        puts: Vec<TransactWriteItem>,
    ) -> Result<Begun<'k>, ApiError> {
        if org.spread_from.is_none() {
            match self.with_room_of_root(org, count, claim, &puts).await? {
                Rooted::Begun(begun) => return Ok(begun),
                Rooted::HasLanes(now) => return self.with_room_of_lanes(&now, count, claim, &puts).await,
            }
        }
        self.with_room_of_lanes(org, count, claim, &puts).await
    }

    async fn with_room_of_root<'k>(
        &self,
        org: &OrgRecord,
        count: usize,
        claim: Option<&KeyClaim<'k>>,
        puts: &[TransactWriteItem],
    ) -> Result<Rooted<'k>, ApiError> {
        let (mut plan, mut met) = (org.plan, 0);
        for _ in 0..ROOT_ATTEMPTS {
            let mut writes = vec![self.update(count_more(org.org_id, plan, count))?];
            writes.extend(puts.iter().cloned());
            match self.transact_once_with_key(org.org_id, claim, writes).await? {
                Some(Keyed::Begun(begun)) => return Ok(Rooted::Begun(begun)),
                Some(Keyed::Freed) => {}
                Some(Keyed::Refused(_)) => {
                    let now: OrgRecord = self.get(Key::org(org.org_id)).await?.ok_or(ApiError::NotFound)?;
                    // What is missing may lie in the lanes that it got meanwhile.
                    if now.spread_from.is_some() {
                        return Ok(Rooted::HasLanes(Box::new(now)));
                    }
                    plan = plan_with_room(&now, count)?;
                }
                None => {
                    met += 1;
                    if met % HOT == 0
                        && let Some(now) = self.spread_by_heat(org.org_id).await
                    {
                        return Ok(Rooted::HasLanes(Box::new(now)));
                    }
                    tokio::time::sleep(backoff(met - 1)).await;
                }
            }
        }
        Err(if met > 0 { contended() } else { ApiError::Contended })
    }

    async fn with_room_of_lanes<'k>(
        &self,
        org: &OrgRecord,
        count: usize,
        claim: Option<&KeyClaim<'k>>,
        puts: &[TransactWriteItem],
    ) -> Result<Begun<'k>, ApiError> {
        let (mut room, mut met) = (room_of(org), 0);
        let mut source = Source::Lane(self.kept.pick(&room));
        for _ in 0..LANE_ATTEMPTS {
            let taking = room.take(&source, count as u64).into_iter().map(|update| self.update(update));
            let mut writes = taking.collect::<Result<Vec<_>, _>>()?;
            writes.extend(puts.iter().cloned());
            match self.transact_once_with_key(org.org_id, claim, writes).await? {
                Some(Keyed::Begun(begun)) => {
                    self.kept.keep(&room, &source);
                    return Ok(begun);
                }
                Some(Keyed::Freed) => {}
                Some(Keyed::Refused(reasons)) => {
                    let now: OrgRecord = self.get(Key::org(org.org_id)).await?.ok_or(ApiError::NotFound)?;
                    room = room_of(&now);
                    source = match self.next_source(&room, now.item_count, &source, &reasons, count as u64).await? {
                        Next::Take(source) => self.filled(&room, now.item_count, source).await?,
                        Next::Again => Source::Lane(room.any_lane()),
                        Next::Full => return Err(ApiError::PlanLimitReached { what: "items", limit: room.limit }),
                    };
                }
                None => {
                    met += 1;
                    // Another lane is free now; the last units lie where they lie.
                    if !matches!(source, Source::Remains { .. }) {
                        source = Source::Lane(room.any_lane());
                    }
                    tokio::time::sleep(slices::lane_backoff(met - 1)).await;
                }
            }
        }
        Err(contended())
    }

    /// Has the items of an organization spread after so much time, unless they are by then. Its lists read what is spread from now on, and
    /// its lanes give room.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such organization.
    pub async fn spread_items(&self, org: OrgId, after: Duration) -> Result<(), ApiError> {
        let from = self.now().plus(after);
        for attempt in 0..ROOT_ATTEMPTS {
            let read: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
            let mark = |update: UpdateBuilder| {
                update
                    .update_expression("SET spread_from = :from")
                    .expression_attribute_values(":from", number(from.as_millis()))
            };
            let is_sooner = read.spread_from.is_none_or(|known| known > from);
            if !is_sooner || self.change_org(&read, mark).await? {
                self.fill_lanes(&room_of(&read), read.item_count).await?;
                return self.copy_org(org).await;
            }
            tokio::time::sleep(backoff(attempt)).await;
        }
        Err(contended())
    }

    /// Spreads an organization whose requests meet, unless that was done. As it is then; the request that found it hot goes on whatever
    /// comes of this, and the next one tries again.
    pub(in super::super) async fn spread_by_heat(&self, org: OrgId) -> Option<OrgRecord> {
        let spread = async {
            let now = self.org(org).await?.ok_or(ApiError::NotFound)?;
            if now.spread_from.is_some() {
                return Ok(now);
            }
            let after = self.until_partitions_are_known().await?;
            self.spread_items(org, after).await?;
            tracing::info!(after_seconds = after.as_secs(), "a hot organization is spread");
            self.org(org).await?.ok_or(ApiError::NotFound)
        };
        let spread: Result<OrgRecord, ApiError> = spread.await;
        spread.inspect_err(|error| tracing::warn!(cause = chain(error), "a hot organization is not spread")).ok()
    }
}

/// The organization's plan, if it has room: then the condition failed for a plan that changed meanwhile.
fn plan_with_room(org: &OrgRecord, count: usize) -> Result<Plan, ApiError> {
    let limit = org.plan.limits().items;
    if org.item_count + count as u64 > limit {
        return Err(ApiError::PlanLimitReached { what: "items", limit });
    }
    Ok(org.plan)
}

/// Counts `count` more items, if the organization is on `plan` and that has room.
fn count_more(org: OrgId, plan: Plan, count: usize) -> UpdateBuilder {
    // Never negative where it decides: a count above the limit means no room at all.
    let highest = i128::from(plan.limits().items) - count as i128;
    Update::builder()
        .set_key(Some(Key::org(org).attributes()))
        .update_expression("ADD item_count :count")
        .condition_expression("#plan = :plan AND item_count <= :highest")
        .expression_attribute_names("#plan", "plan")
        .expression_attribute_values(":plan", string(plan.as_str()))
        .expression_attribute_values(":count", number(count))
        .expression_attribute_values(":highest", number(highest))
}

/// Room for items, as far as it is in lanes.
fn room_of(org: &OrgRecord) -> Slices {
    let org_id = org.org_id;
    Slices {
        root: Key::org(org_id),
        out: "item_count",
        limit: org.plan.limits().items,
        term: Some(("plan_version", org.plan_version)),
        terms: format!("{}/{}", org.plan_version, org.plan.limits().items),
        largest: LARGEST_SLICE,
        lane: Box::new(move |lane| Key::item_room(org_id, lane)),
        prefix: String::new(),
    }
}

/// Gives room back that an organization's record counts, and counts that: who has begun a batch knows by it whether any of its items
/// can have been deleted.
pub(super) fn count_fewer(org: OrgId, count: usize) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(Key::org(org).attributes()))
        .update_expression("ADD item_count :minus, deletions :count")
        .expression_attribute_values(":minus", number(-(count as i128)))
        .expression_attribute_values(":count", number(count))
}

/// Gives room back to any lane.
pub(super) fn give_to_a_lane(org: OrgId, count: usize) -> UpdateBuilder {
    slices::give(Key::item_room(org, slices::random_lane()), count as i128)
}
