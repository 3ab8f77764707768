//! `POST /auth/register`, anyone: `201` with user, organization and token; `409` if the address is taken; `429` after
//! five from one network in a minute, or twenty in a day.

use deserr::Deserr;
use shared::account::{self, Joins, Proven, Registrant};
use shared::limits::{Claim, NetworkLimit};
use shared::model::invitation::InvitationToken;
use shared::model::password::NewPassword;
use shared::model::session::{Session, SessionCarrier};
use shared::model::text::{Email, Name};
use shared::network::Network;
use shared::request::{FieldErrors, Rejection};
use shared::response::FieldError;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request};
use utoipa::ToSchema;

/// Who registers, and the organization that it founds or is invited to: one of the two.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada Lovelace",
    "org_name": "Analytical Engines"})))]
pub struct NewAccount {
    email: Email,
    password: NewPassword,
    name: Name,
    /// Founds an organization of this name.
    #[deserr(default)]
    org_name: Option<Name>,
    /// What stands behind the `#` of an invitation's link. The address must be the invited one, which it proves.
    #[deserr(default)]
    #[schema(max_length = 120)]
    invitation: Option<String>,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    #[deserr(default)]
    session: Option<SessionCarrier>,
}

/// What one network may do of this. That an address is taken is told here and nowhere else: those registrations count too.
pub const LIMITS: [NetworkLimit; 2] = [NetworkLimit::RegistrationsPerMinute, NetworkLimit::RegistrationsPerDay];

/// Register a user
///
/// With `org_name` the user founds an organization and becomes its first owner, on the free plan; a code and a link go to the address, by
/// which it is proven (`POST /auth/verify-email`). With `invitation` it becomes a member of the organization that invites it, and
/// its address is proven.
///
/// # Errors
/// `400 invalid_link` for an invitation that is none for this address, `403 plan_limit_reached` where it has no room, `409 email_taken`,
/// `429 rate_limited` after too many registrations from one network.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = NewAccount,
    responses((status = 201, description = "Registered and logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 400, description = "The invitation is none, was used or withdrawn, is too old, or is for another address", body = shared::response::ProblemBody),
        (status = 409, description = "The e-mail address is taken", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let NewAccount { email, password, name, org_name, invitation, session: carrier } = request::json(&request)?;
    let joins = joins(org_name, invitation)?;
    let claim = Claim::take(context, Network::of(&request), &LIMITS).await;
    if let Err(ApiError::RateLimited { .. }) = claim {
        let event = SecurityEvent::RegistrationLimitReached { email: &email };
        security_log::record(context, &request, event).await;
    }
    claim?;
    let is_invited = matches!(joins, Ok(Joins::Invited(_)));
    let new = Registrant { email: email.clone(), password, name, joins: joins? };
    let begun = account::register(context, new, Proven::ByMail(&request), carrier).await?;

    let event = SecurityEvent::Registered { by: begun.actor, email: &email };
    security_log::record(context, &request, event).await;
    if is_invited {
        let event = SecurityEvent::MemberAdded { by: begun.actor, role: begun.role };
        security_log::record(context, &request, event).await;
    }
    Ok(begun.session.reply(StatusCode::CREATED, &begun.token, carrier, begun.device.as_ref()))
}

/// One of the two. A text that cannot be an invitation is wrong as any other is, and counts as a registration all the same.
fn joins(org_name: Option<Name>, invitation: Option<String>) -> Result<Result<Joins, ApiError>, ApiError> {
    match (org_name, invitation) {
        (Some(name), None) => Ok(Ok(Joins::Founding(name))),
        (None, Some(token)) => Ok(InvitationToken::parse(&token).map(Joins::Invited).ok_or(ApiError::InvalidLink)),
        (None, None) => Err(wrong("/org_name", "is missing, and there is no invitation in its place")),
        (Some(_), Some(_)) => Err(wrong("/invitation", "must not stand beside org_name")),
    }
}

fn wrong(pointer: &str, message: &str) -> ApiError {
    Rejection::Invalid(vec![FieldError { pointer: pointer.to_owned(), message: message.to_owned() }]).into()
}
