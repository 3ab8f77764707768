//! `PUT /orgs/{org_id}/plan`, owner: `200` with the new plan, visible to the next read.

use serde::Deserialize;
use shared::caller::Caller;
use shared::ids::OrgId;
use shared::model::org::{OrgPlanView, Plan, Role};
use shared::request::IfMatch;
use shared::{ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// The plan to change to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanChange {
    plan: Plan,
}

/// Change the organization's plan
///
/// What is there beyond the new plan's limits stays; more is refused.
///
/// # Errors
/// `401` without a valid session, `403` below owner, `404` for another organization, `412`.
#[utoipa::path(put, path = "/orgs/{org_id}/plan", operation_id = "put_org_plan", tag = "orgs",
    request_body = PlanChange,
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to change")),
    responses((status = 200, description = "The new plan", body = OrgPlanView)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    caller.at_least(Role::Owner)?;
    let change: PlanChange = request::json(&request)?;

    let written = context.store().put_org_plan(org_id, change.plan, &IfMatch::of(&request)).await?;
    let plan = written.publish(context.cache()).await;

    Ok(response::with_etag(response::json(StatusCode::OK, &plan.view(org_id)), plan.version))
}
