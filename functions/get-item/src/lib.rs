//! `GET /items/{item_id}`, member: `200` with the item; `304`; `404`.

use shared::caller::Caller;
use shared::ids::ItemId;
use shared::model::item::Item;
use shared::{ApiResult, Context, Request, request, response};

/// Get an item
///
/// # Errors
/// `401` without a valid session, `404` for no such item of the organization.
#[utoipa::path(get, path = "/items/{item_id}", operation_id = "get_item", tag = "items",
    params(("item_id" = ItemId, Path, description = "The item"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The item", body = Item),
        (status = 304, description = "The copy held is current")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let item_id: ItemId = request::id(&request, "item_id")?;
    let item = context.store().item(caller.org_id, item_id).await?;
    Ok(response::representation(&request, response::PRIVATE, &Item::from(item)))
}
