//! `POST /auth/forgot-password`, anyone: `202` always, the same for every address; `429` after too many from one network in a day.

use deserr::Deserr;
use shared::account_mail;
use shared::limits::{Claim, NetworkLimit};
use shared::model::account_mail::AccountMail;
use shared::model::text::Email;
use shared::network::Network;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::store::certainly_nothing;
use shared::{ApiError, ApiResult, Context, Request, request, response};
use utoipa::ToSchema;

/// Whose password is forgotten.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com"})))]
pub struct ForgottenPassword {
    #[deserr(try_from(String) = Email::known -> &'static str)]
    email: Email,
}

/// What one network may do of this.
pub const LIMITS: [NetworkLimit; 1] = [NetworkLimit::ResetLinksPerDay];

/// Have a link sent that changes a forgotten password
///
/// It goes to the address if an account has it, at most three times an hour, and is good for 30 minutes. An address that was an account's
/// until lately gets the link that undoes the change. The reply is the same for every address.
///
/// # Errors
/// `429 rate_limited` after too many from one network.
#[utoipa::path(post, path = "/auth/forgot-password", operation_id = "forgot_password", tag = "auth",
    request_body = ForgottenPassword, responses((status = 202, description = "It is sent, if an account has the address")))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let ForgottenPassword { email } = request::json(&request)?;
    let claim = Claim::take(context, Network::of(&request), &LIMITS).await;
    if let Err(ApiError::RateLimited { .. }) = claim {
        let event = SecurityEvent::ResetLimitReached { email: &email };
        security_log::record(context, &request, event).await;
    }
    let claim = claim?;

    // Nothing is looked up here: whoever asks would be told by the time that it takes.
    let mail = AccountMail::PasswordReset { email: email.as_str().to_owned() };
    let sent = account_mail::send(context, &mail, Some(&request)).await;
    if sent.as_ref().is_err_and(certainly_nothing) {
        claim.give_back().await;
    }
    sent?;

    security_log::record(context, &request, SecurityEvent::PasswordResetRequested { email: &email }).await;
    Ok(response::accepted())
}
