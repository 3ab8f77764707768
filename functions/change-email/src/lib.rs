//! `PUT /me/email`, fresh session: `202` always, the same for every address; the address is confirmed by what goes there.

use deserr::Deserr;
use shared::account_mail::PendingMail;
use shared::caller::Caller;
use shared::model::account_mail::AccountMail;
use shared::model::text::Email;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, request, response};
use utoipa::ToSchema;

/// The address that is to be the account's.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com"})))]
pub struct NewAddress {
    email: Email,
}

/// Change the own address
///
/// A code and a link go to the new address. `POST /auth/verify-email` takes either, in the session that asked, for 24 hours; then the address
/// changes, and all other sessions of the user end. The address before is told, and for 7 days a link there undoes it. What was sent for
/// an address that was asked for before is void. The reply is the same whether an account has the address or not, and however often it is
/// asked: at most 10 are sent for an account in 7 days.
///
/// # Errors
/// `403 reauthentication_required`.
#[utoipa::path(put, path = "/me/email", operation_id = "change_email", tag = "users", request_body = NewAddress,
    responses((status = 202, description = "A code is sent, unless an account has the address or too many were"),
        (status = 403, description = "The password was not given recently", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    caller.fresh_session(context)?;
    let NewAddress { email } = request::json(&request)?;
    request::untagged(&request)?;

    // Whose address it is by now, nobody looks here: the worker does, and the change itself. Nor does it matter for what was asked before.
    let (user_id, session_id) = (caller.user_id, caller.session_id());
    let mail = AccountMail::EmailChange { user_id, session_id, email: email.as_str().to_owned() };
    let mail = PendingMail::new(context, &mail, Some(&request))?;
    if context.store().ask_for_email_change(user_id, session_id, &mail).await? {
        mail.send(context).await?;
    }

    security_log::record(context, &request, SecurityEvent::EmailChangeRequested { by: &caller }).await;
    Ok(response::accepted())
}
