//! Takes batches of messages off the queue of analyses and runs their jobs: the builtin analysis, or a model's.

pub mod analysis;
mod outcome;
mod providers;
pub mod secret;

use analysis::Provider;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use futures_util::FutureExt as _;
use shared::config::{Config, ConfigError};
use shared::model::analysis::Cost;
use shared::model::job::{JobKind, JobRecord};
use shared::model::limiter;
use shared::model::settings::BUILTIN;
use shared::queue::batch::Batch;
use shared::{ApiError, Context};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use worker::{Limiter, RunOutcome, TimeLeft, Work, plan};

pub use providers::Analyses;

/// What analyses run in.
pub type Worker = worker::Worker<Analyses>;

/// Runs the analyses of a batch until `deadline_ms` (epoch milliseconds), and names the messages that are to come again.
pub async fn handle(worker: &Worker, batch: Batch, deadline_ms: u64) -> SqsBatchResponse {
    worker::handle(worker, batch, deadline_ms).await
}

impl Work for Analyses {
    const KIND: JobKind = JobKind::Analyze;
    const FUNCTION: &'static str = "analysis-worker";
    // As many as a batch has: each gets the whole time of the invocation.
    const AT_ONCE: usize = 5;
    const LONGEST_CALL: Duration = providers::ANALYSIS_TIMEOUT;

    fn of(config: &Config) -> Result<Self, ConfigError> {
        Self::new(config)
    }

    fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    fn provider(&self, job: &JobRecord) -> Option<limiter::Provider> {
        job.model.as_deref().filter(|model| *model != BUILTIN).map(limiter::Provider::of_model)
    }

    async fn run(
        &self,
        context: &Context,
        job: JobRecord,
        time: &TimeLeft<'_>,
    ) -> Result<Option<(JobRecord, RunOutcome)>, ApiError> {
        let text = match context.store().job_input(&job).await {
            Err(ApiError::NotFound) => return Ok(Some((job, RunOutcome::expired()))),
            text => text?,
        };
        let model = job.model.clone().unwrap_or_default();
        let Some(provider) = self.analyst(&model) else {
            return Ok(Some((job, RunOutcome::failed("model_unavailable", "The model is no longer on offer."))));
        };
        if let Some(forbidden) = plan::forbids_model(context, &job).await? {
            return Ok(Some((job, forbidden)));
        }
        // Nobody refused it: the next run may end in the same way, so this one counts.
        let late = |detail: &str| {
            let cost = if matches!(provider, Provider::Builtin) { Cost::Nothing } else { Cost::Unknown };
            RunOutcome::Retry { retry_after: None, detail: detail.to_owned(), cost }
        };
        let Some(left) = time.for_a_call() else { return Ok(Some((job, RunOutcome::NoTime))) };
        // This takes some of the time, so that is asked again after it.
        match tokio::time::timeout(left, provider.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let refused = outcome::of_analysis(&job, Err(error));
                return Ok(Some((job, refused)));
            }
            Err(_) => return Ok(Some((job, RunOutcome::NoTime))),
        }
        let Some(left) = time.for_a_call() else { return Ok(Some((job, RunOutcome::NoTime))) };
        let call = AssertUnwindSafe(provider.analyze(text, &model)).catch_unwind();
        let called = tokio::time::timeout(left, call).await;
        if let (Provider::Anthropic(anthropic), Some(called)) = (provider, Work::provider(self, &job))
            && let Some(said) = anthropic.rate_limits(&model)
        {
            self.limiter.heard(&called, said);
        }
        let ended = match called {
            Ok(Ok(outcome)) => outcome::of_analysis(&job, outcome),
            Ok(Err(_panic)) => late("the analysis stopped unexpectedly"),
            Err(_) => late("the analysis took too long"),
        };
        Ok(Some((job, ended)))
    }
}
