//! `GET /orgs/{org_id}/settings`, member: `200` with the settings; `304`. Cached, renewed on update.

use shared::caller::Caller;
use shared::ids::OrgId;
use shared::model::cached::OrgSettingsKey;
use shared::model::settings::SettingsView;
use shared::{ApiError, ApiResult, Context, Request, request, response};

/// Get the organization's settings
///
/// # Errors
/// `401` without a valid session, `404` for another organization.
#[utoipa::path(get, path = "/orgs/{org_id}/settings", operation_id = "get_org_settings", tag = "orgs",
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The settings", body = SettingsView),
        (status = 304, description = "The copy held is current")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    let key = OrgSettingsKey(org_id);
    let look_up = context.cache().get_or_fill(&key, || context.store().org_settings(org_id));
    let settings = caller.counted(context, None, look_up).await??.ok_or(ApiError::NotFound)?;
    Ok(response::representation(&request, response::PRIVATE, &settings.view(org_id)))
}
