//! One job from its message to its outcome: claimed by condition, run within the time left, its outcome
//! written only if the claim is still ours.

use crate::analysis::{AnalysisError, Billed, Provider};
use crate::outcome::{Ended, of_analysis, of_email, unknown};
use crate::{Verdict, Worker};
use futures_util::FutureExt as _;
use shared::jobs::JobMessage;
use shared::model::email::Message;
use shared::model::job::{ATTEMPTS_MAX, Claim, Cost, JobError, JobKind, JobRecord, JobState};
use shared::model::time::Moment;
use shared::store::jobs::Advance;
use shared::{ApiError, Context};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How often a write is tried whose job changed meanwhile.
const WRITES: u32 = 6;
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
    let store = context.store();
    for _ in 0..WRITES {
        let job = match store.job(message.org_id, message.job_id).await {
            Err(ApiError::NotFound) => {
                tracing::warn!("a message's job does not exist");
                return Ok(None);
            }
            job => job?,
        };
        let now = context.now();
        match job.claim(now) {
            // Its own entry in the index of what is due watches over it: this message is not needed.
            Claim::Leave => return Ok(None),
            Claim::End(ended, settlement) => {
                if store.advance_job(&job, &ended, &settlement).await? == Advance::Done {
                    return Ok(None);
                }
            }
            Claim::Run(mine) => match store.advance_job(&job, &mine, &job.takeover_charge()).await? {
                Advance::Done => return Ok(Some(*mine)),
                Advance::Changed => {}
                Advance::OverBudget => {
                    let (ended, settlement) = over_budget(&job, Cost::Unknown, now);
                    if store.advance_job(&job, &ended, &settlement).await? == Advance::Done {
                        return Ok(None);
                    }
                }
            },
        }
    }
    Err(ApiError::Contended)
}

fn over_budget(job: &JobRecord, cost: Cost, now: Moment) -> (JobRecord, shared::model::job::Settlement) {
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
        let billed = if matches!(provider, Provider::Builtin) { Billed::Nothing } else { Billed::Unknown };
        Err(AnalysisError::Transient { retry_after: None, detail: detail.to_owned(), billed })
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
    let store = context.store();
    let mut job = mine;
    let fence = job.fence;
    let mut delay = delay(job.attempts);
    for _ in 0..WRITES {
        let now = context.now();
        let mut verdict = Verdict::Delete;
        let (after, settlement) = match &ended {
            Ended::For(_, _, cost) | Ended::Later { cost, .. } if job.cancel_requested => {
                job.end(JobState::Cancelled, Err(None), *cost, now)
            }
            Ended::For(state, outcome, cost) => {
                let outcome = outcome.as_ref().map(|result| (**result).clone()).map_err(|error| Some(error.clone()));
                job.end(*state, outcome, *cost, now)
            }
            Ended::Later { detail, cost, .. } if job.attempts >= ATTEMPTS_MAX || receives >= ATTEMPTS_MAX => {
                // Its message goes to the dead-letter queue, where a person finds it.
                verdict = Verdict::Return(Some(Duration::ZERO));
                job.end(JobState::Failed, Err(Some(JobError::new("attempts_exhausted", detail))), *cost, now)
            }
            Ended::Later { retry_after, cost, .. } => {
                delay = delay.max(retry_after.unwrap_or_default());
                verdict = Verdict::Return(Some(delay));
                job.retry(delay, *cost, now)
            }
        };
        match store.advance_job(&job, &after, &settlement).await? {
            Advance::Done => return Ok(verdict),
            Advance::OverBudget => {
                let cost = match &ended {
                    Ended::For(_, _, cost) | Ended::Later { cost, .. } => *cost,
                };
                let (after, settlement) = over_budget(&job, cost, now);
                if store.advance_job(&job, &after, &settlement).await? == Advance::Done {
                    return Ok(Verdict::Delete);
                }
            }
            Advance::Changed => {}
        }
        job = store.job(job.org_id, job.job_id).await?;
        if job.fence != fence || job.state != JobState::Running {
            tracing::warn!(fence, "a job was taken over: this run's outcome is dropped");
            return Ok(Verdict::Delete);
        }
    }
    Err(ApiError::Contended)
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
