//! `GET /me/sessions`, session: `200` with a page of the user's sessions. `DELETE /me/sessions/{session_id}` ends one and
//! `DELETE /me/sessions` all others, `204`: both by a fresh session.

use lambda_http::http::Method;
use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::device::DeviceCookie;
use shared::ids::SessionId;
use shared::model::session::ActiveSession;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiResult, Context, Request, StatusCode, account, request, response};

/// List the own sessions
///
/// Those that are valid, in all organizations, newest first. Of a user with more than a thousand, some are left out, never the one that
/// asks.
///
/// # Errors
/// `401` without a valid session, `422` for a cursor of another list or session.
#[utoipa::path(get, path = "/me/sessions", operation_id = "list_sessions", tag = "users", params(PageQuery),
    responses((status = 200, description = "A page of the user's sessions", body = Page<ActiveSession>)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    if request.method() == Method::DELETE {
        return match request::path(&request, "session_id") {
            "" => end_others(context, request).await,
            _ => end(context, request).await,
        };
    }
    let caller = Caller::verify_user(context, &request).await?;
    let sessions = account::sessions(context, &caller, &request).await?;
    Ok(response::live(response::json(StatusCode::OK, &sessions)))
}

/// End one of the own sessions
///
/// Its token is dead when this returns.
///
/// # Errors
/// `404` for a session that is not the user's; `403 reauthentication_required`.
#[utoipa::path(delete, path = "/me/sessions/{session_id}", operation_id = "end_session", tag = "users",
    params(("session_id" = SessionId, Path, description = "A session of the user's")),
    responses((status = 204, description = "Ended"),
        (status = 403, description = "The password was not given recently", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn end(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let session: SessionId = request::id(&request, "session_id")?;
    let fresh = caller.fresh_session(context)?;
    request::untagged(&request)?;
    context.store().end_session_by_id(fresh, session).await?;
    security_log::record(context, &request, SecurityEvent::SessionEnded { by: &caller, session }).await;
    Ok(response::no_content())
}

/// End all other sessions
///
/// All sessions of the user but the one that asks, in all organizations; log-ins under way, too. Of the devices that the account knows, only
/// the one that asks stays known.
///
/// # Errors
/// `403 reauthentication_required`.
#[utoipa::path(delete, path = "/me/sessions", operation_id = "end_other_sessions", tag = "users",
    responses((status = 204, description = "Ended"),
        (status = 403, description = "The password was not given recently", body = shared::response::ProblemBody),
        (status = 409, description = "The account kept changing meanwhile", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn end_others(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let fresh = caller.fresh_session(context)?;
    request::untagged(&request)?;
    context.store().end_other_sessions(fresh, &DeviceCookie::of(&request)).await?;
    security_log::record(context, &request, SecurityEvent::OtherSessionsEnded { by: &caller }).await;
    Ok(response::no_content())
}
