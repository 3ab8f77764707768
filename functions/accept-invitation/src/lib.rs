//! `POST /invitations/accept`, session, also one in no organization: `200` with the membership; `400` for a link that opens nothing to
//! this account.

use deserr::Deserr;
use shared::caller::Caller;
use shared::model::invitation::InvitationToken;
use shared::model::org::Membership;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::store::joining::JoinsBy;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// What the mail's link said.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"token": "citi_AZPgobLDfU6PkKGyw9Tl9wGT4KGyw31Oj5Chssg"})))]
pub struct Acceptance {
    /// What stands behind the `#` of the link.
    #[schema(max_length = 120)]
    token: String,
}

/// Accept an invitation
///
/// The own address must be the invited one, and proven. The session stays where it is: to work in the organization, log in with its
/// `org_id`. Somebody without an account registers with the invitation instead.
///
/// # Errors
/// `400 invalid_link` for an invitation that is none, was used, withdrawn or replaced, is too old, is for another address, or whose maker
/// could not make it any more; `403 email_unverified`, `403 plan_limit_reached` where the organization has no room, `403
/// organization_limit_reached` for a user who belongs to 50 already, `409 already_member`.
#[utoipa::path(post, path = "/invitations/accept", operation_id = "accept_invitation", tag = "members", request_body = Acceptance,
    responses((status = 200, description = "The organization, and the role in it", body = Membership, headers(("Cache-Control"))),
        (status = 400, description = "The link opens nothing to this account", body = shared::response::ProblemBody),
        (status = 409, description = "A member already, or the members kept changing meanwhile", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let Acceptance { token } = request::json(&request)?;
    let token = InvitationToken::parse(&token).ok_or(ApiError::InvalidLink)?;

    let joined = context.store().join(caller.user_id, JoinsBy::Invitation(&token)).await?;

    // From here on it is about that organization, and not about the session's.
    shared::telemetry::note_org(joined.org_id.into());
    let event = SecurityEvent::MemberAdded { by: caller.actor_in(joined.org_id), role: joined.role };
    security_log::record(context, &request, event).await;
    Ok(response::live(response::json(StatusCode::OK, &Membership::from(joined))))
}
