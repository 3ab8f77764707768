//! `GET /users/{user_id}`, anyone: `200` with the public profile; `304`; `404`. Cached, renewed on update.

use shared::ids::UserId;
use shared::model::cached::ProfileKey;
use shared::model::user::{Profile, PublicProfile};
use shared::{ApiError, ApiResult, Context, Request, request, response};

/// Get a public profile
///
/// # Errors
/// `404` for no such user, or one whose account has ended.
#[utoipa::path(get, path = "/users/{user_id}", operation_id = "get_user", tag = "users",
    params(("user_id" = UserId, Path, description = "The user"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The public profile", body = PublicProfile),
        (status = 304, description = "The copy held is current")))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let user_id: UserId = request::id(&request, "user_id")?;
    let profile = context
        .cache()
        .get_or_fill(&ProfileKey(user_id), || async {
            let user = context.store().user(user_id).await?.filter(|user| !user.has_ended(context.now()));
            Ok::<_, ApiError>(user.map(Profile::from))
        })
        .await?
        .ok_or(ApiError::NotFound)?;
    Ok(response::representation(&request, response::PUBLIC, &PublicProfile::from(profile)))
}
