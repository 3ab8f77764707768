//! `PUT /orgs/{org_id}/members/{user_id}`, admin: `200` with the member, whose role is changed; `409` for the last owner. It adds nobody.

use deserr::Deserr;
use shared::caller::Caller;
use shared::ids::{OrgId, UserId};
use shared::model::org::{Member, Role};
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// The role to give.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"role": "admin"})))]
pub struct RoleChange {
    role: Role,
}

/// Change a member's role
///
/// Only owners make owners or change them. Somebody who is not a member yet is invited instead.
///
/// # Errors
/// `401` without a valid session, `403` below admin, `404` for another organization or no such member,
/// `409 last_owner`.
#[utoipa::path(put, path = "/orgs/{org_id}/members/{user_id}", operation_id = "put_member", tag = "members",
    request_body = RoleChange,
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("user_id" = UserId, Path, description = "A member")),
    responses((status = 200, description = "The member with the role", body = Member),
        (status = 409, description = "The last owner cannot go, or the members kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    caller.in_org(request::path(&request, "org_id"))?;
    let by = caller.at_least(Role::Admin)?;
    let user_id: UserId = request::id(&request, "user_id")?;
    let change: RoleChange = request::json(&request)?;
    request::untagged(&request)?;

    let (member, from) = context.store().change_role(by, user_id, change.role).await?;

    if from != change.role {
        let event = SecurityEvent::RoleChanged { by: &caller, member: user_id, from, to: change.role };
        security_log::record(context, &request, event).await;
    }

    Ok(response::json(StatusCode::OK, &Member::from(member)))
}
