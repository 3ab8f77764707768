//! `DELETE /items/{item_id}`, member: `204`; `404`; `412`.

use shared::caller::Caller;
use shared::ids::ItemId;
use shared::request::IfMatch;
use shared::{ApiResult, Context, Request, request, response};

/// Delete an item
///
/// # Errors
/// `401` without a valid session, `404` for no such item of the organization, `412` if `If-Match` names
/// another version.
#[utoipa::path(delete, path = "/items/{item_id}", operation_id = "delete_item", tag = "items",
    params(("item_id" = ItemId, Path, description = "The item"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to delete")),
    responses((status = 204, description = "Deleted")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let item_id: ItemId = request::id(&request, "item_id")?;

    let written = context.store().delete_item(caller.org_id, item_id, &IfMatch::of(&request)).await?;
    written.publish(context.cache()).await;

    Ok(response::no_content())
}
