//! What a provider's answer means for a job.

use crate::mail::{MailError, Sent};
use shared::model::analysis::Cost;
use shared::model::job::{JobError, JobResult, JobState};
use shared::model::limiter::Fault;
use std::time::Duration;

/// How a run ended.
#[derive(Debug)]
pub enum RunOutcome {
    /// For good: the state, what it gave or why not, what it cost.
    Final(JobState, Result<Box<JobResult>, JobError>, Cost),
    /// It may be tried again; the provider's own wish when. The run may have cost something, or might fail the same way: it counts.
    Retry { retry_after: Option<Duration>, detail: String, cost: Cost },
    /// Nobody did anything, and it cost nothing: the run does not count. Why, in snake case and for people.
    Refused { code: &'static str, retry_after: Option<Duration>, detail: String },
    /// The time left is too short for a call: the next worker does it, at once.
    NoTime,
}

impl RunOutcome {
    /// Failed for good, at no cost.
    #[must_use]
    pub fn failed(code: &str, detail: impl Into<String>) -> Self {
        Self::Final(JobState::Failed, Err(JobError::new(code, detail)), Cost::Nothing)
    }

    /// What the job works on is gone.
    #[must_use]
    pub fn expired() -> Self {
        Self::failed("input_expired", "The job's input is no longer kept.")
    }

    /// Whether it was refused for something that concerns every job and does not pass before an operator sees to it.
    pub(crate) fn needs_operator(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if Fault::of(code) == Some(Fault::ForTheOperator))
    }

    pub(crate) fn cost(&self) -> Cost {
        match self {
            Self::Final(_, _, cost) | Self::Retry { cost, .. } => *cost,
            Self::Refused { .. } | Self::NoTime => Cost::Nothing,
        }
    }
}

/// A sent e-mail, or why it was not, or that nobody knows.
pub(crate) fn of_email(outcome: Result<Sent, MailError>) -> RunOutcome {
    match outcome {
        Ok(Sent { provider_id, .. }) => {
            let result = Box::new(JobResult::Email { message_id: provider_id });
            RunOutcome::Final(JobState::Succeeded, Ok(result), Cost::Nothing)
        }
        Err(MailError::Permanent { code, detail }) => {
            RunOutcome::Final(JobState::Failed, Err(JobError::new(code, detail)), Cost::Nothing)
        }
        Err(MailError::Transient { code, retry_after, detail }) => RunOutcome::Refused { code, retry_after, detail },
        Err(MailError::Unknown { detail }) => unknown(detail),
    }
}

/// An e-mail that may be out.
pub(crate) fn unknown(detail: impl Into<String>) -> RunOutcome {
    RunOutcome::Final(JobState::Unknown, Err(JobError::new("outcome_unknown", detail)), Cost::Nothing)
}
