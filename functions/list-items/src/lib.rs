//! `GET /items`, member: `200` with a page of the organization's items, newest first; `304`. Pages are
//! cached, and invalidated by any write of the organization's items.

use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::model::cached::ItemPageKey;
use shared::model::item::{Item, ItemPage};
use shared::{ApiError, ApiResult, Context, Request, response};

const LIST: &str = "items";

/// List the organization's items
///
/// Newest first.
///
/// # Errors
/// `401` without a valid session, `422` for a cursor of another list or organization.
#[utoipa::path(get, path = "/items", operation_id = "list_items", tag = "items",
    params(PageQuery, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "A page of items", body = Page<Item>),
        (status = 304, description = "The copy held is current")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (caller, org) = Caller::verify_with_org(context, &request).await?;
    let (limit, after) = org.cursor_key.asked(LIST, &request)?;

    let key = ItemPageKey { org_id: caller.org_id, limit, after, spread: org.spread_from.is_some() };
    let look_up = context.cache().get_or_fill(&key, || async {
        let (items, next) = context.store().list_items(&org, limit, after).await?;
        let page = org.cursor_key.page(LIST, items.into_iter().map(Item::from).collect(), next);
        Ok::<_, ApiError>(Some(ItemPage::new(&page)))
    });
    let page = caller.counted(context, Some(org.plan), look_up).await??.ok_or(ApiError::NotFound)?;

    Ok(response::representation_text(&request, response::PRIVATE, page.json))
}
