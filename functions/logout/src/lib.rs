//! `POST /auth/logout`, session: `204`; the token is dead at once.

use lambda_http::http::header::SET_COOKIE;
use shared::caller::Caller;
use shared::model::session;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, request, response};

/// Log out
///
/// The session's token is dead when this returns.
///
/// # Errors
/// `401` without a valid session.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Logged out", headers(("Set-Cookie")))), security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    request::no_body(&request)?;
    caller.end_session(context).await?;
    security_log::record(context, &request, SecurityEvent::LoggedOut { by: &caller }).await;
    let mut reply = response::no_content();
    reply.headers_mut().insert(SET_COOKIE, session::removed_cookie());
    Ok(reply)
}
