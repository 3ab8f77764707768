//! `PATCH /items/{item_id}`, member: `200` with the item as it is then; `404`; `412`.

use shared::caller::Caller;
use shared::conditional::Expected;
use shared::ids::ItemId;
use shared::model::item::{Item, ItemChanges};
use shared::request::Rejection;
use shared::{ApiResult, Context, Request, StatusCode, request, response};

/// Change an item
///
/// What is left out stays as it is; `null` removes the description.
///
/// # Errors
/// `401` without a valid session, `404` for no such item of the organization, `412` if it is not as
/// `If-Match` or `If-None-Match` demands.
#[utoipa::path(patch, path = "/items/{item_id}", operation_id = "update_item", tag = "items",
    request_body = ItemChanges,
    params(("item_id" = ItemId, Path, description = "The item"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what is to be changed; an empty one matches nothing"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`, or `*`, of what is not to be changed")),
    responses((status = 200, description = "The changed item", body = Item)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    context.cache().connect();
    let caller = Caller::verify(context, &request).await?;
    let item_id: ItemId = request::id(&request, "item_id")?;
    let changes: ItemChanges = request::json(&request)?;
    if changes.is_empty() {
        return Err(Rejection::field("", "must change something").into());
    }

    let current = async {
        let item = context.store().item(caller.org_id, item_id).await?;
        Ok((item.version, Item::from(item)))
    };
    let expected = Expected::of(&request, current).await;
    let written = context.store().update_item(caller.org_id, item_id, changes, expected).await;
    let item = written.publish(context.cache()).await?;

    Ok(response::written(StatusCode::OK, &Item::from(item)))
}
