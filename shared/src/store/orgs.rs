//! Organizations: plan and settings.

use super::keys::{Key, ORG, SK};
use super::{Precondition, Store, Transaction, backoff, classify, number, record, string, update_failed};
use crate::conditional::Expected;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::cached::{OrgPlanKey, OrgSettingsKey};
use crate::model::org::{OrgPlan, OrgRecord, Plan};
use crate::model::settings::{Settings, SettingsRecord};
use crate::store::role_check::RoleCheck;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, Update};
use platform::cache::Renewal;
use platform::telemetry::{Part, timed};

/// The attribute of an organization that says when an operator gave it its plan.
const PLAN_GIVEN_AT: &str = "plan_given_at";

/// How often settings are written that somebody else changes at the same time.
const ATTEMPTS: u32 = 10;

impl Store {
    /// An organization.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn org(&self, org: OrgId) -> Result<Option<OrgRecord>, ApiError> {
        timed(Part::Db, self.get(Key::org(org))).await
    }

    /// An organization's plan.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn org_plan(&self, org: OrgId) -> Result<Option<OrgPlan>, ApiError> {
        Ok(self.org(org).await?.map(OrgPlan::from))
    }

    /// Gives an organization a plan, for the operator. What is there beyond the new limits stays; more is refused.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such organization.
    pub async fn give_plan(&self, org: OrgId, plan: Plan) -> Result<Renewal<OrgPlanKey>, ApiError> {
        let update = Precondition::from(Expected::Exists)
            .apply(
                self.client
                    .update_item()
                    .table_name(&self.table)
                    .set_key(Some(Key::org(org).attributes()))
                    .update_expression("SET #plan = :plan, #version = #version + :one, #given = :now")
                    .expression_attribute_names("#plan", "plan")
                    .expression_attribute_names("#given", PLAN_GIVEN_AT)
                    .expression_attribute_values(":plan", string(plan.as_str()))
                    .expression_attribute_values(":now", number(self.now().as_millis()))
                    .expression_attribute_values(":one", number(1)),
            )
            .expression_attribute_names("#version", "plan_version")
            .return_values(ReturnValue::AllNew)
            .send();
        let reply = timed(Part::Db, update).await.map_err(update_failed)?;
        let record: OrgRecord = record(reply.attributes.unwrap_or_default())?;
        Ok(Renewal::new(OrgPlanKey(org), OrgPlan::from(record)))
    }

    /// The organizations with a paid plan that no operator gave: until version 0.2 an owner could choose it. Reads the whole
    /// table, so it is the operator's alone.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn self_taken_plans(&self) -> Result<Vec<OrgRecord>, ApiError> {
        let mut pages = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("#sk = :org AND #plan <> :free AND attribute_not_exists(#given)")
            .expression_attribute_names("#sk", SK)
            .expression_attribute_names("#plan", "plan")
            .expression_attribute_names("#given", PLAN_GIVEN_AT)
            .expression_attribute_values(":org", string(ORG))
            .expression_attribute_values(":free", string(Plan::Free.as_str()))
            .into_paginator()
            .items()
            .send();
        let mut organizations = Vec::new();
        while let Some(found) = pages.next().await {
            organizations.push(record(found.map_err(classify)?)?);
        }
        Ok(organizations)
    }

    /// An organization's settings.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn org_settings(&self, org: OrgId) -> Result<Option<SettingsRecord>, ApiError> {
        timed(Part::Db, self.get(Key::settings(org))).await
    }

    /// Replaces the settings of the caller's organization, if the caller still has the role when it is written. `version` is
    /// what the authority read found.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] if it has another version than is expected; [`ApiError::ForbiddenRole`] or
    /// [`ApiError::InvalidToken`] for a caller that has lost the role or the membership meanwhile.
    pub async fn put_org_settings(
        &self,
        by: RoleCheck<'_>,
        mut version: u64,
        settings: &Settings,
        expected: Expected,
    ) -> Result<Renewal<OrgSettingsKey>, ApiError> {
        let org = by.org_id();
        let value: AttributeValue = serde_dynamo::to_attribute_value(settings).map_err(ApiError::internal)?;
        for attempt in 0..ATTEMPTS {
            let update = Update::builder()
                .set_key(Some(Key::settings(org).attributes()))
                .update_expression("SET #settings = :settings, #version = :new")
                .condition_expression("#version = :read")
                .expression_attribute_names("#settings", "settings")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":settings", value.clone())
                .expression_attribute_values(":read", number(version))
                .expression_attribute_values(":new", number(version + 1))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let written = timed(Part::Db, self.transact_as(by, vec![self.update(update)?])).await?;
            let Transaction::Refused(mut reasons) = written else {
                let record = SettingsRecord { settings: settings.clone(), version: version + 1 };
                return Ok(Renewal::new(OrgSettingsKey(org), record));
            };
            let current: SettingsRecord = record(reasons.remove(0).item.ok_or(ApiError::NotFound)?)?;
            if expected != Expected::Exists {
                return Err(ApiError::PreconditionFailed);
            }
            version = current.version;
            tokio::time::sleep(backoff(attempt)).await;
        }
        Err(ApiError::Contended)
    }
}
