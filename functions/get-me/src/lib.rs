//! `GET /me`, session: `200` with the own account and the organizations it is a member of.

use shared::caller::Caller;
use shared::model::user::Me;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, response};

/// Get the own account
///
/// # Errors
/// `401` without a valid session.
#[utoipa::path(get, path = "/me", operation_id = "get_me", tag = "users",
    responses((status = 200, description = "The account, its organizations and roles", body = Me)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let (user, memberships) =
        context.store().user_with_memberships(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    let version = user.version;
    let reply = response::with_etag(response::json(StatusCode::OK, &Me::new(user, memberships)), version);
    // The tag is the account's version, for If-Match; roles change without it, so it validates no copy.
    Ok(response::live(reply))
}
