//! One job from its message to its outcome: claimed by condition, run within the time left, its outcome
//! written only if the claim is still ours.

use crate::analysis::{AnalysisError, Provider};
use crate::outcome::{Ended, of_analysis, of_email, unknown};
use crate::{Verdict, Worker};
use futures_util::FutureExt as _;
use shared::jobs::JobMessage;
use shared::model::analysis::Cost;
use shared::model::email::Message;
use shared::model::job::{ATTEMPTS_MAX, Claim, JobError, JobKind, JobRecord, JobState, Settlement};
use shared::model::time::Moment;
use shared::store::jobs::{Advance, Change};
use shared::{ApiError, Context};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// Kept back from the time left, for writing the outcome.
const TIME_TO_WRITE: Duration = Duration::from_secs(3);
/// The first delay between two runs; each next one is four times as long.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest delay that we choose ourselves.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Runs the job of a message that was received so often.
pub(crate) async fn run(
    worker: &Worker,
    message: JobMessage,
    receives: u32,
    deadline: Moment,
) -> Result<Verdict, ApiError> {
    let Some(job) = claim(&worker.context, message).await? else { return Ok(Verdict::Delete) };
    let left_ms = deadline.as_millis() - worker.context.now().as_millis();
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).saturating_sub(TIME_TO_WRITE);
    let (job, ended) = match job.kind {
        JobKind::Analyze => {
            let ended = analyze(worker, &job, left).await?;
            (job, ended)
        }
        JobKind::SendEmail => match send(worker, job, left).await? {
            Some(sent) => sent,
            None => return Ok(Verdict::Delete),
        },
    };
    write(&worker.context, job, ended, receives).await
}

/// Makes the job ours; `None` if it is nobody's to run.
async fn claim(context: &Context, message: JobMessage) -> Result<Option<JobRecord>, ApiError> {
    let claimed = context.store().change_job(message.org_id, message.job_id, |job| {
        let now = context.now();
        Ok(match job.claim(now) {
            // Its own entry in the index of what is due watches over it: this message is not needed.
            Claim::Leave => Change::none(false),
            Claim::End(ended, settlement) => Change::to((*ended, settlement), false),
            Claim::Run(mine) => Change::to((*mine, job.takeover_charge()), true)
                .or_over_budget(Change::to(over_budget(job, Cost::Unknown, now), false)),
        })
    });
    match claimed.await {
        Ok((job, is_ours)) => Ok(is_ours.then_some(job)),
        Err(ApiError::NotFound) => {
            tracing::warn!("a message's job does not exist");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn over_budget(job: &JobRecord, cost: Cost, now: Moment) -> (JobRecord, Settlement) {
    let error = JobError::new("budget_exceeded", "The month's budget has no room for another run.");
    job.end(JobState::Failed, Err(Some(error)), cost, now)
}

async fn analyze(worker: &Worker, job: &JobRecord, left: Duration) -> Result<Ended, ApiError> {
    let text = match worker.context.store().job_input(job).await {
        Err(ApiError::NotFound) => return Ok(expired()),
        text => text?,
    };
    let model = job.model.as_deref().unwrap_or_default();
    let Some(provider) = worker.provider(model) else {
        let error = JobError::new("model_unavailable", "The model is no longer on offer.");
        return Ok(Ended::For(JobState::Failed, Err(error), Cost::Nothing));
    };
    let late = |detail: &str| {
        let cost = if matches!(provider, Provider::Builtin) { Cost::Nothing } else { Cost::Unknown };
        Err(AnalysisError::Transient { retry_after: None, detail: detail.to_owned(), cost })
    };
    let call = AssertUnwindSafe(provider.analyze(text, model)).catch_unwind();
    let outcome = match tokio::time::timeout(left, call).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => late("the analysis stopped unexpectedly"),
        Err(_) => late("the analysis took too long"),
    };
    Ok(of_analysis(job, outcome))
}

/// Notes that the e-mail may be out, then hands it over. `None` if the job is no longer to be run.
async fn send(worker: &Worker, job: JobRecord, left: Duration) -> Result<Option<(JobRecord, Ended)>, ApiError> {
    let store = worker.context.store();
    let message: Message = match store.job_input(&job).await {
        Err(ApiError::NotFound) => return Ok(Some((job, expired()))),
        text => serde_json::from_str(&text?).map_err(ApiError::internal)?,
    };
    if !store.suppressed(message.to.as_slice()).await?.is_empty() {
        let error = JobError::new("recipient_suppressed", "A recipient is on the suppression list.");
        return Ok(Some((job, Ended::For(JobState::Failed, Err(error), Cost::Nothing))));
    }
    let sending = job.sending();
    if store.advance_job(&job, &sending, &Default::default()).await? != Advance::Done {
        // Cancelled meanwhile, or no longer ours.
        let error = JobError::new("cancelled", "Cancelled while running.");
        write(&worker.context, job, Ended::For(JobState::Failed, Err(error), Cost::Nothing), 1).await?;
        return Ok(None);
    }
    let call = AssertUnwindSafe(worker.mailer.send(sending.org_id, sending.job_id, &message)).catch_unwind();
    let ended = match tokio::time::timeout(left, call).await {
        Ok(Ok(outcome)) => of_email(outcome),
        Ok(Err(_panic)) => unknown("The hand-over stopped unexpectedly. The e-mail is not sent again."),
        Err(_) => unknown("The mail service did not answer in time. The e-mail is not sent again."),
    };
    Ok(Some((sending, ended)))
}

fn expired() -> Ended {
    let error = JobError::new("input_expired", "The job's input is no longer kept.");
    Ended::For(JobState::Failed, Err(error), Cost::Nothing)
}

/// Writes how the run ended, if the job is still ours.
async fn write(context: &Context, mine: JobRecord, ended: Ended, receives: u32) -> Result<Verdict, ApiError> {
    let (fence, delay) = (mine.fence, delay(mine.attempts));
    let written = context.store().change_job_as_read(mine, |job| {
        if job.fence != fence || job.state != JobState::Running {
            tracing::warn!(fence, "a job was taken over: this run's outcome is dropped");
            return Ok(Change::none(Verdict::Delete));
        }
        let now = context.now();
        let (next, verdict) = after_run(job, &ended, receives, delay, now);
        let over_budget = Change::to(over_budget(job, ended.cost(), now), Verdict::Delete);
        Ok(Change::to(next, verdict).or_over_budget(over_budget))
    });
    Ok(written.await?.1)
}

/// What a job is after a run of it, and what becomes of its message.
fn after_run(
    job: &JobRecord,
    ended: &Ended,
    receives: u32,
    delay: Duration,
    now: Moment,
) -> ((JobRecord, Settlement), Verdict) {
    match ended {
        _ if job.cancel_requested => (job.end(JobState::Cancelled, Err(None), ended.cost(), now), Verdict::Delete),
        Ended::For(state, outcome, cost) => {
            let outcome = outcome.as_ref().map(|result| (**result).clone()).map_err(|error| Some(error.clone()));
            (job.end(*state, outcome, *cost, now), Verdict::Delete)
        }
        Ended::Later { detail, cost, .. } if job.attempts >= ATTEMPTS_MAX || receives >= ATTEMPTS_MAX => {
            let error = JobError::new("attempts_exhausted", detail);
            // Its message goes to the dead-letter queue, where a person finds it.
            (job.end(JobState::Failed, Err(Some(error)), *cost, now), Verdict::Return(Some(Duration::ZERO)))
        }
        Ended::Later { retry_after, cost, .. } => {
            let delay = delay.max(retry_after.unwrap_or_default());
            (job.retry(delay, *cost, now), Verdict::Return(Some(delay)))
        }
    }
}

/// Grows with the runs; its second half is random, so that jobs that failed together do not come together.
fn delay(attempts: u32) -> Duration {
    let factor = 4u32.saturating_pow(attempts.saturating_sub(1));
    let full = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
    let half_ms = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    let random = u64::from(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), attempts) as u32);
    Duration::from_millis(half_ms + random % half_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        for attempts in 1..40 {
            let full = FIRST_DELAY.saturating_mul(4u32.saturating_pow(attempts - 1)).min(LONGEST_DELAY);
            assert!((full / 2..=full).contains(&delay(attempts)), "{attempts}");
        }
    }
}
