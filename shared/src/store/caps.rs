//! The operator's caps, counted: what all organizations together took of a day (UTC), and each of them. No transaction holds these
//! records: each is changed by plain updates, before a job's transaction and after it. Where a cap is large, an organization leases slices
//! of it (`docs/decisions/0113-the-operators-caps.md`).
//!
//! What is taken twice, or taken by whoever dies, is lost until midnight. What adds to what may be taken is sent at most once, so the cap is
//! never passed.

use super::keys::{self, Key};
use super::single::{SingleWrite as _, send_at_most_once};
use super::{Attributes, Store, classify, number, record};
use crate::caps::Cap;
use crate::error::{ApiError, chain};
use crate::ids::OrgId;
use crate::model::org::Plan;
use crate::model::time::Moment;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use platform::telemetry::metrics::{Metric, metrics};
use platform::telemetry::{Part, timed};
use serde::Deserialize;
use std::time::Duration;

/// A slice is 1/20,000 of a cap. An organization holds two unused ones at most.
const SLICES: u64 = 20_000;
/// Slices are leased while the unused ones are at most 1/20 of the cap together; after that, units are taken one by one.
const UNUSED: u64 = 20;
/// How long a day's records stay after it.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What was taken of a cap.
#[derive(Debug)]
#[must_use = "what came to nothing is given back"]
pub struct Taken {
    cap: Cap,
    day: String,
    org: OrgId,
    units: u64,
}

impl Taken {
    /// The day that it was taken of.
    pub(crate) fn day(&self) -> &str {
        &self.day
    }
}

/// An organization's part of a day.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OrgPart {
    taken: u64,
    slot: bool,
}

/// A day's cap as one organization meets it.
struct Day<'s> {
    store: &'s Store,
    cap: Cap,
    name: String,
    ttl: i64,
    ends: Moment,
    org: OrgId,
    most: u64,
    share: u64,
    slice: u64,
}

impl Store {
    /// Takes units of today's cap. An organization takes its plan's part at most; `None` is a job that was accepted before, which may go on
    /// as long as the cap of all has room.
    ///
    /// # Errors
    /// [`ApiError::OperatorCapReached`] until the day ends.
    pub async fn take_of_cap(&self, cap: Cap, org: OrgId, plan: Option<Plan>, units: u64) -> Result<Taken, ApiError> {
        let now = self.now();
        let ends = now.end_of_day();
        let taken = Taken { cap, day: now.day(), org, units };
        if units == 0 {
            return Ok(taken);
        }
        let most = self.caps.most(cap).map_err(ApiError::internal)?;
        let share = plan.map_or(Ok(most), |plan| self.caps.share(cap, plan)).map_err(ApiError::internal)?;
        // What was accepted before takes what it needs and no more: an operator's command goes by no cap, and would lease slices of that.
        let slice = if plan.is_some() { most / SLICES } else { 0 };
        let (name, ttl) = (taken.day.clone(), ends.plus(KEPT).as_ttl_seconds());
        let day = Day { store: self, cap, name, ttl, ends, org, most, share, slice };
        // Boxed, so that what has no cap does not carry its state around.
        timed(Part::Db, Box::pin(day.take(units))).await.map(|()| taken)
    }

    /// Gives back what came to nothing, all of it or a part. A failure is logged: then it is lost until midnight.
    pub async fn give_back_to_cap(&self, taken: Taken, units: u64) {
        let Taken { cap, day, org, units: all } = taken;
        let units = units.min(all);
        if units == 0 {
            return;
        }
        let part = self.put_back(Key::cap_of_org(cap.name(), &day, org), "taken", units);
        let whole = self.put_back(Key::cap(cap.name(), &day), "units", units);
        timed(Part::Db, Box::pin(async { tokio::join!(part, whole) })).await;
    }

    /// What a job took on a day, to be given back. What is not of today is worth nothing any more.
    pub(super) fn taken_on(&self, cap: Cap, org: OrgId, day: String, units: u64) -> Option<Taken> {
        (day == self.now().day()).then_some(Taken { cap, day, org, units })
    }

    async fn put_back(&self, key: Key, attribute: &str, units: u64) {
        let update = self
            .update_of(key)
            .update_expression("ADD #units :back")
            .condition_expression("#units >= :units")
            .expression_attribute_names("#units", attribute)
            .expression_attribute_values(":back", number(-i128::from(units)))
            .expression_attribute_values(":units", number(units));
        if let Err(error) = send_at_most_once(update).await {
            tracing::warn!(cause = chain(&error), "what was taken of the operator's cap was not given back");
        }
    }

    fn update_of(&self, key: Key) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key.attributes()))
    }
}

impl Day<'_> {
    async fn take(&self, units: u64) -> Result<(), ApiError> {
        let mut slot = false;
        if units < self.slice {
            let Err(part) = self.spend(units).await? else { return Ok(()) };
            slot = part.slot;
        }
        // Its own part first, which nobody else writes: whoever has used that up reaches nothing that others meet.
        if !self.add_to_part(units).await? {
            return Err(self.refusal(self.share, self.share >= self.most));
        }
        let leased = self.lease_for(units, slot).await;
        if !matches!(leased, Ok(true)) {
            // Also where it failed: nothing is accepted then. What it may have had out of the cap of all is lost there, not here too.
            self.store.put_back(self.part_key(), "taken", units).await;
        }
        if leased? { Ok(()) } else { Err(self.refusal(self.most, true)) }
    }

    /// Has units out of the cap: within a slice, whose rest the organization keeps, or as many as they are.
    async fn lease_for(&self, units: u64, slot: bool) -> Result<bool, ApiError> {
        let slice = self.slice;
        if units < slice && self.lease(slice, Some(slot)).await? {
            self.put_into_part(slice - units, slice).await;
            return Ok(true);
        }
        self.lease(units, None).await
    }

    /// Takes units of what the organization has leased and not used; or says what it has.
    async fn spend(&self, units: u64) -> Result<Result<(), OrgPart>, ApiError> {
        let Some(highest) = self.share.checked_sub(units) else { return Ok(Err(OrgPart::default())) };
        let spent = self
            .store
            .update_of(self.part_key())
            .update_expression("ADD free_units :back, taken :units")
            .condition_expression("free_units >= :units AND (attribute_not_exists(taken) OR taken <= :highest)")
            .expression_attribute_values(":back", number(-i128::from(units)))
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":highest", number(highest))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match unless_refused(spent.send_unless_held().await)? {
            None => Ok(Ok(())),
            Some(found) => Ok(Err(found.map(record).transpose()?.unwrap_or_default())),
        }
    }

    /// Counts units as taken by the organization, unless that is more than its part.
    async fn add_to_part(&self, units: u64) -> Result<bool, ApiError> {
        let Some(highest) = self.share.checked_sub(units) else { return Ok(false) };
        let added = self
            .store
            .update_of(self.part_key())
            .update_expression("ADD taken :units SET #ttl = :ttl")
            .condition_expression("attribute_not_exists(taken) OR taken <= :highest")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":highest", number(highest))
            .expression_attribute_values(":ttl", number(self.ttl));
        Ok(unless_refused(added.send_unless_held().await)?.is_none())
    }

    /// Has units out of the cap, unless that is more than it. A slice is of an organization that has a slot, or gets one.
    async fn lease(&self, units: u64, slice_with_slot: Option<bool>) -> Result<bool, ApiError> {
        let Some(highest) = self.most.checked_sub(units) else { return Ok(false) };
        let update = self.store.update_of(Key::cap(self.cap.name(), &self.name));
        let (room, ttl) = ("(attribute_not_exists(units) OR units <= :highest)", "SET #ttl = :ttl");
        let update = match slice_with_slot {
            Some(false) => {
                let held = units.saturating_mul(2);
                let Some(highest_held) = (self.most / UNUSED).checked_sub(held) else { return Ok(false) };
                update
                    .update_expression(format!("ADD units :units, held :held {ttl}"))
                    .condition_expression(format!("{room} AND (attribute_not_exists(held) OR held <= :highest_held)"))
                    .expression_attribute_values(":held", number(held))
                    .expression_attribute_values(":highest_held", number(highest_held))
            }
            _ => update.update_expression(format!("ADD units :units {ttl}")).condition_expression(room),
        };
        let leased = update
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":highest", number(highest))
            .expression_attribute_values(":ttl", number(self.ttl));
        Ok(unless_refused(leased.send_unless_held().await)?.is_none())
    }

    /// Puts what is left of a slice into the organization's part. Where another request just did, it goes back.
    async fn put_into_part(&self, units: u64, slice: u64) {
        let put = self
            .store
            .update_of(self.part_key())
            .update_expression("ADD free_units :units SET slot = :slot")
            .condition_expression("attribute_not_exists(free_units) OR free_units < :slice")
            .expression_attribute_values(":units", number(units))
            .expression_attribute_values(":slot", aws_sdk_dynamodb::types::AttributeValue::Bool(true))
            .expression_attribute_values(":slice", number(slice));
        match unless_refused(send_at_most_once(put).await) {
            Ok(None) => {}
            Ok(Some(_)) => self.store.put_back(Key::cap(self.cap.name(), &self.name), "units", units).await,
            Err(error) => tracing::warn!(cause = chain(&error), "a slice of the operator's cap was lost"),
        }
    }

    fn part_key(&self) -> Key {
        Key::cap_of_org(self.cap.name(), &self.name, self.org)
    }

    /// What is told to a caller, and to the operator where it is the cap of all that has no room.
    fn refusal(&self, limit: u64, of_all: bool) -> ApiError {
        if of_all {
            metrics("CitizenApp/Jobs", None, &[(Metric("OperatorCapReached"), 1.into())]);
        }
        let left_ms = u64::try_from(self.ends.as_millis() - self.store.now().as_millis()).unwrap_or(0);
        let (what, limit) = self.cap.told(limit);
        ApiError::OperatorCapReached { what, limit, retry_after_seconds: left_ms.div_ceil(1000) }
    }
}

/// `None` if an update was made; if its condition refused it, what it found.
fn unless_refused<T>(
    outcome: Result<T, SdkError<UpdateItemError, HttpResponse>>,
) -> Result<Option<Option<Attributes>>, ApiError> {
    let Err(error) = outcome else { return Ok(None) };
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => Ok(Some(refused.item.clone())),
        _ => Err(classify(error)),
    }
}
