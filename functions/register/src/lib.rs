//! `POST /auth/register`, anyone: `201` with user, organization and token; `409` if the address is taken; `429` after
//! five from one network in a minute, or twenty in a day.

use deserr::Deserr;
use shared::account::{self, Proven, Registrant};
use shared::limits::{Claim, NetworkLimit};
use shared::model::password::NewPassword;
use shared::model::session::{Carrier, Session};
use shared::model::text::{Email, Name};
use shared::network::Network;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request};
use utoipa::ToSchema;

/// Who registers, and the organization it founds.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada Lovelace",
    "org_name": "Analytical Engines"})))]
pub struct NewAccount {
    email: Email,
    password: NewPassword,
    name: Name,
    org_name: Name,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    #[deserr(default)]
    session: Option<Carrier>,
}

/// What one network may do of this. That an address is taken is told here and nowhere else: those registrations count too.
pub const LIMITS: [NetworkLimit; 2] = [NetworkLimit::RegistrationsPerMinute, NetworkLimit::RegistrationsPerDay];

/// Register a user and found its organization
///
/// The user becomes the organization's first owner, on the free plan. A code and a link go to the address, by which it is
/// proven (`POST /auth/verify-email`).
///
/// # Errors
/// `409 email_taken`, `429 rate_limited` after too many registrations from one network.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = NewAccount,
    responses((status = 201, description = "Registered and logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 409, description = "The e-mail address is taken", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let NewAccount { email, password, name, org_name, session: carrier } = request::json(&request)?;
    let claim = Claim::take(context, Network::of(&request), &LIMITS).await;
    if let Err(ApiError::RateLimited { .. }) = claim {
        let event = SecurityEvent::RegistrationLimitReached { email: &email };
        security_log::record(context, &request, event).await;
    }
    claim?;
    let new = Registrant { email: email.clone(), password, name, org_name };
    let begun = account::register(context, new, Proven::ByMail(&request), carrier).await?;

    let event = SecurityEvent::Registered { by: begun.actor, email: &email };
    security_log::record(context, &request, event).await;
    Ok(begun.session.reply(StatusCode::CREATED, &begun.token, carrier, begun.device.as_ref()))
}
