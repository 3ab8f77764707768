//! Callers that wait for their analysis: few of them, for each holds an environment.

use crate::{DoneAnalysis, accepted_reply};
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderName, HeaderValue};
use shared::error::chain;
use shared::ids::OrgId;
use shared::model::job::{Job, JobRecord, JobResult, JobState};
use shared::model::time::Moment;
use shared::response::Reply;
use shared::runtime::Deadline;
use shared::store::waiting::WaitingPlace;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use std::time::Duration;
use tokio::time::Instant;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a waiting caller's job is left alone before it is read again: first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// What a waiting request takes beside its wait, generously: longer than the function may run.
pub(crate) const TIME_TO_REPLY: Duration = Duration::from_secs(10);

/// Of the invocation's time, what is kept for the last reading, the key and the reply.
const TIME_TO_END: Duration = Duration::from_secs(4);

/// A caller that waits, and has a place for it.
pub(crate) struct Wait {
    seconds: u64,
    ends_at: Moment,
    place: WaitingPlace,
}

impl Wait {
    /// How long a request wants to wait and may. `None` is not at all: it does not want to, its organization has as many waiting as it
    /// may, or nobody can tell.
    pub(crate) async fn of(context: &Context, request: &Request, org: OrgId) -> Option<Self> {
        let seconds = request::preferred_wait(request).filter(|seconds| *seconds > 0)?;
        let now = context.now();
        let wanted = now.plus(Duration::from_secs(seconds));
        let ends_at = ends_by(request).map_or(wanted, |last| last.min(wanted));
        if ends_at <= now {
            return None;
        }
        let until = ends_at.plus(TIME_TO_REPLY);
        let places = context.config().waiting_places().ok()?;
        let place = context.store().take_waiting_place(org, places, until).await;
        let place = place
            .inspect_err(|error| tracing::warn!(cause = chain(error), "nobody waits: no place could be asked for"));
        Some(Self { seconds, ends_at, place: place.ok()?? })
    }

    /// How long the key is held for the reply.
    pub(crate) fn replies_within(&self) -> Duration {
        Duration::from_secs(self.seconds) + TIME_TO_REPLY
    }

    /// Looks at the job until it has ended or the time is over; then says how it stands, in the reply `accepted` renewed.
    pub(crate) async fn reply(&self, context: &Context, mut job: JobRecord, accepted: Reply) -> ApiResult {
        let left_ms = u64::try_from(self.ends_at.as_millis() - context.now().as_millis()).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_millis(left_ms);
        let (mut pause, longest) = POLL;
        while !job.state.has_ended() && Instant::now() < deadline {
            tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
            pause = (pause * 3 / 2).min(longest);
            // It is accepted, whether it can be read just now or not.
            match context.store().job(job.org_id, job.job_id).await {
                Ok(read) => job = read,
                Err(error) => tracing::warn!(cause = chain(&error), "a job that somebody waits for could not be read"),
            }
        }
        let done = job.result().filter(|_| job.state == JobState::Succeeded);
        let Some(JobResult::Analysis { analysis, usage }) = done else {
            let mut reply = accepted_reply(&job);
            if let Some(location) = accepted.headers().get(LOCATION) {
                reply.headers_mut().insert(LOCATION, location.clone());
            }
            return Ok(reply);
        };
        let mut reply = response::json(StatusCode::OK, &DoneAnalysis { analysis, usage, job: Job::from(&job) });
        let applied = HeaderValue::try_from(format!("wait={}", self.seconds)).map_err(ApiError::internal)?;
        reply.headers_mut().insert(PREFERENCE_APPLIED, applied);
        Ok(response::live(reply))
    }

    /// Gives the place back.
    pub(crate) async fn end(self, context: &Context) {
        if let Err(error) = context.store().leave_waiting_place(self.place).await {
            tracing::warn!(cause = chain(&error), "a place was not given back: it is free when its time is over");
        }
    }
}

/// When a wait has to end for the invocation to have time to reply.
fn ends_by(request: &Request) -> Option<Moment> {
    let Deadline(ms) = *request.extensions().get::<Deadline>()?;
    let before = ms.saturating_sub(u64::try_from(TIME_TO_END.as_millis()).unwrap_or(0));
    Some(Moment::from_millis(i64::try_from(before).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_before_its_invocation() {
        let mut request = Request::default();
        assert_eq!(ends_by(&request), None, "nobody says when");
        request.extensions_mut().insert(Deadline(28_000));
        assert_eq!(ends_by(&request), Some(Moment::from_millis(24_000)));
        request.extensions_mut().insert(Deadline(1_000));
        assert_eq!(ends_by(&request), Some(Moment::from_millis(0)), "and what has begun too late waits for nothing");
    }
}
