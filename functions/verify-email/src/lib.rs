//! `POST /auth/verify-email`, session: `200` with the user, whose address is proven by the mail's code or by its link's token: the one
//! that it has, or the one that it is to have (`PUT /me/email`); `400` for one that is wrong, used, void or too old. `POST /auth/verify-email/resend`, session: `202` always.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use shared::account_mail::PendingMail;
use shared::caller::Caller;
use shared::device::DeviceCookie;
use shared::guesses;
use shared::model::account_mail::AccountMail;
use shared::model::proof::{Code, LinkToken, Purpose};
use shared::model::user::{User, UserRecord};
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::store::account_mail::MailLimit;
use shared::store::verification::Proof;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// What the mail said: its code or the token of its link, one of the two.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum EmailProof {
    Code(EmailCode),
    Token(EmailToken),
}

/// The code of the mail.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"code": "K7M2-9QXD"})))]
pub struct EmailCode {
    /// The code, in any case, with or without hyphens and spaces. After 5 codes of an account all are void until another is sent.
    #[schema(max_length = 16)]
    pub code: String,
}

/// The token of the mail's link.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"token": "citv_…"})))]
pub struct EmailToken {
    /// What stands behind the `#` of the link.
    #[schema(max_length = 100)]
    pub token: String,
}

/// Either, as it is read.
#[derive(Debug)]
struct CodeOrToken {
    code: Option<String>,
    token: Option<String>,
}

/// Prove the own address
///
/// A code and a link go to the address of a new account, and to one that an account is to have (`PUT /me/email`). Either works once, for
/// 24 hours; that of a new address in the session that asked for it. All other sessions of the user end with a new address.
///
/// # Errors
/// `400 invalid_link`, `429 too_many_attempts` after too many wrong codes.
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "verify_email", tag = "auth", request_body = EmailProof,
    responses((status = 200, description = "The address is proven", body = User, headers(("Cache-Control"))),
        (status = 400, description = "The code or token is wrong, used, void or too old", body = shared::response::ProblemBody),
        (status = 409, description = "The account kept changing meanwhile", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    if request.uri().path().trim_end_matches('/').ends_with("/resend") {
        return resend(context, request).await;
    }
    let caller = Caller::verify_user(context, &request).await?;
    let given = given(request::json(&request)?)?;
    let user = context.store().user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;

    let (user, event) = match given {
        Given::OfVerification(token) => verify(context, &caller, user, &Proof::Token(token)).await?,
        Given::OfChange(token) => change(context, &request, &caller, user, &Proof::Token(token)).await?,
        Given::Code(code) => Box::pin(compare(context, &request, &caller, user, code)).await?,
    };

    security_log::record(context, &request, event).await;
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
    request::no_body(&request)?;
    let user = context.store().user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    let mail = PendingMail::new(context, &AccountMail::Verification { user_id: user.user_id }, Some(&request))?;
    if user.email_verified_at.is_none()
        && context.store().accept_mail_within(&user.email, MailLimit::RESENT_VERIFICATION, &mail).await?
    {
        mail.send(context).await?;
    }
    Ok(response::accepted())
}

/// Notes that the account's address is proven.
async fn verify<'a>(
    context: &Context,
    caller: &'a Caller,
    user: UserRecord,
    proof: &Proof,
) -> Result<(UserRecord, SecurityEvent<'a>), ApiError> {
    let user = context.store().verify_email(caller.acting_session(), user, proof).await?;
    Ok((user, SecurityEvent::EmailVerified { by: caller }))
}

/// Compares a code. A wrong one, and one too many, stand in the security log.
async fn compare<'a>(
    context: &Context,
    request: &Request,
    caller: &'a Caller,
    user: UserRecord,
    code: Code,
) -> Result<(UserRecord, SecurityEvent<'a>), ApiError> {
    let (proof, address) = (Proof::Code(code), user.email.clone());
    let compared = Box::pin(by_code(context, request, caller, user, &proof));
    let outcome = guesses::compare_code(context, request, (caller.user_id, &address), compared).await;
    let event = match &outcome {
        Err(ApiError::InvalidLink) => Some(SecurityEvent::CodeFailed { by: caller }),
        Err(ApiError::TooManyAttempts { .. }) => Some(SecurityEvent::CodeLimitReached { by: caller }),
        _ => None,
    };
    if let Some(event) = event {
        security_log::record(context, request, event).await;
    }
    outcome
}

/// What a code is for, which it does not say: the address that the account has, if that is not proven, or the one that it is to have.
async fn by_code<'a>(
    context: &Context,
    request: &Request,
    caller: &'a Caller,
    user: UserRecord,
    proof: &Proof,
) -> Result<(UserRecord, SecurityEvent<'a>), ApiError> {
    let verified = match user.email_verified_at {
        None => Box::pin(verify(context, caller, user.clone(), proof)).await,
        Some(_) => Err(ApiError::InvalidLink),
    };
    match verified {
        Err(ApiError::InvalidLink) => Box::pin(change(context, request, caller, user, proof)).await,
        verified => verified,
    }
}

/// Moves the account to the address that is confirmed. The one before is told, if it was proven.
async fn change<'a>(
    context: &Context,
    request: &Request,
    caller: &'a Caller,
    user: UserRecord,
    proof: &Proof,
) -> Result<(UserRecord, SecurityEvent<'a>), ApiError> {
    let (store, user_id, changed_at) = (context.store(), caller.user_id, context.now());
    let moved = store.email_move(user, caller.session_id(), proof).await?;
    let told = moved.told().map(|email| AccountMail::EmailChanged { user_id, email: email.to_owned(), changed_at });
    let notice = told.map(|mail| PendingMail::new(context, &mail, Some(request))).transpose()?;
    let (acting, devices) = (caller.acting_session(), DeviceCookie::of(request));
    let user = Box::pin(store.move_email(acting, moved, changed_at, notice.as_ref(), &devices)).await?;
    if let Some(notice) = notice {
        notice.send(context).await?;
    }
    Ok((user, SecurityEvent::EmailChanged { by: caller }))
}

/// What a body has, one of the two. A token says what it is for.
enum Given {
    Code(Code),
    OfVerification(LinkToken),
    OfChange(LinkToken),
}

/// The body has one of the two. A text that cannot be one is wrong as any other is.
fn given(CodeOrToken { code, token }: CodeOrToken) -> Result<Given, ApiError> {
    if let Some(code) = code {
        return Code::parse(&code).map(Given::Code).ok_or(ApiError::InvalidLink);
    }
    let of = |purpose| token.as_ref().and_then(|token| LinkToken::parse(purpose, token));
    let given = of(Purpose::Verification).map(Given::OfVerification);
    given.or_else(|| of(Purpose::EmailChange).map(Given::OfChange)).ok_or(ApiError::InvalidLink)
}

// By hand: that it has one of the two is told with all else that is wrong.
impl Deserr<FieldErrors> for CodeOrToken {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let mut members = request::members(value, at)?;
        let mut errors = FieldErrors::default();
        let code: Result<Option<String>, _> = request::optional(&mut members, "code", at);
        let token: Result<Option<String>, _> = request::optional(&mut members, "token", at);
        if matches!(code, Ok(None)) == matches!(token, Ok(None)) {
            errors.note::<()>(Err(FieldErrors::at(at, "must have either code or token")));
        }
        let (code, token) = (errors.note(code).flatten(), errors.note(token).flatten());
        errors.note_rest(members, at, &["code", "token"]);
        errors.unless_noted(Some(Self { code, token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::request::Rejection;

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        for (body, pointers) in [
            (r#"{"x":1}"#, vec!["", "/x"]),
            (r#"{"code":5,"token":"x"}"#, vec!["", "/code"]),
            (r#"{"code":"x","token":null,"x":1}"#, vec!["/x"]),
        ] {
            let Err(Rejection::Invalid(errors)) = request::parse::<CodeOrToken>(body.as_bytes()) else {
                panic!("{body}")
            };
            assert_eq!(errors.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>(), pointers, "{body}");
        }
        assert!(request::parse::<CodeOrToken>(br#"{"code":null,"token":"x"}"#).is_ok());
    }
}
