//! `GET /orgs/{org_id}/members`, member: `200` with a page of members.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::CACHE_CONTROL;
use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::ids::OrgId;
use shared::model::org::Member;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};

const LIST: &str = "members";

/// List the organization's members
///
/// # Errors
/// `401` without a valid session, `404` for another organization, `422` for a cursor of another list.
#[utoipa::path(get, path = "/orgs/{org_id}/members", operation_id = "list_members", tag = "members",
    params(("org_id" = OrgId, Path, description = "The session's organization"), PageQuery),
    responses((status = 200, description = "A page of members", body = Page<Member>)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (caller, org) = Caller::verify_with_org(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    let query: PageQuery = request::query(&request)?;
    let after = query.cursor.map(|cursor| org.cursor_key.open(LIST, &cursor)).transpose()?;
    let after = after.map(|id| id.parse()).transpose().map_err(ApiError::internal)?;

    let (data, next) = context.store().list_members(org_id, query.limit.get(), after).await?;

    let next_cursor = next.map(|user| org.cursor_key.seal(LIST, &user.to_string()));
    let mut reply = response::json(StatusCode::OK, &Page { data, next_cursor });
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}
