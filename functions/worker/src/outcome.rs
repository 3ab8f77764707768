//! What a provider's answer means for a job.

use crate::analysis::{AnalysisError, Outcome};
use crate::mail::{MailError, Sent};
use shared::model::analysis::Cost;
use shared::model::job::{JobError, JobRecord, JobResult, JobState, JobUsage};
use shared::model::price::usd;
use std::time::Duration;

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// For good: the state, what it gave or why not, what it cost.
    For(JobState, Result<Box<JobResult>, JobError>, Cost),
    /// It may be tried again; the provider's own wish when.
    Later { retry_after: Option<Duration>, detail: String, cost: Cost },
}

impl Ended {
    pub(crate) fn cost(&self) -> Cost {
        match self {
            Self::For(_, _, cost) | Self::Later { cost, .. } => *cost,
        }
    }
}

/// An analysis, or why there is none.
pub(crate) fn of_analysis(job: &JobRecord, outcome: Result<Outcome, AnalysisError>) -> Ended {
    match outcome {
        Ok(Outcome { analysis, usage }) => {
            let cost = Cost::Tokens(usage);
            let (input_tokens, output_tokens) = (usage.input_tokens, usage.output_tokens);
            let usage = JobUsage { input_tokens, output_tokens, cost_usd: usd(job.price(cost).0) };
            Ended::For(JobState::Succeeded, Ok(Box::new(JobResult::Analysis { analysis, usage })), cost)
        }
        Err(AnalysisError::Permanent { code, detail, cost }) => {
            Ended::For(JobState::Failed, Err(JobError::new(code, detail)), cost)
        }
        Err(AnalysisError::Transient { retry_after, detail, cost }) => Ended::Later { retry_after, detail, cost },
    }
}

/// A sent e-mail, or why it was not, or that nobody knows.
pub(crate) fn of_email(outcome: Result<Sent, MailError>) -> Ended {
    match outcome {
        Ok(Sent { provider_id, .. }) => {
            let result = Box::new(JobResult::Email { message_id: provider_id });
            Ended::For(JobState::Succeeded, Ok(result), Cost::Nothing)
        }
        Err(MailError::Permanent { code, detail }) => {
            Ended::For(JobState::Failed, Err(JobError::new(code, detail)), Cost::Nothing)
        }
        Err(MailError::Transient { retry_after, detail }) => Ended::Later { retry_after, detail, cost: Cost::Nothing },
        Err(MailError::Unknown { detail }) => unknown(detail),
    }
}

/// An e-mail that may be out.
pub(crate) fn unknown(detail: impl Into<String>) -> Ended {
    Ended::For(JobState::Unknown, Err(JobError::new("outcome_unknown", detail)), Cost::Nothing)
}
