//! Accepting jobs: stored first, then put on the queue. If the second step fails, the sweeper makes up for it.

use crate::caller::Caller;
use crate::context::Context;
use crate::error::ApiError;
use crate::idempotency::{Once, StoredReply};
use crate::ids::{JobId, OrgId};
use crate::model::job::{JobKind, JobRecord, JobState, UNSENT_AFTER};
use crate::model::org::OrgRecord;
use crate::model::price::Rates;
use crate::model::time::Moment;
use crate::model::usage::month_of;
use crate::queue::Outgoing;
use crate::response::Reply;
use crate::store::idempotency::Creation;
use crate::store::jobs::piece_count;
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::LOCATION;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest trace header that is passed on, in bytes; X-Ray's own are far shorter.
const TRACE_BYTES_MAX: usize = 256;

/// What a message on the queue says: which job. All else is read from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobMessage {
    pub org_id: OrgId,
    pub job_id: JobId,
}

impl JobMessage {
    /// The message of a job, grouped by its organization.
    ///
    /// # Panics
    /// Never: ids serialize.
    #[must_use]
    pub fn of(job: &JobRecord) -> Outgoing {
        let message = Self { org_id: job.org_id, job_id: job.job_id };
        Outgoing {
            group_id: job.org_id.to_string(),
            body: serde_json::to_string(&message).expect("ids serialize"),
            trace_header: job.trace.clone(),
            delay: Duration::ZERO,
        }
    }
}

/// A job to accept.
#[derive(Debug)]
pub struct NewJob {
    pub kind: JobKind,
    pub input: String,
    pub model: Option<String>,
    pub rates: Option<Rates>,
    /// What one run costs at most, in nano-dollars.
    pub reserved_nanos: u64,
    pub budget_nanos: Option<u64>,
}

/// What became of a request for a job.
#[derive(Debug)]
pub enum Accepted {
    /// It is stored, and on the queue or soon will be.
    New(Box<JobRecord>, Reply),
    /// It repeats an earlier request: that one's reply.
    Repeated(Reply),
}

impl NewJob {
    fn into_record(self, caller: &Caller, trace: Option<String>) -> (JobRecord, String) {
        let now = Moment::now();
        let job = JobRecord {
            job_id: JobId::new(),
            org_id: caller.org_id,
            user_id: caller.user_id,
            kind: self.kind,
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
            month: month_of(now).0,
            model: self.model,
            rates: self.rates,
            reserved_nanos: self.reserved_nanos,
            charged_nanos: 0,
            budget_nanos: self.budget_nanos,
            input_pieces: piece_count(&self.input),
            result: None,
            error: None,
            trace,
            version: 1,
        };
        (job, self.input)
    }
}

/// Accepts a job and puts it on the queue. `reply` makes the answer, which an idempotency key keeps.
///
/// # Errors
/// As [`crate::store::Store::accept_job`].
pub async fn accept(
    context: &Context,
    request: &Request,
    (caller, org): (&Caller, &OrgRecord),
    (new, once): (NewJob, Option<Once>),
    reply: impl FnOnce(&JobRecord) -> Reply,
) -> Result<Accepted, ApiError> {
    let (job, input) = new.into_record(caller, trace(request));
    let mut reply = reply(&job);
    let location = HeaderValue::try_from(format!("/jobs/{}", job.job_id)).map_err(ApiError::internal)?;
    reply.headers_mut().insert(LOCATION, location);
    let kept = once.as_ref().map(|once| (once, StoredReply::of(&reply)));
    if let Creation::Repeated(first) = context.store().accept_job(org, &job, &input, kept).await? {
        return Ok(Accepted::Repeated(first.replayed()));
    }
    if let Err(error) = context.queue()?.send(&JobMessage::of(&job)).await {
        // It is accepted all the same: the sweeper sends what is due.
        tracing::warn!(job_id = %job.job_id, %error, "a job was stored and not put on the queue");
    }
    Ok(Accepted::New(Box::new(job), reply))
}

fn trace(request: &Request) -> Option<String> {
    let trace = request.headers().get("x-amzn-trace-id")?.to_str().ok()?;
    (!trace.is_empty() && trace.len() <= TRACE_BYTES_MAX).then(|| trace.to_owned())
}
