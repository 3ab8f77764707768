//! `GET /jobs`, member: `200` with a page of the organization's jobs, newest first. Never cached.

use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::model::job::Job;
use shared::{ApiResult, Context, Request, StatusCode, request, response};

const LIST: &str = "jobs";

/// List the organization's jobs
///
/// Newest first.
///
/// # Errors
/// `422` for a cursor of another list or organization.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs", params(PageQuery),
    responses((status = 200, description = "A page of jobs", body = Page<Job>)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (_, org) = Caller::verify_with_org(context, &request).await?;
    let query: PageQuery = request::query(&request)?;
    let after = org.cursor_key.start(LIST, &query)?;

    let (jobs, next) = context.store().list_jobs(&org, query.limit.get(), after).await?;
    let page = org.cursor_key.page(LIST, jobs.iter().map(Job::from).collect(), next);
    Ok(response::live(response::json(StatusCode::OK, &page)))
}
