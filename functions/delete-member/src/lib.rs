//! `DELETE /orgs/{org_id}/members/{user_id}`, admin, or any member for itself: `204`; `409` for the last owner.

use shared::caller::Caller;
use shared::ids::{OrgId, UserId};
use shared::model::org::Role;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, request, response};

/// Remove a member, or leave
///
/// Its sessions in the organization are dead when this returns. Only owners remove other owners; oneself everybody may
/// remove.
///
/// # Errors
/// `401` without a valid session, `403` for another member below admin, `404` for another organization or no such member,
/// `409 last_owner`.
#[utoipa::path(delete, path = "/orgs/{org_id}/members/{user_id}", operation_id = "delete_member", tag = "members",
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("user_id" = UserId, Path, description = "A member")),
    responses((status = 204, description = "Removed"),
        (status = 409, description = "The last owner cannot go, or the members kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    caller.in_org(request::path(&request, "org_id"))?;
    let user_id: UserId = request::id(&request, "user_id")?;
    let by = caller.at_least(if user_id == caller.user_id { Role::Member } else { Role::Admin })?;
    request::untagged(&request)?;

    let was = context.store().delete_member(by, user_id).await?;
    let event = SecurityEvent::MemberRemoved { by: &caller, member: user_id, was };
    security_log::record(context, &request, event).await;

    Ok(response::no_content())
}
