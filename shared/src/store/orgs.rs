//! Organizations: plan and settings.

use super::keys::Key;
use super::{Precondition, Store, number, record, string, update_failed};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::cached::{OrgPlanKey, OrgSettingsKey};
use crate::model::org::{OrgPlan, OrgRecord, Plan};
use crate::model::settings::{Settings, SettingsRecord};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use platform::cache::Renewal;
use platform::request::IfMatch;
use platform::telemetry::{Part, timed};

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
        Ok(self.org(org).await?.map(|org| OrgPlan { plan: org.plan, version: org.plan_version }))
    }

    /// Changes an organization's plan. What is there beyond the new limits stays; more is refused.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] if none of the versions is the current one.
    pub async fn put_org_plan(
        &self,
        org: OrgId,
        plan: Plan,
        if_match: &IfMatch,
    ) -> Result<Renewal<OrgPlanKey>, ApiError> {
        let update = Precondition::new(if_match)?
            .apply(
                self.client
                    .update_item()
                    .table_name(&self.table)
                    .set_key(Some(Key::org(org).attributes()))
                    .update_expression("SET #plan = :plan, #version = #version + :one")
                    .expression_attribute_names("#plan", "plan")
                    .expression_attribute_values(":plan", string(plan.as_str()))
                    .expression_attribute_values(":one", number(1)),
            )
            .expression_attribute_names("#version", "plan_version")
            .return_values(ReturnValue::AllNew)
            .send();
        let reply = timed(Part::Db, update).await.map_err(update_failed)?;
        let record: OrgRecord = record(reply.attributes.unwrap_or_default())?;
        Ok(Renewal::new(OrgPlanKey(org), OrgPlan { plan: record.plan, version: record.plan_version }))
    }

    /// An organization's settings.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn org_settings(&self, org: OrgId) -> Result<Option<SettingsRecord>, ApiError> {
        timed(Part::Db, self.get(Key::settings(org))).await
    }

    /// Replaces an organization's settings.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] if none of the versions is the current one.
    pub async fn put_org_settings(
        &self,
        org: OrgId,
        settings: &Settings,
        if_match: &IfMatch,
    ) -> Result<Renewal<OrgSettingsKey>, ApiError> {
        let value: AttributeValue = serde_dynamo::to_attribute_value(settings).map_err(ApiError::internal)?;
        let update = Precondition::new(if_match)?
            .apply(
                self.client
                    .update_item()
                    .table_name(&self.table)
                    .set_key(Some(Key::settings(org).attributes()))
                    .update_expression("SET #settings = :settings, #version = #version + :one")
                    .expression_attribute_names("#settings", "settings")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":settings", value)
                    .expression_attribute_values(":one", number(1)),
            )
            .return_values(ReturnValue::AllNew)
            .send();
        let reply = timed(Part::Db, update).await.map_err(update_failed)?;
        Ok(Renewal::new(OrgSettingsKey(org), record(reply.attributes.unwrap_or_default())?))
    }
}
