//! `GET /jobs/{job_id}`, member: `200` with the job as it is now; `409` for one of another version of the service. Never cached.

use shared::caller::Caller;
use shared::ids::JobId;
use shared::model::job::Job;
use shared::{ApiResult, Context, Request, StatusCode, request, response};

/// Get a job
///
/// # Errors
/// `404` for a job that is not the organization's, `409 job_unreadable` for one that another version of the service wrote.
#[utoipa::path(get, path = "/jobs/{job_id}", operation_id = "get_job", tag = "jobs",
    params(("job_id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = Job),
        (status = 409, description = "Another version of the service wrote the job", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let job_id: JobId = request::id(&request, "job_id")?;
    let job = context.store().job(caller.org_id, job_id).await?;
    Ok(response::live(response::json(StatusCode::OK, &Job::from(&job))))
}
