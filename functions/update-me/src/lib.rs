//! `PATCH /me`, session: `200` with the own account as it is then; the public profile is renewed.

use deserr::Deserr;
use shared::caller::Caller;
use shared::conditional::Expected;
use shared::model::text::Name;
use shared::model::user::Me;
use shared::request::FieldErrors;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

/// Changes to the own account.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"name": "Ada King"})))]
pub struct AccountChanges {
    name: Name,
}

/// Change the own account
///
/// # Errors
/// `401` without a valid session, `412` if it is not as `If-Match` or `If-None-Match` demands.
#[utoipa::path(patch, path = "/me", operation_id = "update_me", tag = "users", request_body = AccountChanges,
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be changed; an empty one matches nothing"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`, or `*`, of what is not to be changed")),
    responses((status = 200, description = "The changed account", body = Me)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    context.cache().connect();
    let caller = Caller::verify_user(context, &request).await?;
    let changes: AccountChanges = request::json(&request)?;

    // Read before the write: what is done is answered, whatever can be read then.
    let account = context.store().user_with_memberships(caller.user_id).await?;
    let (user, memberships) = account.ok_or(ApiError::InvalidToken)?;
    let current = async { Ok((user.version, Me::new(user, memberships.clone()))) };
    let expected = Expected::of(&request, current).await;
    let written = context.store().rename_user(caller.user_id, &changes.name, expected).await;
    let renamed = written.publish(context.cache()).await?;

    Ok(response::written(StatusCode::OK, &Me::new(renamed, memberships)))
}
