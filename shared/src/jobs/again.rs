//! Failed jobs are run again: by their organization, or by an operator. Limits, budget and plan are judged as they stand now.

use super::{cap_of, check_recipients, check_sender, put_on_queue};
use crate::context::Context;
use crate::error::{ApiError, ApiResult};
use crate::ids::{JobId, OrgId};
use crate::model::email::Message;
use crate::model::job::{JobKind, JobRecord, JobState, RetryTerms};
use crate::model::org::{OrgRecord, Plan};
use crate::model::settings::SettingsRecord;
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::certainly_nothing;
use crate::store::jobs::{Advance, Again};
use crate::store::role_check::RoleCheck;
use platform::cache::Uncached;
use platform::idempotency::{Begin, IdempotencyKey, KeyClaim, StoredReply};
use platform::response::Reply;

/// How often it is tried while the job changes.
const ATTEMPTS: u32 = 6;

/// Who asks that a failed job be run again.
#[derive(Debug)]
pub struct Retry<'a> {
    pub by: RoleCheck<'a>,
    /// Its account.
    pub user: &'a UserRecord,
    pub org: &'a OrgRecord,
    pub settings: &'a SettingsRecord,
    pub key: Option<&'a IdempotencyKey>,
}

/// Accepts an organization's failed job once more and puts it on its queue. It counts in the month's limit like a new one. `reply` makes
/// the answer, which an idempotency key keeps.
///
/// # Errors
/// [`ApiError::NotFailed`], [`ApiError::OutcomeUnknown`], [`ApiError::InputExpired`]; [`ApiError::NotFound`]; those of an acceptance; those
/// of [`RoleCheck`].
pub async fn retry(
    context: &Context,
    asked: Retry<'_>,
    job_id: JobId,
    reply: impl Fn(&JobRecord) -> Reply,
) -> ApiResult {
    let Retry { by, user, org, settings, key } = asked;
    for _ in 0..ATTEMPTS {
        let job = context.store().job(org.org_id, job_id).await?;
        let now = context.now();
        let (again, recipients) = again(context, &job, (org, settings), Some(user)).await?;
        let first = reply(&again);
        let claim = key.map(|key| key.complete(StoredReply::of(&first), now.as_millis()));
        let asked = (Some(by), claim.as_ref(), Some(org.plan));
        match accept(context, org, (&job, &again, recipients), asked).await? {
            Again::Begun(Begin::First(())) => {
                put_on_queue(context, &again).await?;
                return Ok(first);
            }
            Again::Begun(Begin::Replay(first)) => return first.replayed(Uncached).into_result(),
            Again::Begun(Begin::Resume(_)) => {
                return Err(ApiError::internal("a retry's key was kept without its reply"));
            }
            Again::Changed => {}
        }
    }
    Err(ApiError::Contended)
}

/// The same by an operator: it takes no place in a month's limit beside the one that the job had, and no e-mails of the day's cap. What it
/// may cost it takes of the cap, as every run does.
///
/// # Errors
/// As [`retry`].
pub async fn redrive(context: &Context, org_id: OrgId, job_id: JobId) -> Result<(), ApiError> {
    let store = context.store();
    for _ in 0..ATTEMPTS {
        let job = store.job(org_id, job_id).await?;
        // Looked for before anything is written: what is said to stay does.
        context.queue(job.kind)?;
        let (again, is_done) = if job.kind.is_counted() {
            let org = store.org(org_id).await?.ok_or(ApiError::NotFound)?;
            let settings = store.org_settings(org_id).await?.unwrap_or_default();
            let (again, _) = again(context, &job, (&org, &settings), None).await?;
            let accepted = accept(context, &org, (&job, &again, 0), (None, None, None)).await?;
            (again, matches!(accepted, Again::Begun(_)))
        } else {
            let terms = RetryTerms { budget_nanos: None, budget_version: 0, takes_unit: false };
            let again = failed_job_again(&job, terms, context.now())?;
            let advanced = store.advance_job(&job, &again, &Default::default(), None).await?;
            (again, advanced == Advance::Done)
        };
        if is_done {
            return put_on_queue(context, &again).await;
        }
    }
    Err(ApiError::Contended)
}

/// Accepts a job once more under the operator's cap of the day: an e-mail takes its recipients, an analysis what it may cost.
async fn accept<'k>(
    context: &Context,
    org: &OrgRecord,
    (before, after, recipients): (&JobRecord, &JobRecord, u64),
    (by, claim, plan): (Option<RoleCheck<'_>>, Option<&KeyClaim<'k>>, Option<Plan>),
) -> Result<Again<'k>, ApiError> {
    let store = context.store();
    let units = if after.kind == JobKind::SendEmail { recipients } else { after.reserved_nanos };
    let taken = store.take_of_cap(cap_of(after.kind), org.org_id, plan, units).await?;
    // The day may have turned since the job was read.
    let after = after.clone().taking_of_cap(taken.day());
    let accepted = store.accept_job_again(org, (before, &after), by, claim).await;
    let is_nothing = match &accepted {
        Ok(Again::Begun(begun)) => !matches!(begun, Begin::First(())),
        Ok(Again::Changed) => true,
        Err(error) => certainly_nothing(error),
    };
    if is_nothing {
        store.give_back_to_cap(taken, units).await;
    }
    accepted
}

/// A job as it is once it is accepted again, if it may be, and whom it writes to. `asks` is the account that asks for it, which must be
/// allowed to as for a new one; an operator has none.
async fn again(
    context: &Context,
    job: &JobRecord,
    (org, SettingsRecord { settings, version }): (&OrgRecord, &SettingsRecord),
    asks: Option<&UserRecord>,
) -> Result<(JobRecord, u64), ApiError> {
    let takes_unit = asks.is_some();
    let (budget_nanos, budget_version) = match job.kind {
        JobKind::Analyze => (settings.budget_nanos(), *version),
        JobKind::SendEmail | JobKind::AccountMail => (None, 0),
    };
    let again = failed_job_again(job, RetryTerms { budget_nanos, budget_version, takes_unit }, context.now())?;
    let input = context.store().job_input(job).await.map_err(|error| match error {
        ApiError::NotFound => ApiError::InputExpired,
        error => error,
    })?;
    match job.kind {
        JobKind::Analyze if job.rates.is_some() && !org.plan.has_paid_models() => {
            return Err(ApiError::PlanForbids(Plan::BUILTIN_ONLY));
        }
        JobKind::Analyze if job.rates.is_some() && asks.is_some_and(|user| !user.is_verified()) => {
            return Err(ApiError::EmailUnverified);
        }
        JobKind::Analyze if input.len() as u64 > org.plan.limits().input_bytes => {
            return Err(ApiError::PlanForbids("The text is longer than your plan allows."));
        }
        JobKind::SendEmail => {
            let message: Message = serde_json::from_str(&input).map_err(ApiError::unreadable)?;
            if let Some(user) = asks {
                check_sender(user, org.plan, &message)?;
            }
            check_recipients(context, org, settings, &message.to, Vec::new).await?;
            return Ok((again, message.to.as_slice().len() as u64));
        }
        JobKind::Analyze | JobKind::AccountMail => {}
    }
    Ok((again, 0))
}

fn failed_job_again(job: &JobRecord, terms: RetryTerms, now: Moment) -> Result<JobRecord, ApiError> {
    let again = job.accepted_again(terms, now).ok_or(match job.state {
        JobState::Unknown => ApiError::OutcomeUnknown,
        _ => ApiError::NotFailed,
    })?;
    if job.input_kept_until() <= now { Err(ApiError::InputExpired) } else { Ok(again) }
}
