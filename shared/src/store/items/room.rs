//! Room for items. The organization's record counts it; once its items are spread over partitions, it is taken from lanes.

use super::super::idempotency::{Begun, Keyed, TAKEN_OVER};
use super::super::keys::Key;
use super::super::slices::{self, LARGEST_SLICE, Next, Slices, Source};
use super::super::{Store, backoff, condition_failed, contended, number, out_of_tries, string};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::org::{OrgRecord, Plan};
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use platform::idempotency::KeyClaim;

/// How often a creation is tried, if it conflicts with others or the plan changes meanwhile.
const ROOT_ATTEMPTS: u32 = 8;
/// The same, where there are other lanes to try.
const LANE_ATTEMPTS: u32 = 16;
/// An organization is hot once a single request has had this many conflicts on its count. To be throttled is none: another organization
/// in the same partition may be why.
pub(super) const HOT: u32 = 3;

/// What came of taking room from the count in the organization's record.
enum Rooted<'k> {
    Begun(Begun<'k>),
    /// The organization is hot, as this request or another has found; and its record as it is now.
    HasLanes(Box<OrgRecord>),
}

impl Store {
    /// Takes room for `count` items and makes the writes that go with it, all or none. Of these only one of a key may have a condition
    /// that fails. It is a transaction even for one write: the
    /// transaction's token makes a retry after a lost reply count once.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`] without room; [`ApiError::IdempotencyInFlight`] if a key among `puts` was taken over.
    pub(super) async fn with_room<'k>(
        &self,
        org: &OrgRecord,
        count: usize,
        claim: Option<&KeyClaim<'k>>,
        puts: Vec<TransactWriteItem>,
    ) -> Result<Begun<'k>, ApiError> {
        let spread = Box::pin(self.spread_when_due(org)).await;
        let org = spread.as_ref().unwrap_or(org);
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
        let (mut plan, mut met, mut heat) = (org.plan, 0, 0);
        for _ in 0..ROOT_ATTEMPTS {
            let mut writes = vec![self.update(count_more(org.org_id, plan, count))?];
            writes.extend(puts.iter().cloned());
            let attempt = self.transact_once_with_key(org.org_id, claim, writes).await?;
            let is_heat = attempt.met_at(0);
            match attempt {
                Keyed::Begun(begun) => return Ok(Rooted::Begun(begun)),
                Keyed::Freed => {}
                Keyed::Refused(reasons) if !reasons.iter().take(1).any(condition_failed) => {
                    return Err(TAKEN_OVER);
                }
                Keyed::Refused(_) => {
                    let now: OrgRecord = self.get(Key::org(org.org_id)).await?.ok_or(ApiError::NotFound)?;
                    // The organization has lanes by now, and they may hold the room.
                    if now.spread_from.is_some() {
                        return Ok(Rooted::HasLanes(Box::new(now)));
                    }
                    plan = plan_with_room(&now, count)?;
                }
                Keyed::Conflict(_) | Keyed::Throttled => {
                    met += 1;
                    heat += u32::from(is_heat);
                    if is_heat
                        && heat % HOT == 0
                        && let Some(now) = Box::pin(self.spread_by_heat(org.org_id)).await
                    {
                        return Ok(Rooted::HasLanes(Box::new(now)));
                    }
                    tokio::time::sleep(backoff(met - 1)).await;
                }
            }
        }
        Err(out_of_tries(met > 0))
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
            let of_room = writes.len();
            writes.extend(puts.iter().cloned());
            match self.transact_once_with_key(org.org_id, claim, writes).await? {
                Keyed::Begun(begun) => {
                    self.kept.keep(&room, &source);
                    return Ok(begun);
                }
                Keyed::Freed => {}
                Keyed::Refused(reasons) if !reasons.iter().take(of_room).any(condition_failed) => {
                    return Err(TAKEN_OVER);
                }
                Keyed::Refused(reasons) => {
                    let now: OrgRecord = self.get(Key::org(org.org_id)).await?.ok_or(ApiError::NotFound)?;
                    self.renew_copies(org, &now).await;
                    room = room_of(&now);
                    source = match self.next_source(&room, now.item_count, &source, &reasons, count as u64).await? {
                        Next::Take(source) => self.filled(&room, now.item_count, source).await?,
                        Next::Again => Source::Lane(room.any_lane()),
                        Next::Full => return Err(ApiError::PlanLimitReached { what: "items", limit: room.limit }),
                    };
                }
                Keyed::Conflict(_) | Keyed::Throttled => {
                    met += 1;
                    // Try another lane. Only the last units have to come from the lanes that hold them.
                    if !matches!(source, Source::Remains { .. }) {
                        source = Source::Lane(room.any_lane());
                    }
                    tokio::time::sleep(slices::lane_backoff(met - 1)).await;
                }
            }
        }
        Err(contended())
    }
}

/// The organization's plan, if that has room: the condition then failed because the plan had changed.
fn plan_with_room(org: &OrgRecord, count: usize) -> Result<Plan, ApiError> {
    let limit = org.plan.limits().items;
    if org.item_count + count as u64 > limit {
        return Err(ApiError::PlanLimitReached { what: "items", limit });
    }
    Ok(org.plan)
}

/// Counts `count` more items, if the organization is on `plan` and that plan has room for them.
fn count_more(org: OrgId, plan: Plan, count: usize) -> UpdateBuilder {
    // Negative if `count` alone is above the limit: then nothing fits.
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

/// The limit of items, as lanes count it.
pub(super) fn room_of(org: &OrgRecord) -> Slices {
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

/// Gives room back to where the organization takes it from.
pub(super) fn give_back(org: &OrgRecord, count: usize, now: Moment) -> UpdateBuilder {
    let give = if org.spreads_items(now) { give_to_a_lane } else { count_fewer };
    give(org.org_id, count)
}

/// Gives room back to the organization's record.
pub(super) fn count_fewer(org: OrgId, count: usize) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(Key::org(org).attributes()))
        .update_expression("ADD item_count :minus")
        .expression_attribute_values(":minus", number(-(count as i128)))
}

/// Gives room back to any lane.
pub(super) fn give_to_a_lane(org: OrgId, count: usize) -> UpdateBuilder {
    slices::give(Key::item_room(org, slices::random_lane()), count as i128)
}
