//! `POST /jobs/{job_id}/retry`, admin: `202` with the job, which failed and is in the queue again; `409` when it did not fail, or nobody
//! knows whether its e-mail was sent.

use shared::cache::Uncached;
use shared::caller::Caller;
use shared::idempotency::IdempotencyKey;
use shared::ids::JobId;
use shared::jobs::{self, Retry};
use shared::model::job::{Job, JobRecord};
use shared::model::org::Role;
use shared::{ApiResult, Context, Request, StatusCode, request, response};

const ENDPOINT: &str = "retry-job";

/// Retry a failed job
///
/// It has all its runs and its whole time before it again, and counts in the month's limit and budget like a new one, as they are now.
///
/// # Errors
/// `403` below admin, `403 email_unverified` before the own address is proven, for an e-mail to others or a model that costs money; `404` for
/// a job that is not the organization's; `409 job_not_failed`, `409 outcome_unknown` for an e-mail that may be
/// out, `409 input_expired` after 30 days; `429 quota_exceeded`, `429 operator_cap_reached`, `402 budget_exceeded`, `403 plan_forbids` for what the plan no longer
/// includes, `422` for a recipient that the organization's settings exclude by now.
#[utoipa::path(post, path = "/jobs/{job_id}/retry", operation_id = "retry_job", tag = "jobs",
    params(("job_id" = JobId, Path, description = "The job"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", min_length = 1, max_length = 255,
            description = "1 to 255 visible ASCII characters. The same key takes effect once for one job")),
    responses((status = 202, description = "The job, in the queue again", body = Job),
        (status = 402, description = "The organization's budget has no room", body = shared::response::ProblemBody),
        (status = 409, description = "The job did not fail, it can no longer be run, it kept changing meanwhile, or a request with this \
                Idempotency-Key is under way",
            body = shared::response::ProblemBody),
        (status = 422, description = "The organization's settings exclude a recipient, the Idempotency-Key came with another job before, or there is a body",
            body = shared::response::ProblemBody),
        (status = 429, description = "The month's limit, or the operator's cap of the day, is reached", body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (caller, org, settings, user) = Caller::verify_with_account(context, &request).await?;
    let by = caller.at_least(Role::Admin)?;
    let job_id: JobId = request::id(&request, "job_id")?;
    let key = IdempotencyKey::of(ENDPOINT, &request).map_err(|wrong| wrong.beside(request::no_body(&request)))?;
    request::no_body(&request)?;
    let key = key.map(|key| key.about(&job_id.to_string()));

    let asked = Retry { by, user: &user, org: &org, settings: &settings, key: key.as_ref() };
    let outcome = jobs::retry(context, asked, job_id, accepted).await;
    context.store().replay_or(org.org_id, key.as_ref(), Uncached, outcome).await.into_result()
}

fn accepted(job: &JobRecord) -> response::Reply {
    response::json(StatusCode::ACCEPTED, &Job::from(job))
}
