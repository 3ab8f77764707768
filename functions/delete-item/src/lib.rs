//! `DELETE /items/{item_id}`, member: `204`; `404`; `412`.

use shared::caller::Caller;
use shared::conditional::Expected;
use shared::ids::ItemId;
use shared::model::item::Item;
use shared::{ApiResult, Context, Request, request, response};

/// Delete an item
///
/// # Errors
/// `401` without a valid session, `404` for no such item of the organization, `412` if it is not as
/// `If-Match` or `If-None-Match` demands.
#[utoipa::path(delete, path = "/items/{item_id}", operation_id = "delete_item", tag = "items",
    params(("item_id" = ItemId, Path, description = "The item"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be deleted; an empty one matches nothing"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`, or `*`, of what is not to be deleted")),
    responses((status = 204, description = "Deleted")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    context.cache().connect();
    let caller = Caller::verify(context, &request).await?;
    let item_id: ItemId = request::id(&request, "item_id")?;

    let current = async {
        let item = context.store().item(caller.org_id, item_id).await?;
        Ok((item.version, Item::from(item)))
    };
    let expected = Expected::of(&request, current).await;
    let written = context.store().delete_item(caller.org_id, item_id, expected).await;
    written.publish(context.cache()).await?;

    Ok(response::no_content())
}
