//! The month's usage of an organization. It changes in the same transaction as the job that it counts.

use super::authority::sort_key;
use super::kept_lanes::KeptLanes;
use super::keys::{self, Key};
use super::slices::{self, LANE_PARTITIONS, LARGEST_SLICE, Reservation, Slices};
use super::{Attributes, Store, number, record, string};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::analysis::TokenUsage;
use crate::model::job::{JobRecord, UsageDelta};
use crate::model::org::{OrgRecord, Plan};
use crate::model::time::Moment;
use crate::model::usage::{UsageRecord, month_of};
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, Update};
use futures_util::future::try_join_all;
use platform::telemetry::{Part, timed};
use serde::Deserialize;

impl Store {
    /// What an organization used in a month.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn usage(&self, org: &OrgRecord, month: &str) -> Result<UsageRecord, ApiError> {
        let root =
            async || timed(Part::Db, self.get(Key::usage(org.org_id, month))).await.map(Option::unwrap_or_default);
        let mut usage: UsageRecord = root().await?;
        if org.spread_from.is_none() {
            return Ok(usage);
        }
        let mut lanes = Vec::new();
        for _ in 0..READ_AGAIN {
            lanes = timed(Part::Db, self.usage_lanes(org.org_id, month)).await?;
            // The root after the lanes: what a lane leases in between shows as used, and never as free. What lanes give back in between
            // would show as never used.
            let before = std::mem::replace(&mut usage, root().await?);
            if counters(&usage).iter().zip(counters(&before)).all(|(now, before)| *now >= before) {
                break;
            }
        }
        for (sk, lane) in &lanes {
            let counter = match sk.split('#').nth(1) {
                Some("analyses") => &mut usage.analyses,
                Some("emails") => &mut usage.emails,
                _ => &mut usage.spent_nanos,
            };
            *counter = counter.saturating_add_signed(-lane.free_units);
            usage.cost_nanos = usage.cost_nanos.saturating_add(lane.cost_nanos);
            usage.input_tokens = usage.input_tokens.saturating_add(lane.input_tokens);
            usage.output_tokens = usage.output_tokens.saturating_add(lane.output_tokens);
        }
        Ok(usage)
    }

    /// The lanes of a month, by their sort keys.
    async fn usage_lanes(&self, org: OrgId, month: &str) -> Result<Vec<(String, UsageLane)>, ApiError> {
        let read = |partition: u8| async move {
            let query = self
                .client
                .query()
                .key_condition_expression("pk = :pk AND begins_with(sk, :month)")
                .expression_attribute_values(":pk", string(Key::usage_lane(org, month, "", partition).pk))
                .expression_attribute_values(":month", string(format!("{month}#")));
            let lane = |lane: Attributes| Ok((sort_key(&lane).to_owned(), record(lane)?));
            self.all(query).await?.into_iter().map(lane).collect::<Result<Vec<_>, ApiError>>()
        };
        Ok(try_join_all((0..LANE_PARTITIONS).map(read)).await?.into_iter().flatten().collect())
    }
}

/// What lanes hold units of.
fn counters(usage: &UsageRecord) -> [u64; 3] {
    [usage.analyses, usage.emails, usage.spent_nanos]
}

/// A lane of a month's usage: what it holds, and what the jobs that were settled there took.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UsageLane {
    free_units: i64,
    cost_nanos: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// How often a month is read while lanes give back to its record what they held.
const READ_AGAIN: u32 = 3;
/// What spending is counted as in lanes.
const SPENT: &str = "spent";
/// More than anybody spends, in nano-dollars.
const NO_BUDGET: u64 = i64::MAX as u64 / 2;
/// The most that a lane leases of a budget at a time: a thousand dollars.
const LARGEST_SUM: u64 = 1_000_000_000_000;

/// A job's place in the month's limit, and what it holds of the budget, of an organization that is spread: the first is of the limit.
pub(super) fn takings(kept: &KeptLanes, job: &JobRecord, org: &OrgRecord) -> Vec<Reservation> {
    let (counter, limit) = (job.kind.counter(), job.kind.limit(org.plan));
    let terms = format!("{}/{limit}", org.plan_version);
    let lanes = || lanes_of(job, counter, counter, (limit, LARGEST_SLICE), terms);
    let count = takes_unit(job).then(|| Reservation::new(kept, lanes(), 1));
    count.into_iter().chain(of_budget(kept, job, job.reserved_nanos)).collect()
}

/// Whether a job's acceptance takes a place in the month's limit.
pub(super) fn takes_unit(job: &JobRecord) -> bool {
    job.kind.is_counted() && !job.unit_is_used
}

/// So much of a job's budget. Without one it is counted all the same: the next job may have one.
fn of_budget(kept: &KeptLanes, job: &JobRecord, nanos: u64) -> Option<Reservation> {
    let budget = job.budget_nanos.unwrap_or(NO_BUDGET);
    let terms = format!("{}/{budget}", job.budget_version);
    let lanes = || lanes_of(job, SPENT, "spent_nanos", (budget, LARGEST_SUM), terms);
    (nanos > 0).then(|| Reservation::new(kept, lanes(), nanos))
}

fn lanes_of(
    job: &JobRecord,
    what: &'static str,
    out: &'static str,
    (limit, largest): (u64, u64),
    terms: String,
) -> Slices {
    let (org, month) = (job.org_id, job.month.clone());
    Slices {
        root: Key::usage(org, &month),
        out,
        limit,
        term: None,
        terms,
        largest,
        prefix: keys::usage_prefix(&month, what),
        lane: Box::new(move |lane| Key::usage_lane(org, &month, what, lane)),
    }
}

/// What a change takes of the budget before it can be.
pub(super) fn reserving(kept: &KeptLanes, job: &JobRecord, delta: &UsageDelta) -> Option<Reservation> {
    let nanos = u64::try_from(delta.spent_nanos).unwrap_or(0);
    reserves(job, delta).then(|| of_budget(kept, job, nanos)).flatten()
}

fn reserves(job: &JobRecord, delta: &UsageDelta) -> bool {
    delta.spent_nanos > 0 && (delta.within_nanos.is_some() || job.budget_nanos.is_none())
}

/// Tells the lanes that a job is settled in from others.
pub(super) fn settled_in(job: &JobRecord) -> String {
    slices::name(&Key::usage(job.org_id, &job.month), job.kind.counter())
}

/// [`settle`] in a lane, but for what [`reserving`] takes.
pub(super) fn settle_in_lane(job: &JobRecord, delta: &UsageDelta, lane: u8) -> Vec<UpdateBuilder> {
    let &UsageDelta { spent_nanos, cost_nanos, tokens, give_unit_back, within_nanos: _ } = delta;
    let key = |what| Key::usage_lane(job.org_id, &job.month, what, lane);
    let used = Update::builder()
        .set_key(Some(key(job.kind.counter()).attributes()))
        .update_expression("ADD free_units :unit, cost_nanos :cost, input_tokens :input, output_tokens :output")
        .expression_attribute_values(":unit", number(u8::from(give_unit_back)))
        .expression_attribute_values(":cost", number(cost_nanos))
        .expression_attribute_values(":input", number(tokens.input_tokens))
        .expression_attribute_values(":output", number(tokens.output_tokens));
    let gives = spent_nanos != 0 && !reserves(job, delta);
    let back = gives.then(|| slices::give(key(SPENT), -spent_nanos));
    std::iter::once(used).chain(back).collect()
}

/// What a caller is told for whose job the month's limit has no room.
pub(super) fn over_limit(job: &JobRecord, plan: Plan, now: Moment) -> ApiError {
    let (limit, retry_after_seconds) = (job.kind.limit(plan), month_of(now).1);
    ApiError::QuotaExceeded { what: job.kind.counter(), limit, retry_after_seconds }
}

/// Takes a unit of the month's limit, if the job is to, and holds what it may cost.
pub(super) fn take(job: &JobRecord, plan: Plan) -> UpdateBuilder {
    let mut conditions = Vec::new();
    let mut update = Update::builder()
        .set_key(Some(Key::usage(job.org_id, &job.month).attributes()))
        .update_expression("ADD #count :unit, spent_nanos :reserved")
        .expression_attribute_names("#count", job.kind.counter())
        .expression_attribute_values(":unit", number(u8::from(takes_unit(job))))
        .expression_attribute_values(":reserved", number(job.reserved_nanos))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    if takes_unit(job) {
        conditions.push("(attribute_not_exists(#count) OR #count < :limit)");
        update = update.expression_attribute_values(":limit", number(job.kind.limit(plan)));
    }
    if let Some(budget) = job.budget_nanos.filter(|_| job.reserved_nanos > 0) {
        conditions.push("(attribute_not_exists(spent_nanos) OR spent_nanos <= :room)");
        update = update.expression_attribute_values(":room", number(budget.saturating_sub(job.reserved_nanos)));
    }
    update.set_condition_expression((!conditions.is_empty()).then(|| conditions.join(" AND ")))
}

/// Why [`take`] was refused.
pub(super) fn refused(
    job: &JobRecord,
    plan: Plan,
    usage: Option<Attributes>,
    now: Moment,
) -> Result<ApiError, ApiError> {
    let usage: UsageRecord = usage.map(record).transpose()?.unwrap_or_default();
    let used = match job.kind {
        crate::model::job::JobKind::Analyze => usage.analyses,
        crate::model::job::JobKind::SendEmail => usage.emails,
        crate::model::job::JobKind::AccountMail => 0,
    };
    let limit = job.kind.limit(plan);
    Ok(if takes_unit(job) && used >= limit { over_limit(job, plan, now) } else { ApiError::BudgetExceeded })
}

/// Settles what was held with what was used.
pub(super) fn settle(job: &JobRecord, delta: &UsageDelta) -> UpdateBuilder {
    let &UsageDelta { spent_nanos, cost_nanos, tokens, give_unit_back, within_nanos } = delta;
    let TokenUsage { input_tokens, output_tokens } = tokens;
    let unit = if give_unit_back { -1 } else { 0 };
    let mut update = Update::builder()
        .set_key(Some(Key::usage(job.org_id, &job.month).attributes()))
        .update_expression(
            "ADD #count :unit, spent_nanos :spent, cost_nanos :cost, input_tokens :input, output_tokens :output",
        )
        .expression_attribute_names("#count", job.kind.counter())
        .expression_attribute_values(":unit", number(unit))
        .expression_attribute_values(":spent", number(spent_nanos))
        .expression_attribute_values(":cost", number(cost_nanos))
        .expression_attribute_values(":input", number(input_tokens))
        .expression_attribute_values(":output", number(output_tokens));
    if let Some(budget) = within_nanos {
        let room = i128::from(budget) - spent_nanos;
        update = update.condition_expression("spent_nanos <= :room").expression_attribute_values(":room", number(room));
    }
    update
}
