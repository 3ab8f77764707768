//! `PUT /me/password`, session: `204`; all other sessions of the user end. `401` for a wrong current password, `429` after too
//! many of those, or too many changes of an account whose address is not proven.

use deserr::Deserr;
use shared::account_mail::PendingMail;
use shared::caller::Caller;
use shared::model::account_mail::AccountMail;
use shared::model::password::{NewPassword, PasswordAttempt};
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, account, password, request, response};
use utoipa::ToSchema;

/// The password as it is, and as it is to be.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"current": "correct horse battery", "password": "nine wooden barrels"})))]
pub struct PasswordChange {
    current: PasswordAttempt,
    password: NewPassword,
}

/// Change the own password
///
/// All other sessions of the user end, no device is known any more, and links to choose another password are void. Its address is told, if that
/// is proven; before it is, the password changes three times a day at most.
///
/// # Errors
/// `401 wrong_credentials` for a wrong current password, `429 too_many_attempts`, `429 rate_limited` before the address is proven.
#[utoipa::path(put, path = "/me/password", operation_id = "change_password", tag = "users",
    request_body = PasswordChange, responses((status = 204, description = "Changed"),
        (status = 409, description = "The account kept changing meanwhile", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let change: PasswordChange = request::json(&request)?;
    request::untagged(&request)?;
    let account = account::prove(context, &request, &caller, change.current).await?;
    let own_words = account::own_words(&account.user, &account.memberships);
    let password_hash = password::hash(change.password, &own_words).await?;

    // An address that nobody has proven may be a stranger's, who has nothing to do with it.
    let told =
        account.user.email_verified_at.map(|_| AccountMail::PasswordChanged { email: account.user.email.clone() });
    let notice = told.map(|mail| PendingMail::new(context, &mail, Some(&request))).transpose()?;
    let (store, address) = (context.store(), account.user.email.clone());
    let changed = store.change_password(caller.acting_session(), account, &password_hash, notice.as_ref()).await;
    account::note_if_changed(context, &request, (caller.user_id, &address), changed).await?;
    if let Some(notice) = notice {
        notice.send(context).await?;
    }

    security_log::record(context, &request, SecurityEvent::PasswordChanged { by: &caller }).await;
    Ok(response::no_content())
}
