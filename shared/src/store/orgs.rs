//! Organizations: plan and settings.

use super::keys::{self, Key, ORG, SK};
use super::{Store, Transaction, classify, number, record, string, versioned, wait_before};
use crate::conditional::Expected;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::cached::{OrgPlanKey, OrgSettingsKey};
use crate::model::org::{OrgPlan, OrgRecord, Plan};
use crate::model::settings::{Settings, SettingsRecord};
use crate::store::role_check::RoleCheck;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Update};
use platform::cache::{Renewal, WriteOutcome};
use platform::telemetry::{Part, timed};
use serde::de::DeserializeOwned;

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
    pub async fn give_plan(&self, org: OrgId, plan: Plan) -> Renewal<OrgPlanKey, ApiError> {
        let set = vec![("plan", string(plan.as_str())), (PLAN_GIVEN_AT, number(self.now().as_millis()))];
        let changed = self.change_versioned::<OrgRecord>(Key::org(org), &versioned::PLAN, set, Expected::Exists).await;
        let changed = match changed {
            WriteOutcome::Refused(org, _) if org.copied => {
                self.give_plan_to_all(org.org_id, plan).await.unwrap_or_else(WriteOutcome::Unknown)
            }
            alone => alone,
        };
        Renewal::new(OrgPlanKey(org), changed.map(OrgPlan::from))
    }

    /// The same for a record and its copies. As a transaction, whose token makes a repetition by the SDK count once.
    async fn give_plan_to_all(&self, org: OrgId, plan: Plan) -> Result<WriteOutcome<OrgRecord, ApiError>, ApiError> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let read = timed(Part::Db, self.root(org)).await?;
            let given = |org: &mut OrgRecord| {
                org.plan = plan;
                org.plan_version += 1;
                org.plan_given_at = Some(self.now());
            };
            if let Some(given) = timed(Part::Db, self.change_org(&read, given)).await? {
                return Ok(WriteOutcome::Written(given));
            }
        }
        Err(ApiError::Contended)
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

    /// A page of an organization's records whose sort keys begin so, behind one of them, and whether there are more: one record beyond the
    /// page is asked for, since DynamoDB does not say what is behind the last that it was asked for.
    pub(super) async fn page_of_org<T: DeserializeOwned>(
        &self,
        org: OrgId,
        prefix: &'static str,
        limit: u8,
        after: Option<Key>,
    ) -> Result<(Vec<T>, bool), ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .limit(i32::from(limit) + 1)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", string(keys::org_pk(org)))
            .expression_attribute_values(":prefix", string(prefix))
            .set_exclusive_start_key(after.map(Key::attributes))
            .send();
        let page = timed(Part::Db, query).await.map_err(classify)?;
        let (found, limit) = (page.items.unwrap_or_default(), usize::from(limit));
        let more = found.len() > limit || page.last_evaluated_key.is_some();
        let records = found.into_iter().take(limit).map(record).collect::<Result<_, _>>()?;
        Ok((records, more))
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
        version: u64,
        settings: &Settings,
        expected: Expected,
    ) -> Renewal<OrgSettingsKey, ApiError> {
        let outcome = self.replace_settings(by, version, settings, expected).await;
        Renewal::new(OrgSettingsKey(by.org_id()), outcome.unwrap_or_else(WriteOutcome::Unknown))
    }

    async fn replace_settings(
        &self,
        by: RoleCheck<'_>,
        mut version: u64,
        settings: &Settings,
        expected: Expected,
    ) -> Result<WriteOutcome<SettingsRecord, ApiError>, ApiError> {
        let any_version = versioned::condition(expected)?.1.is_none();
        let value: AttributeValue = serde_dynamo::to_attribute_value(settings).map_err(ApiError::internal)?;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let update = Update::builder()
                .set_key(Some(Key::settings(by.org_id()).attributes()))
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
                return Ok(WriteOutcome::Written(record));
            };
            let current: SettingsRecord = record(reasons.remove(0).item.ok_or(ApiError::NotFound)?)?;
            if !any_version {
                return Ok(WriteOutcome::Refused(current, ApiError::PreconditionFailed));
            }
            version = current.version;
        }
        Err(ApiError::Contended)
    }
}
