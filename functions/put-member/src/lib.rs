//! `PUT /orgs/{org_id}/members/{user_id}`, admin: `201` for a registered user added, `200` for a role
//! changed; `409` for the last owner.

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

/// Add a member or change a role
///
/// Only owners make owners or change them.
///
/// # Errors
/// `401` without a valid session, `403` below admin, `404` for another organization or no such user,
/// `409 last_owner`, `403 plan_limit_reached`.
#[utoipa::path(put, path = "/orgs/{org_id}/members/{user_id}", operation_id = "put_member", tag = "members",
    request_body = RoleChange,
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("user_id" = UserId, Path, description = "A registered user")),
    responses((status = 200, description = "The member with the role", body = Member),
        (status = 201, description = "The new member", body = Member),
        (status = 409, description = "The last owner cannot go", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    caller.in_org(request::path(&request, "org_id"))?;
    let by = caller.at_least(Role::Admin)?;
    let user_id: UserId = request::id(&request, "user_id")?;
    let change: RoleChange = request::json(&request)?;
    request::untagged(&request)?;

    let (member, was) = context.store().put_member(by, user_id, change.role).await?;

    let event = match was {
        None => Some(SecurityEvent::MemberAdded { by: &caller, member: user_id, role: change.role }),
        Some(from) if from != change.role => {
            Some(SecurityEvent::RoleChanged { by: &caller, member: user_id, from, to: change.role })
        }
        Some(_) => None,
    };
    if let Some(event) = event {
        security_log::record(context, &request, event).await;
    }

    let status = if was.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response::json(status, &Member::from(member)))
}
