//! What a provider's answer means for a job.

use crate::analysis::{AnalysisError, Outcome};
use shared::model::analysis::Cost;
use shared::model::job::{JobError, JobRecord, JobResult, JobState, JobUsage};
use shared::model::price::usd;
use worker::RunOutcome;

/// An analysis, or why there is none.
pub(crate) fn of_analysis(job: &JobRecord, outcome: Result<Outcome, AnalysisError>) -> RunOutcome {
    match outcome {
        Ok(Outcome { analysis, usage }) => {
            let cost = Cost::Tokens(usage);
            let (input_tokens, output_tokens) = (usage.input_tokens, usage.output_tokens);
            let usage = JobUsage { input_tokens, output_tokens, cost_usd: usd(job.price(cost).0) };
            RunOutcome::Final(JobState::Succeeded, Ok(Box::new(JobResult::Analysis { analysis, usage })), cost)
        }
        Err(AnalysisError::Permanent { code, detail, cost }) => {
            RunOutcome::Final(JobState::Failed, Err(JobError::new(code, detail)), cost)
        }
        Err(AnalysisError::Transient { code, retry_after, detail, cost: Cost::Nothing }) => {
            RunOutcome::Refused { code, retry_after, detail }
        }
        Err(AnalysisError::Transient { code: _, retry_after, detail, cost }) => {
            RunOutcome::Retry { retry_after, detail, cost }
        }
    }
}
