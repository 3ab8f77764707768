//! `GET /jobs`, member: `200` with a page of the organization's jobs, newest first. Never cached.

use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::model::job::Job;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};

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
    let (caller, org) = Caller::verify_with_org(context, &request).await?;
    let query: PageQuery = request::query(&request)?;
    let after = query.cursor.map(|cursor| org.cursor_key.open(LIST, &cursor)).transpose()?;
    let after = after.map(|id| id.parse()).transpose().map_err(ApiError::internal)?;

    let (jobs, more) = context.store().list_jobs(caller.org_id, query.limit.get(), after).await?;
    let last = jobs.last().filter(|_| more);
    let next_cursor = last.map(|job| org.cursor_key.seal(LIST, &job.job_id.to_string()));
    let page = Page { data: jobs.iter().map(Job::from).collect(), next_cursor };
    Ok(response::live(response::json(StatusCode::OK, &page)))
}
