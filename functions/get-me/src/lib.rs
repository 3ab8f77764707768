//! `GET /me`, session: `200` with the own account and the organizations it is a member of.

use shared::caller::Caller;
use shared::model::user::Me;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, response};

/// Get the own account
///
/// # Errors
/// `401` without a valid session.
#[utoipa::path(get, path = "/me", operation_id = "get_me", tag = "users",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The account, its organizations and roles", body = Me),
        (status = 304, description = "The copy held is current")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify_user(context, &request).await?;
    let (user, memberships) =
        context.store().user_with_memberships(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    // The tag is for If-Match: nobody keeps a copy that it could validate.
    Ok(response::live(response::written(StatusCode::OK, &Me::new(user, memberships))))
}
