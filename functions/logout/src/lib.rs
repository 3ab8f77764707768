//! `POST /auth/logout`, session: `204`; the token is dead at once, and its cookie is removed.

use lambda_http::http::header::SET_COOKIE;
use shared::caller::{self, Caller};
use shared::model::session;
use shared::response::{Problem, Reply};
use shared::security_log::{self, SecurityEvent};
use shared::{ApiError, ApiResult, Context, Request, request, response};

/// Log out
///
/// The session's token is dead when this returns. If it came as the cookie, that is removed, also where it was dead before (`401`).
///
/// # Errors
/// `401` without a valid session.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Logged out", headers(("Set-Cookie"))),
        (status = 401, description = "No valid session", body = shared::response::ProblemBody, headers(("Set-Cookie")))),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let by_cookie = caller::is_by_cookie(&request);
    let caller = match Caller::verify_user(context, &request).await {
        // No script can remove it, and the browser would send it for the rest of its 30 days.
        Err(error @ ApiError::InvalidToken) if by_cookie => {
            return Ok(without_cookie(Problem::from(error).into_reply()));
        }
        verified => verified?,
    };
    request::no_body(&request)?;
    caller.end_session(context).await?;
    security_log::record(context, &request, SecurityEvent::LoggedOut { by: &caller }).await;
    let reply = response::no_content();
    Ok(if by_cookie { without_cookie(reply) } else { reply })
}

fn without_cookie(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(SET_COOKIE, session::removed_cookie());
    reply
}
