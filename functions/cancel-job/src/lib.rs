//! `POST /jobs/{job_id}/cancel`, member: `200` with the cancelled job; `202` when it is running, and takes no
//! effect any more; `409` when it has ended or its e-mail is on its way.

use shared::caller::Caller;
use shared::ids::JobId;
use shared::model::job::{Job, JobRecord, JobState};
use shared::store::jobs::Change;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};

/// Cancel a job
///
/// # Errors
/// `404` for a job that is not the organization's, `409 job_ended`.
#[utoipa::path(post, path = "/jobs/{job_id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("job_id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The cancelled job", body = Job, headers(("Cache-Control"))),
        (status = 202, description = "The running job, which will take no effect", body = Job, headers(("Cache-Control"))),
        (status = 409, description = "The job has ended, its e-mail is on its way, or it kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let job_id: JobId = request::id(&request, "job_id")?;
    request::no_body(&request)?;

    let cancel = |job: &JobRecord| Ok(Change::to(job.cancel(context.now()).ok_or(ApiError::JobEnded)?, ()));
    let (job, ()) = context.store().change_job(caller.org_id, job_id, cancel).await?;

    let status = if job.state == JobState::Running { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(response::live(response::json(status, &Job::from(&job))))
}
