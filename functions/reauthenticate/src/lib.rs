//! `POST /auth/reauthenticate`, session: `204`; the session is fresh for 10 minutes. `401` for a wrong password, `429` after too
//! many of those.

use deserr::Deserr;
use shared::caller::Caller;
use shared::model::password::PasswordAttempt;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, account, request, response};
use utoipa::ToSchema;

/// The password, once more.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"password": "correct horse battery"})))]
pub struct Reauthentication {
    password: PasswordAttempt,
}

/// Give the password once more
///
/// The session is fresh for 10 minutes, as after a log-in: it may end other sessions and change the address.
///
/// # Errors
/// `401 wrong_credentials`, `429 too_many_attempts`.
#[utoipa::path(post, path = "/auth/reauthenticate", operation_id = "reauthenticate", tag = "auth",
    request_body = Reauthentication, responses((status = 204, description = "The session is fresh")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let body: Reauthentication = request::json(&request)?;
    let account = account::prove(context, &request, &caller, body.password).await?;

    let address = &account.user.email;
    let refreshed = context.store().refresh_session(caller.acting_session(), address, &account.login).await;
    account::note_if_changed(context, &request, (caller.user_id, address), refreshed).await?;

    security_log::record(context, &request, SecurityEvent::Reauthenticated { by: &caller }).await;
    Ok(response::no_content())
}
