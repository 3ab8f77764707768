//! `GET /orgs/{org_id}/members`, member: `200` with a page of members.

use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::ids::OrgId;
use shared::model::org::Member;
use shared::{ApiResult, Context, Request, StatusCode, request, response};

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
    let (limit, after) = org.cursor_key.asked(LIST, &request)?;

    let (members, next) = context.store().list_members(org_id, limit, after).await?;

    let page = org.cursor_key.page(LIST, members.into_iter().map(Member::from).collect(), next);
    Ok(response::live(response::json(StatusCode::OK, &page)))
}
