//! `PUT /orgs/{org_id}/settings`, admin: `200` with the new settings, visible to the next read.

use deserr::Deserr;
use shared::caller::Caller;
use shared::conditional::Expected;
use shared::ids::OrgId;
use shared::model::org::{Plan, Role};
use shared::model::settings::{NewSettings, SettingsView};
use shared::models::{self, Offer};
use shared::request::{FieldErrors, Rejection};
use shared::security_log::{self, SecurityEvent};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// Where the body names the model that is looked up.
const DEFAULT_MODEL: &str = "/settings/default_model";

/// The settings to change to, as a whole.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"settings": {"email_recipients": "members", "timezone": "Europe/Vienna", "monthly_budget_usd": "25.00"}})))]
pub struct SettingsChange {
    settings: NewSettings,
}

/// Replace the organization's settings
///
/// What is left out has its default.
///
/// # Errors
/// `401` without a valid session, `403` below admin, `403 plan_forbids` for a default model that the plan does not include, `404` for
/// another organization, `412`.
#[utoipa::path(put, path = "/orgs/{org_id}/settings", operation_id = "put_org_settings", tag = "orgs",
    request_body = SettingsChange,
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be changed; an empty one matches nothing"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`, or `*`, of what is not to be changed")),
    responses((status = 200, description = "The new settings", body = SettingsView),
        (status = 409, description = "The settings kept changing meanwhile", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    context.cache().connect();
    let (caller, org, current) = Caller::verify_with_settings(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    let by = caller.at_least(Role::Admin)?;
    let change: SettingsChange = match request::json(&request) {
        Ok(change) => change,
        Err(wrong) => return Err(models::and_not_on_offer(context, &request, wrong, DEFAULT_MODEL).await.into()),
    };
    match models::offer(context, change.settings.default_model.as_str()).await? {
        Offer::No => return Err(Rejection::field(DEFAULT_MODEL, models::NOT_ON_OFFER).into()),
        Offer::At(_) if !org.plan.has_paid_models() => return Err(ApiError::PlanForbids(Plan::BUILTIN_ONLY)),
        Offer::Free | Offer::At(_) => {}
    }

    let version = current.version;
    let expected = Expected::of(&request, async { Ok((version, current.view(org_id))) }).await;
    let written = context.store().put_org_settings(by, version, &change.settings.into(), expected).await;
    let settings = written.publish(context.cache()).await?;
    let event = SecurityEvent::SettingsChanged { by: &caller, version: settings.version };
    security_log::record(context, &request, event).await;

    Ok(response::written(StatusCode::OK, &settings.view(org_id)))
}
