//! Accepting jobs: stored first, then put on the queue. If the second step fails, the sweeper makes up for it.

mod again;
mod recipients;

pub use again::{Retry, redrive, retry};
pub use recipients::{check_recipients, check_sender};

use crate::caller::Caller;
use crate::caps::Cap;
use crate::context::Context;
use crate::error::{ApiError, chain};
use crate::ids::{JobId, OrgId, UserId};
use crate::model::account_mail::AccountMail;
use crate::model::job::{EmailOutcome, JobKind, JobRecord, JobState, UNSENT_AFTER};
use crate::model::org::OrgRecord;
use crate::model::price::Rates;
use crate::model::time::Moment;
use crate::model::usage::month_of;
use crate::store::idempotency::is_nothing_new;
use crate::store::jobs::{Change, piece_count};
use crate::store::keys;
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::LOCATION;
use platform::idempotency::{Begin, IdempotencyKey, KeyClaim, StoredReply};
use platform::queue::Outgoing;
use platform::response::Reply;
use platform::telemetry::{self, trace};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a request that does not wait itself may take for the reply to an earlier one that did.
const RESUMED_LEASE: Duration = Duration::from_secs(10);

/// What a message on the queue says: which job. All else is read from the database. Its fields may grow: while a deployment goes on,
/// workers of one version get the messages of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    pub org_id: OrgId,
    pub job_id: JobId,
}

impl JobMessage {
    /// Has log lines of the present work say that they are about this job.
    pub fn note(self) {
        telemetry::note_org(self.org_id.into());
        telemetry::note_job(self.job_id.into());
    }

    /// The message of a job, grouped by its organization.
    ///
    /// # Panics
    /// Never: ids serialize.
    #[must_use]
    pub fn of(job: &JobRecord) -> Outgoing {
        Self::hidden(job, Duration::ZERO)
    }

    /// The same, to be received after `delay` (at most 15 minutes).
    ///
    /// # Panics
    /// Never: ids serialize.
    #[must_use]
    pub fn hidden(job: &JobRecord, delay: Duration) -> Outgoing {
        Self { org_id: job.org_id, job_id: job.job_id }.outgoing(job.trace.clone(), delay)
    }

    /// The same, not to be received before the job may be run.
    ///
    /// # Panics
    /// Never: ids serialize.
    #[must_use]
    pub fn in_time(job: &JobRecord, now: Moment) -> Outgoing {
        let waits = job.not_before.is_some_and(|at| at > now);
        Self::hidden(job, job.sent_ahead_by(now).filter(|_| waits).unwrap_or_default())
    }

    /// Itself, with the trace header of the request that it goes back to, to be received after `delay`.
    ///
    /// # Panics
    /// Never: ids serialize.
    #[must_use]
    pub fn outgoing(self, trace_header: Option<String>, delay: Duration) -> Outgoing {
        let body = serde_json::to_string(&self).expect("ids serialize");
        Outgoing { group_id: self.org_id.to_string(), body, trace_header, delay }
    }
}

/// A job to accept.
#[derive(Debug)]
pub struct NewJob<'k> {
    /// The request's idempotency key.
    pub key: Option<&'k IdempotencyKey>,
    pub kind: JobKind,
    pub input: String,
    pub model: Option<String>,
    pub rates: Option<Rates>,
    /// What one run costs at most, in nano-dollars.
    pub reserved_nanos: u64,
    pub budget_nanos: Option<u64>,
    /// The version of the settings that the budget is of.
    pub budget_version: u64,
    /// How many it writes to, which an e-mail takes of the operator's cap. An analysis takes what it may cost.
    pub recipients: u64,
    /// Set when the caller waits: the key's reply is not that of the acceptance, but is kept within this time.
    pub replies_within: Option<Duration>,
}

/// A job that is stored, and on the queue or soon will be.
#[derive(Debug)]
pub struct AcceptedJob<'k> {
    pub job: Box<JobRecord>,
    pub reply: Reply,
    /// The claim on a key that still waits for its reply.
    pub held: Option<KeyClaim<'k>>,
}

impl NewJob<'_> {
    fn into_record(
        self,
        (job_id, org_id, user_id): (JobId, OrgId, UserId),
        trace: Option<String>,
        now: Moment,
    ) -> (JobRecord, String) {
        let Self {
            key: _,
            kind,
            input,
            model,
            rates,
            reserved_nanos,
            budget_nanos,
            budget_version,
            recipients,
            replies_within: _,
        } = self;
        let job = JobRecord {
            job_id,
            org_id,
            user_id,
            kind,
            state: JobState::Queued,
            attempts: 0,
            fence: 0,
            lease_until: None,
            sending: false,
            cancel_requested: false,
            created_at: now,
            started_at: None,
            finished_at: None,
            due_at: Some(now.plus(UNSENT_AFTER)),
            due_shard: Some(keys::due_shard(job_id)),
            not_before: None,
            give_up_at: Some(now.plus(kind.gives_up_after())),
            waiting_for: None,
            turn: None,
            place: None,
            refusals: 0,
            month: month_of(now).0,
            model,
            rates,
            reserved_nanos,
            charged_nanos: 0,
            budget_nanos,
            budget_version,
            unit_is_used: false,
            cap_day: None,
            owes_cap: false,
            recipients: u32::try_from(recipients).unwrap_or(u32::MAX).max(1),
            thrown_away: Vec::new(),
            input_pieces: piece_count(&input),
            result: None,
            error: None,
            trace,
            version: 1,
        };
        (job, input)
    }
}

/// Accepts a job and puts it on the queue. `reply` makes the answer, which an idempotency key keeps. A request that
/// resumes gets the job of the one that died, with the key in its own hands.
///
/// # Errors
/// As [`crate::store::Store::accept_job`].
pub async fn accept<'k>(
    context: &Context,
    request: &Request,
    caller: &Caller,
    org: &OrgRecord,
    new: NewJob<'k>,
    reply: impl Fn(&JobRecord) -> Reply,
) -> Result<Begin<AcceptedJob<'k>, AcceptedJob<'k>>, ApiError> {
    let (key, replies_within, recipients) = (new.key, new.replies_within, new.recipients);
    let now = context.now();
    let ids = (org.new_job_id(now), caller.org_id, caller.user_id);
    let (job, input) = new.into_record(ids, trace(request), now);
    let first = with_location(reply(&job), &job)?;
    let claim = key.map(|key| match replies_within {
        None => key.complete(StoredReply::of(&first), now.as_millis()),
        Some(lease) => key.begin(Some(job.job_id.to_string()), lease, now.as_millis()),
    });
    let units = if job.kind == JobKind::SendEmail { recipients } else { job.reserved_nanos };
    let taken = context.store().take_of_cap(cap_of(job.kind), org.org_id, Some(org.plan), units).await?;
    let job = job.taking_of_cap(taken.day());
    let begun = context.store().accept_job(org, &job, &input, claim.as_ref()).await;
    if is_nothing_new(&begun) {
        context.store().give_back_to_cap(taken, units).await;
    }
    match begun? {
        Begin::First(()) => {}
        Begin::Replay(first) => return Ok(Begin::Replay(first)),
        Begin::Resume(abandoned) => {
            let resumed = resume(context, org.org_id, &abandoned, replies_within, reply).await?;
            return Ok(Begin::Resume(resumed));
        }
    }
    put_on_queue(context, &job).await?;
    let held = claim.filter(|claim| claim.record.reply.is_none());
    Ok(Begin::First(AcceptedJob { job: Box::new(job), reply: first, held }))
}

/// Takes over the key of a request that died, and the job that was accepted under it. `reply` makes the answer to its acceptance.
///
/// # Errors
/// [`ApiError::IdempotencyInFlight`] when somebody else was faster.
pub async fn resume<'k>(
    context: &Context,
    org: OrgId,
    abandoned: &KeyClaim<'k>,
    replies_within: Option<Duration>,
    reply: impl Fn(&JobRecord) -> Reply,
) -> Result<AcceptedJob<'k>, ApiError> {
    let job_id = abandoned.record.work.as_deref().unwrap_or_default().parse().map_err(ApiError::internal)?;
    let lease = replies_within.unwrap_or(RESUMED_LEASE);
    let held = context.store().resume_key(org, abandoned, lease).await?;
    let job = context.store().job(org, job_id).await?;
    let reply = with_location(reply(&job), &job)?;
    Ok(AcceptedJob { job: Box::new(job), reply, held: Some(held) })
}

/// The operator's cap on a kind of jobs.
const fn cap_of(kind: JobKind) -> Cap {
    match kind {
        JobKind::Analyze => Cap::Dollars,
        JobKind::SendEmail | JobKind::AccountMail => Cap::Emails,
    }
}

/// Puts a stored job on its queue. If that fails it is accepted all the same: the sweeper sends what is due.
pub(crate) async fn put_on_queue(context: &Context, job: &JobRecord) -> Result<(), ApiError> {
    if let Err(error) = context.queue(job.kind)?.send(&JobMessage::of(job)).await {
        telemetry::note_job(job.job_id.into());
        tracing::warn!(cause = chain(&error), "a job was stored and not put on the queue");
    }
    Ok(())
}

/// The job of an account's mail, with its input. It belongs to no organization.
pub(crate) fn of_account_mail(
    mail: &AccountMail,
    request: Option<&Request>,
    now: Moment,
) -> Result<(JobRecord, String), ApiError> {
    let new = NewJob {
        key: None,
        kind: JobKind::AccountMail,
        input: serde_json::to_string(mail).map_err(ApiError::internal)?,
        model: None,
        rates: None,
        reserved_nanos: 0,
        budget_nanos: None,
        budget_version: 0,
        recipients: 0,
        replies_within: None,
    };
    let ids = (JobId::new(), OrgId::new(), UserId::new());
    Ok(new.into_record(ids, request.and_then(trace), now))
}

/// A reply that names where the job is found.
///
/// # Errors
/// Never: ids are valid in headers.
fn with_location(mut reply: Reply, job: &JobRecord) -> Result<Reply, ApiError> {
    let location = HeaderValue::try_from(format!("jobs/{}", job.job_id)).map_err(ApiError::internal)?;
    reply.headers_mut().insert(LOCATION, location);
    Ok(reply)
}

fn trace(request: &Request) -> Option<String> {
    trace::header(request.headers().get(trace::HEADER)?.to_str().ok()?)
}

/// Settles an e-mail whose outcome was unknown, or notes what is said of it. Returns `false` if that is no news.
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such job.
pub async fn settle_email(context: &Context, message: JobMessage, outcome: &EmailOutcome) -> Result<bool, ApiError> {
    let settled = context.store().change_job(message.org_id, message.job_id, |job| {
        let settled = job.settled(outcome.clone(), context.now());
        Ok(settled.map_or(Change::none(false), |settled| Change::to(settled, true)))
    });
    Ok(settled.await?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version that is about to be replaced gets messages of the next one.
    #[test]
    fn what_a_newer_version_adds_to_a_message_is_read_over() {
        let (org_id, job_id) = (OrgId::new(), JobId::new());
        let newer = serde_json::json!({"org_id": org_id, "job_id": job_id, "added": 1});
        assert_eq!(serde_json::from_value::<JobMessage>(newer).expect("a message"), JobMessage { org_id, job_id });
    }
}
