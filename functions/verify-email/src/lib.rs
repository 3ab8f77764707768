//! `POST /auth/verify-email`, session: `200` with the user, whose address is proven by the mail's code or by its link's token; `400`
//! for one that is wrong, used, void or too old. `POST /auth/verify-email/resend`, session: `202` always.

use deserr::Deserr;
use shared::account_mail;
use shared::caller::Caller;
use shared::model::account_mail::AccountMail;
use shared::model::proof::{Code, LinkToken, Purpose};
use shared::model::user::User;
use shared::request::{FieldErrors, Rejection};
use shared::response::FieldError;
use shared::security_log::{self, SecurityEvent};
use shared::store::account_mail::MailLimit;
use shared::store::verification::Proof;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// What the mail said: its code or the token of its link, one of the two.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"code": "K7M2-9QXD"})))]
pub struct EmailProof {
    /// The code, in any case, with or without hyphens and spaces. After 5 codes of an account all are void until another is sent.
    #[deserr(default)]
    #[schema(max_length = 16)]
    code: Option<String>,
    /// What stands behind the `#` of the link.
    #[deserr(default)]
    #[schema(max_length = 100)]
    token: Option<String>,
}

/// Prove the own address
///
/// A code and a link go to the address of a new account. Either works once, for 24 hours.
///
/// # Errors
/// `400 invalid_link`.
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "verify_email", tag = "auth", request_body = EmailProof,
    responses((status = 200, description = "The address is proven", body = User, headers(("Cache-Control"))),
        (status = 400, description = "The code or token is wrong, used, void or too old", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    if request.uri().path().trim_end_matches('/').ends_with("/resend") {
        return resend(context, request).await;
    }
    let caller = Caller::verify_user(context, &request).await?;
    let proof = proof(request::json(&request)?)?;
    let user = context.store().user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;

    let user = context.store().verify_email(user, &proof).await?;

    security_log::record(context, &request, SecurityEvent::EmailVerified { by: &caller }).await;
    Ok(response::live(response::json(StatusCode::OK, &User::from(user))))
}

/// Have another code sent
///
/// It voids the one before. Nothing is sent to an address that is proven, nor more than one a minute and five a day; the reply is the
/// same.
///
/// # Errors
/// `401` without a valid session.
#[utoipa::path(post, path = "/auth/verify-email/resend", operation_id = "resend_verification", tag = "auth",
    responses((status = 202, description = "It is sent, if there is something to send")),
    security(("session" = []), ("cookie" = [])))]
pub async fn resend(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let user = context.store().user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    if user.email_verified_at.is_none()
        && context.store().take_mail(&user.email, MailLimit::RESENT_VERIFICATION).await?
    {
        let mail = AccountMail::Verification { user_id: user.user_id };
        account_mail::send(context, &mail, Some(&request)).await?;
    }
    Ok(response::accepted())
}

/// One of the two. A text that cannot be one is wrong as any other is.
fn proof(body: EmailProof) -> Result<Proof, ApiError> {
    match body {
        EmailProof { code: Some(code), token: None } => {
            Code::parse(&code).map(Proof::Code).ok_or(ApiError::InvalidLink)
        }
        EmailProof { code: None, token: Some(token) } => {
            LinkToken::parse(Purpose::Verification, &token).map(Proof::Token).ok_or(ApiError::InvalidLink)
        }
        _ => {
            let message = "must have either code or token".to_owned();
            Err(Rejection::Invalid(vec![FieldError { pointer: String::new(), message }]).into())
        }
    }
}
