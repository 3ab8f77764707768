//! What the organization's plan includes when a job's turn comes: a lower plan ends models and recipients at once, those of
//! jobs that were accepted before too. The record is read right before the call; a plan that changes later finds the call under way.

use crate::outcome::RunOutcome;
use shared::model::email::Message;
use shared::model::job::JobRecord;
use shared::model::org::Plan;
use shared::model::user::UserRecord;
use shared::{ApiError, Context};

/// The end of an analysis by a model that costs something, if the plan has none.
///
/// # Errors
/// When the database is away.
pub async fn forbids_model(context: &Context, job: &JobRecord) -> Result<Option<RunOutcome>, ApiError> {
    if job.rates.is_none() || plan(context, job).await?.has_paid_models() {
        return Ok(None);
    }
    Ok(Some(ended(Plan::BUILTIN_ONLY)))
}

/// The end of an e-mail to anyone but members, if the plan writes to members only.
///
/// # Errors
/// When the database is away.
pub async fn forbids_recipients(
    context: &Context,
    job: &JobRecord,
    message: &Message,
) -> Result<Option<RunOutcome>, ApiError> {
    if plan(context, job).await?.writes_to_anyone() {
        return Ok(None);
    }
    let addresses: Vec<&str> = message.to.as_slice().iter().map(|email| email.as_str()).collect();
    let members = context.store().members_with(job.org_id, &addresses).await?;
    let may = |member: &Option<UserRecord>| member.as_ref().is_some_and(UserRecord::is_verified);
    Ok((!members.iter().all(may)).then(|| ended(Plan::MEMBERS_ONLY)))
}

/// An organization that is gone has the least plan.
async fn plan(context: &Context, job: &JobRecord) -> Result<Plan, ApiError> {
    Ok(context.store().org(job.org_id).await?.map_or(Plan::Free, |org| org.plan))
}

fn ended(detail: &str) -> RunOutcome {
    RunOutcome::failed("plan_forbids", detail)
}
