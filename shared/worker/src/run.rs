//! One job from its message to its outcome: claimed by condition, run within the time left, its outcome
//! written only if the claim is still ours. What needs no call of its provider ends or waits before one is leased for it.

use crate::batch::Verdict;
use crate::limiter::{Admission, Calls};
use crate::outcome::RunOutcome;
use crate::{TimeLeft, Work, Worker};
use shared::error::chain;
use shared::jobs::JobMessage;
use shared::model::analysis::Cost;
use shared::model::job::{
    ATTEMPTS_EXHAUSTED, ATTEMPTS_MAX, Claim, JobError, JobKind, JobRecord, JobState, UsageDelta, WaitingFor,
};
use shared::model::limiter::Provider;
use shared::model::settings::SettingsRecord;
use shared::model::time::Moment;
use shared::store::jobs::Change;
use shared::telemetry::metrics::{Metric, metrics};
use shared::{ApiError, Context};
use std::time::Duration;

/// The first wait, after a run that failed or was refused; each next one is four times as long.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// Between two tries to write an outcome, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest wait that we choose ourselves.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Runs the job of a message that was received so often.
pub(crate) async fn run<W: Work>(
    worker: &Worker<W>,
    message: JobMessage,
    receives: u32,
    calls: &Calls<'_>,
    time: &TimeLeft<'_>,
) -> Result<Verdict, ApiError> {
    let context = &worker.context;
    let Some(found) = find(context, message, W::KIND).await? else { return Ok(Verdict::Delete) };
    let provider = worker.work.provider(&found).filter(|_| matches!(found.claim(context.now()), Claim::Run(_)));
    let mut probe = None;
    if let Some(provider) = &provider {
        // Boxed, so that a run does not carry its state around.
        if let Some(verdict) = Box::pin(without_call(worker, &found, receives)).await? {
            return Ok(verdict);
        }
        match Box::pin(calls.admit(context, &found, provider, time)).await? {
            Admission::Call(through) => probe = through,
            Admission::Waits(job) => {
                if let Some(job) = job {
                    send_ahead(context, &job).await;
                }
                return Ok(Verdict::Delete);
            }
        }
    }
    let job = match Box::pin(claim(context, found, time)).await {
        Ok(Some(job)) => job,
        ended => {
            asked_nobody(worker, provider.as_ref(), probe).await;
            return ended.map(|_| Verdict::Delete);
        }
    };
    // Boxed, as each of a batch's runs would carry the whole way to its provider around.
    let (job, ended) = match Box::pin(worker.work.run(context, job.clone(), time)).await {
        Ok(Some(ran)) => ran,
        Ok(None) => {
            asked_nobody(worker, provider.as_ref(), probe).await;
            return Ok(Verdict::Delete);
        }
        Err(error) => (job, could_not_begin(&error)),
    };
    if ended.needs_operator() {
        // The job waits, and an alarm reads this (docs/operations.md, "Metrics").
        metrics("CitizenApp/Jobs", None, &[(Metric("OperatorNeeded"), 1.into())]);
    }
    let written = persist(time, || write(context, &job, &ended, receives, time.last_write())).await;
    if let Some(provider) = &provider
        && let Err(error) = Box::pin(worker.work.limiter().note(context, provider, job.job_id, probe, &ended)).await
    {
        tracing::warn!(cause = chain(&error), "what a provider said could not be noted");
    }
    written
}

/// Lets the next job probe at once, where one that was let through as a probe has asked nobody.
async fn asked_nobody<W: Work>(worker: &Worker<W>, provider: Option<&Provider>, probe: Option<u32>) {
    let Some(provider) = provider.filter(|_| probe.is_some()) else { return };
    if let Err(error) = Box::pin(worker.context.store().give_probe_back(provider)).await {
        tracing::warn!(cause = chain(&error), "a probe that asked nobody was not given back");
    }
}

/// What becomes of a job for which its work has nobody called. It is written as the run would have written it, in one step with the claim. `None`
/// if the job is to be run.
async fn without_call<W: Work>(
    worker: &Worker<W>,
    found: &JobRecord,
    receives: u32,
) -> Result<Option<Verdict>, ApiError> {
    if found.reserved_nanos > 0 {
        // What its run may cost is to be held by the claim.
        return Ok(None);
    }
    let context = &worker.context;
    let ended = match worker.work.without_call(context, found).await {
        Ok(None) => return Ok(None),
        Ok(Some(ended)) => ended,
        Err(error) => could_not_begin(&error),
    };
    let written = context.store().change_job_as_read(found.clone(), |job| {
        let now = context.now();
        let Claim::Run(mine) = job.claim(now) else { return Ok(Change::none(Then::Delete)) };
        let (next, then) = after_run(&mine, &ended, receives, now);
        Ok(Change::to(next, then))
    });
    let (job, then) = written.await?;
    Ok(Some(verdict_of(context, &job, then).await))
}

/// A run that could not read what it needs: its job waits, and the run does not count.
fn could_not_begin(error: &ApiError) -> RunOutcome {
    tracing::warn!(cause = chain(&error), "a run could not begin");
    let detail = "a part of this service was away".to_owned();
    RunOutcome::Refused { code: "database", retry_after: None, detail }
}

/// Writes until it is written or the invocation's time is over: what a run gave may be paid for, and is nowhere else. The job's version
/// makes a repetition safe.
async fn persist<F>(time: &TimeLeft<'_>, write: impl Fn() -> F) -> Result<Verdict, ApiError>
where
    F: Future<Output = Result<Verdict, ApiError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let written = tokio::time::timeout(time.for_writing(), write()).await;
        match written.unwrap_or_else(|_| Err(ApiError::Unavailable("no time is left".into()))) {
            Err(error @ (ApiError::Unavailable(_) | ApiError::Contended)) if time.for_writing() > pause => {
                tracing::warn!(cause = chain(&error), "an outcome could not be written yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            written => return written,
        }
    }
}

/// The job of a message; `None` if it is not this worker's.
async fn find(context: &Context, message: JobMessage, kind: JobKind) -> Result<Option<JobRecord>, ApiError> {
    match context.store().job(message.org_id, message.job_id).await {
        Ok(job) if job.kind == kind => Ok(Some(job)),
        Ok(job) => {
            // A message of another queue's: the job's own entry in the index of what is due sends it there.
            tracing::warn!(kind = ?job.kind, "a message came to the worker of another kind");
            Ok(None)
        }
        Err(ApiError::NotFound) => {
            tracing::warn!("a message's job does not exist");
            Ok(None)
        }
        // The log has the cause. The index of what is due watches over it, until a version is back that can read it.
        Err(ApiError::JobUnreadable) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the job ours; `None` if it is nobody's to run. While there is time for its call, it is asked again whether that is written: a claim
/// that nobody knows of would be charged as a run.
async fn claim(context: &Context, found: JobRecord, time: &TimeLeft<'_>) -> Result<Option<JobRecord>, ApiError> {
    let budget = budget_of_now(context, &found, found.takeover_charge().cost_nanos).await?;
    let claimed = context.store().change_job_as_read(found, |job| {
        let (now, job) = (context.now(), &budget.judges(job));
        Ok(match job.claim(now) {
            // Its own entry in the index of what is due watches over it: this message is not needed.
            Claim::Leave => Change::none(false),
            Claim::End(ended, delta) => Change::to((*ended, delta), false),
            Claim::Run(mine) => Change::to((*mine, job.takeover_charge()), true)
                .asked_until(time.last_call())
                .or_over_budget(Change::to(over_budget(job, Cost::Unknown, now), false))
                .or_over_cap(over_cap(job, Cost::Unknown, now, false)),
        })
    });
    match claimed.await {
        Ok((job, true)) => Ok(Some(job)),
        Ok((job, false)) => {
            if job.owes_cap {
                send_ahead(context, &job).await;
            }
            Ok(None)
        }
        // It became so meanwhile.
        Err(ApiError::NotFound | ApiError::JobUnreadable) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn over_budget(job: &JobRecord, cost: Cost, now: Moment) -> (JobRecord, UsageDelta) {
    let error = JobError::new("budget_exceeded", "The month's budget has no room for another run.");
    job.end(JobState::Failed, Err(Some(error)), cost, now)
}

/// It waits for a day that has room, if the month has.
pub(crate) fn over_cap<T: Copy>(job: &JobRecord, cost: Cost, now: Moment, answer: T) -> Change<T> {
    let waits = Change::to(job.waits_for_cap(cost, now), answer);
    waits.or_over_budget(Change::to(over_budget(job, cost, now), answer))
}

/// The budget that another run is judged by: that of now, not of the job's acceptance.
pub(crate) struct Budget(Option<(Option<u64>, u64)>);

impl Budget {
    pub(crate) fn judges(&self, job: &JobRecord) -> JobRecord {
        match self.0 {
            Some((budget_nanos, budget_version)) => JobRecord { budget_nanos, budget_version, ..job.clone() },
            None => job.clone(),
        }
    }
}

/// Reads it where something is charged.
pub(crate) async fn budget_of_now(context: &Context, job: &JobRecord, charged_nanos: u64) -> Result<Budget, ApiError> {
    if charged_nanos == 0 {
        return Ok(Budget(None));
    }
    let SettingsRecord { settings, version } = context.store().org_settings(job.org_id).await?.unwrap_or_default();
    Ok(Budget(Some((settings.budget_nanos(), version))))
}

/// Notes that a claimed job's effect may be under way, which is not to happen twice. `None` if it is no longer to be run: it was
/// cancelled meanwhile, which ends it, or taken over.
///
/// # Errors
/// When the database is away.
pub async fn note_effect(context: &Context, mine: JobRecord) -> Result<Option<JobRecord>, ApiError> {
    let fence = mine.fence;
    let noted = context.store().change_job_as_read(mine, |job| {
        if !is_ours(job, fence) {
            return Ok(Change::none(false));
        }
        Ok(if job.cancel_requested {
            // Nothing was begun, so that was no run.
            Change::to(job.run_taken_back().end(JobState::Cancelled, Err(None), Cost::Nothing, context.now()), false)
        } else {
            Change::to((job.sending(), UsageDelta::default()), true)
        })
    });
    let (job, may_begin) = noted.await?;
    Ok(may_begin.then_some(job))
}

/// Whether a claim still holds its job.
fn is_ours(job: &JobRecord, fence: u64) -> bool {
    let is_ours = job.fence == fence && job.state == JobState::Running;
    if !is_ours {
        tracing::warn!(fence, "a job was taken over: this run's outcome is dropped");
    }
    is_ours
}

/// Writes how the run ended, if the job is still ours. It is asked until a moment whether that is written: whoever wrote it anew would take what
/// the next run may cost of the operator's day once more.
async fn write(
    context: &Context,
    mine: &JobRecord,
    ended: &RunOutcome,
    receives: u32,
    until: Moment,
) -> Result<Verdict, ApiError> {
    let fence = mine.fence;
    let charged_nanos = if matches!(ended, RunOutcome::Retry { .. }) { mine.price(ended.cost()).0 } else { 0 };
    let budget = budget_of_now(context, mine, charged_nanos).await?;
    let written = context.store().change_job_as_read(mine.clone(), |job| {
        let job = &budget.judges(job);
        if !is_ours(job, fence) {
            return Ok(Change::none(Then::Delete));
        }
        let now = context.now();
        let (next, then) = after_run(job, ended, receives, now);
        let over_budget = Change::to(over_budget(job, ended.cost(), now), Then::Delete);
        let over_cap = over_cap(job, ended.cost(), now, Then::SendAnother);
        Ok(Change::to(next, then).asked_until(until).or_over_budget(over_budget).or_over_cap(over_cap))
    });
    let (job, then) = written.await?;
    Ok(verdict_of(context, &job, then).await)
}

/// What becomes of the message of a job that is written.
async fn verdict_of(context: &Context, job: &JobRecord, then: Then) -> Verdict {
    match then {
        Then::Delete => Verdict::Delete,
        Then::Return(after) => Verdict::Return(Some(after)),
        Then::SendAnother => {
            send_ahead(context, job).await;
            Verdict::Delete
        }
    }
}

/// Puts a message of a job that waits on the queue, hidden until it may run: its receives are counted anew. If that is too long, or the
/// queue is away, the index of what is due sends one.
async fn send_ahead(context: &Context, job: &JobRecord) {
    let Some(delay) = job.sent_ahead_by(context.now()) else { return };
    let sent = match context.queue(job.kind) {
        Ok(queue) => queue.send(&JobMessage::hidden(job, delay)).await.map(|_| ()).map_err(ApiError::internal),
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::warn!(cause = chain(&error), "a job waits, and the sweeper has to send its message");
    }
}

/// What becomes of the message of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Delete,
    Return(Duration),
    /// It is deleted, and another one is sent.
    SendAnother,
}

/// What a job is after a run of it, and what becomes of its message.
fn after_run(job: &JobRecord, ended: &RunOutcome, receives: u32, now: Moment) -> ((JobRecord, UsageDelta), Then) {
    match ended {
        RunOutcome::Refused { .. } | RunOutcome::NoTime if job.cancel_requested => {
            (job.run_taken_back().end(JobState::Cancelled, Err(None), Cost::Nothing, now), Then::Delete)
        }
        _ if job.cancel_requested => (job.end(JobState::Cancelled, Err(None), ended.cost(), now), Then::Delete),
        RunOutcome::Final(state, outcome, cost) => {
            let outcome = outcome.as_ref().map(|result| (**result).clone()).map_err(|error| Some(error.clone()));
            (job.end(*state, outcome, *cost, now), Then::Delete)
        }
        RunOutcome::Refused { code, retry_after, detail } => {
            let delay = delay(job.refusals.saturating_add(1)).max(retry_after.unwrap_or_default());
            (job.refused(delay, WaitingFor::new(code, detail), now), Then::SendAnother)
        }
        RunOutcome::NoTime if receives < ATTEMPTS_MAX => (job.not_begun(now), Then::Return(Duration::ZERO)),
        RunOutcome::NoTime => (job.not_begun(now), Then::SendAnother),
        RunOutcome::Retry { detail, cost, .. } if job.attempts >= ATTEMPTS_MAX => {
            let error = JobError::new(ATTEMPTS_EXHAUSTED, detail);
            // It rests in the index of failed jobs, from where it can be retried; the dead-letter queue is for what cannot be read.
            (job.end(JobState::Failed, Err(Some(error)), *cost, now), Then::Delete)
        }
        RunOutcome::Retry { retry_after, detail, cost } => {
            // Once its time is over, nobody's word holds up the runs that it has left.
            let asked_for = retry_after.filter(|_| job.give_up_at.is_none_or(|at| now < at));
            let delay = delay(job.attempts).max(asked_for.unwrap_or_default());
            let (waits, charged) = job.retry(delay, *cost, detail, now);
            let then = match waits.sent_ahead_by(now) {
                Some(hidden) if receives < ATTEMPTS_MAX => Then::Return(hidden),
                _ => Then::SendAnother,
            };
            ((waits, charged), then)
        }
    }
}

/// The wait after so many runs or refusals; its second half is random, so that jobs that failed together do not come together.
pub(crate) fn delay(times: u32) -> Duration {
    let factor = 4u32.saturating_pow(times.saturating_sub(1));
    let full = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
    let half_ms = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX).max(1);
    let random = u64::from(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), times) as u32);
    Duration::from_millis(half_ms + random % half_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use shared::ids::{JobId, OrgId, UserId};

    fn running(attempts: u32) -> JobRecord {
        let (org, user, job) = (OrgId::new(), UserId::new(), JobId::new());
        let job = json!({"job_id": job, "org_id": org, "user_id": user, "kind": "analyze", "state": "running",
            "attempts": attempts, "fence": 1, "lease_until": 75_000, "sending": false, "cancel_requested": false,
            "created_at": 0, "month": "1970-01", "reserved_nanos": 0, "charged_nanos": 0, "input_pieces": 1, "version": 1});
        serde_json::from_value(job).expect("a job")
    }

    /// A message that was received often is deleted, and another one sent. So is one that would have to be hidden for too long.
    #[test]
    fn no_message_of_a_job_that_goes_on_is_buried() {
        let (now, detail) = (Moment::from_millis(1_000), "why".to_owned());
        let later = |seconds| RunOutcome::Retry {
            retry_after: Some(Duration::from_secs(seconds)),
            detail: "why".into(),
            cost: Cost::Nothing,
        };
        let then = |job: JobRecord, ended: RunOutcome, receives| {
            let ((next, _), then) = after_run(&job, &ended, receives, now);
            (next.state, then)
        };
        let last = ATTEMPTS_MAX - 1;
        assert_eq!(then(running(1), RunOutcome::NoTime, last), (JobState::Queued, Then::Return(Duration::ZERO)));
        assert_eq!(then(running(1), RunOutcome::NoTime, ATTEMPTS_MAX), (JobState::Queued, Then::SendAnother));
        assert_eq!(then(running(1), later(9), last), (JobState::Queued, Then::Return(Duration::from_secs(10))));
        assert_eq!(then(running(1), later(3_600), 1), (JobState::Queued, Then::SendAnother));
        assert_eq!(then(running(1), later(9), ATTEMPTS_MAX), (JobState::Queued, Then::SendAnother));
        assert_eq!(then(running(ATTEMPTS_MAX), later(9), 1), (JobState::Failed, Then::Delete));
        let refused = RunOutcome::Refused { code: "provider", retry_after: None, detail };
        assert_eq!(then(running(1), refused, 1), (JobState::Queued, Then::SendAnother));
        for ended in [RunOutcome::NoTime, later(9)] {
            let cancelled = JobRecord { cancel_requested: true, ..running(1) };
            assert_eq!(then(cancelled, ended, 1), (JobState::Cancelled, Then::Delete));
        }
    }

    #[test]
    fn delays_grow_to_a_bound() {
        for attempts in 1..40 {
            let full = FIRST_DELAY.saturating_mul(4u32.saturating_pow(attempts - 1)).min(LONGEST_DELAY);
            assert!((full / 2..=full).contains(&delay(attempts)), "{attempts}");
        }
    }
}
