//! `POST /jobs/{job_id}/cancel`, member: `200` with the cancelled job; `202` when it is running, and takes no
//! effect any more; `409` when it has ended or its e-mail is on its way.

use shared::caller::Caller;
use shared::ids::JobId;
use shared::model::job::{Job, JobState};
use shared::store::jobs::Advance;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};

/// How often it is tried while the job changes under it.
const ATTEMPTS: u32 = 6;

/// Cancel a job
///
/// # Errors
/// `404` for a job that is not the organization's, `409 job_ended`.
#[utoipa::path(post, path = "/jobs/{job_id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("job_id" = JobId, Path)),
    responses((status = 200, description = "The cancelled job", body = Job),
        (status = 202, description = "The running job, which will take no effect", body = Job),
        (status = 409, description = "The job has ended, or its e-mail is on its way",
            body = shared::response::ProblemBody, content_type = "application/problem+json")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    let job_id: JobId = request::path(&request, "job_id").parse().map_err(|_| ApiError::NotFound)?;
    for _ in 0..ATTEMPTS {
        let job = context.store().job(caller.org_id, job_id).await?;
        let (cancelled, settlement) = job.cancel(context.now()).ok_or(ApiError::JobEnded)?;
        if context.store().advance_job(&job, &cancelled, &settlement).await? == Advance::Done {
            let status = if cancelled.state == JobState::Running { StatusCode::ACCEPTED } else { StatusCode::OK };
            return Ok(response::live(response::json(status, &Job::from(&cancelled))));
        }
    }
    Err(ApiError::Contended)
}
