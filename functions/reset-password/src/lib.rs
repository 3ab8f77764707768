//! `POST /auth/reset-password`, whoever has the mail's link: `200` with user, organization and token, as a log-in; `400` for a link that
//! is wrong, used, void or too old.

use deserr::Deserr;
use shared::account;
use shared::account_mail::PendingMail;
use shared::device::{Device, DeviceCookie};
use shared::model::account_mail::AccountMail;
use shared::model::password::NewPassword;
use shared::model::proof::{LinkToken, Purpose};
use shared::model::session::{Session, SessionCarrier};
use shared::network::Origin;
use shared::request::FieldErrors;
use shared::security_log::{self, Actor, SecurityEvent};
use shared::store::resets::{OnlySession, PasswordReset};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, password, request};
use utoipa::ToSchema;

/// What the mail's link said, and the password as it is to be.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"token": "citr_…", "password": "nine wooden barrels"})))]
pub struct PasswordByLink {
    /// What stands behind the `#` of the link.
    #[schema(max_length = 100)]
    token: String,
    password: NewPassword,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    #[deserr(default)]
    session: Option<SessionCarrier>,
}

/// Change a forgotten password
///
/// The link works once, within 30 minutes, unless the password or the address was changed meanwhile. All sessions of the user end, all devices
/// are forgotten, a new session begins, and the address is proven.
///
/// The link that goes to the address before when an address is changed does the same for 7 days, and gives the account back to it. The
/// address that loses the account is told.
///
/// # Errors
/// `400 invalid_link`.
#[utoipa::path(post, path = "/auth/reset-password", operation_id = "reset_password", tag = "auth", request_body = PasswordByLink,
    responses((status = 200, description = "Changed, and logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 400, description = "The link is wrong, used, void or too old", body = shared::response::ProblemBody),
        (status = 409, description = "The account kept changing meanwhile", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let PasswordByLink { token, password, session: carrier } = request::json(&request)?;
    let store = context.store();
    // A link is looked up before a password is hashed: without one that is good, nobody makes us compute.
    let link = |purpose| LinkToken::parse(purpose, &token);
    let opened = match (link(Purpose::PasswordReset), link(Purpose::EmailUndo)) {
        (Some(link), _) => store.opened_by(link).await?,
        (None, Some(link)) => store.opened_for_undo(link).await?,
        (None, None) => return Err(ApiError::InvalidLink),
    };
    let mut own_words = account::own_words(&opened.user, &opened.memberships);
    own_words.push(opened.address());
    let password_hash = password::hash(password, &own_words).await?;

    let told = AccountMail::PasswordChanged { email: opened.address().to_owned() };
    let notice = PendingMail::new(context, &told, Some(&request))?;
    let loss = opened.loses().map(|email| AccountMail::EmailUndone { email: email.to_owned() });
    let loss = loss.map(|mail| PendingMail::new(context, &mail, Some(&request))).transpose()?;
    let device = carrier.map(|SessionCarrier::Cookie| Device::generate()).transpose().map_err(ApiError::internal)?;
    let reset = PasswordReset {
        password_hash,
        origin: Origin::of(&request),
        device: device.as_ref(),
        notice: &notice,
        loss: loss.as_ref(),
    };
    let is_undone = opened.is_undone();
    let begun = Box::pin(store.reset_password(opened, &reset)).await?;
    let OnlySession { user, org_id, org, session_id, token, expires_at } = begun;
    notice.send(context).await?;
    if let Some(loss) = loss {
        loss.send(context).await?;
    }

    let by = Actor { user_id: user.user_id, org_id, session_id };
    let undone = SecurityEvent::EmailChangeUndone { by };
    let event = if is_undone { undone } else { SecurityEvent::PasswordReset { by } };
    security_log::record(context, &request, event).await;
    let devices = device.map(|device| DeviceCookie::of(&request).with(device));
    Ok(Session::new(user, org, &token, expires_at).reply(StatusCode::OK, &token, carrier, devices.as_ref()))
}
