//! The month's usage of an organization. It changes in the same transaction as the job that it counts.

use super::keys::Key;
use super::{Attributes, Store, number, record};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::analysis::TokenUsage;
use crate::model::job::{JobRecord, Settlement};
use crate::model::org::Plan;
use crate::model::usage::{UsageRecord, month_of};
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, Update};
use platform::telemetry::{Part, timed};

impl Store {
    /// What an organization used in a month.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn usage(&self, org: OrgId, month: &str) -> Result<UsageRecord, ApiError> {
        Ok(timed(Part::Db, self.get(Key::usage(org, month))).await?.unwrap_or_default())
    }
}

/// Takes a unit of the month's limit and holds what the job may cost.
pub(super) fn take(job: &JobRecord, plan: Plan) -> UpdateBuilder {
    let mut condition = "(attribute_not_exists(#count) OR #count < :limit)".to_owned();
    let mut update = Update::builder()
        .set_key(Some(Key::usage(job.org_id, &job.month).attributes()))
        .update_expression("ADD #count :one, spent_nanos :reserved")
        .expression_attribute_names("#count", job.kind.counter())
        .expression_attribute_values(":limit", number(job.kind.limit(plan)))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":reserved", number(job.reserved_nanos))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    if let Some(budget) = job.budget_nanos.filter(|_| job.reserved_nanos > 0) {
        condition.push_str(" AND (attribute_not_exists(spent_nanos) OR spent_nanos <= :room)");
        update = update.expression_attribute_values(":room", number(budget.saturating_sub(job.reserved_nanos)));
    }
    update.condition_expression(condition)
}

/// Why [`take`] was refused.
pub(super) fn refused(job: &JobRecord, plan: Plan, usage: Option<Attributes>) -> Result<ApiError, ApiError> {
    let usage: UsageRecord = usage.map(record).transpose()?.unwrap_or_default();
    let used = match job.kind {
        crate::model::job::JobKind::Analyze => usage.analyses,
        crate::model::job::JobKind::SendEmail => usage.emails,
    };
    let limit = job.kind.limit(plan);
    Ok(if used >= limit {
        let retry_after_seconds = month_of(job.created_at).1;
        ApiError::QuotaExceeded { what: job.kind.counter(), limit, retry_after_seconds }
    } else {
        ApiError::BudgetExceeded
    })
}

/// Settles what was held with what was used.
pub(super) fn settle(job: &JobRecord, settlement: &Settlement) -> UpdateBuilder {
    let &Settlement { spent_nanos, cost_nanos, tokens, give_unit_back, within_nanos } = settlement;
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
