//! Takes batches of messages off the queue of e-mails and hands the e-mails to the mail service.

use aws_lambda_events::event::sqs::SqsBatchResponse;
use shared::config::{Config, ConfigError};
use shared::model::email::Message;
use shared::model::job::{JobKind, JobRecord};
use shared::model::limiter::Provider;
use shared::queue::batch::Batch;
use shared::{ApiError, Context};
use std::time::Duration;
use worker::mail::{Mailer, ses};
use worker::{Limiter, RunOutcome, TimeLeft, Work, plan};

/// What e-mails are sent in.
pub type Worker = worker::Worker<Emails>;

/// Sends the e-mails of a batch until `deadline_ms` (epoch milliseconds), and names the messages that are to come again.
pub async fn handle(worker: &Worker, batch: Batch, deadline_ms: u64) -> SqsBatchResponse {
    worker::handle(worker, batch, deadline_ms).await
}

/// The mail service, and how fast it is called.
pub struct Emails {
    mailer: Mailer,
    limiter: Limiter,
}

impl Work for Emails {
    const KIND: JobKind = JobKind::SendEmail;
    const FUNCTION: &'static str = "email-worker";
    const AT_ONCE: usize = 5;
    const LONGEST_CALL: Duration = ses::TIMEOUT;

    fn of(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self { mailer: Mailer::of(config)?, limiter: Limiter::new(config.rate_of_emails()?) })
    }

    fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    fn provider(&self, _: &JobRecord) -> Option<Provider> {
        Some(Provider::Mail)
    }

    async fn run(
        &self,
        context: &Context,
        job: JobRecord,
        time: &TimeLeft<'_>,
    ) -> Result<Option<(JobRecord, RunOutcome)>, ApiError> {
        let store = context.store();
        let message: Message = match store.job_input(&job).await {
            Err(ApiError::NotFound) => return Ok(Some((job, RunOutcome::expired()))),
            text => serde_json::from_str(&text?).map_err(ApiError::unreadable)?,
        };
        if !store.suppressed(message.to.as_slice()).await?.is_empty() {
            let refused = RunOutcome::failed("recipient_suppressed", "A recipient is on the suppression list.");
            return Ok(Some((job, refused)));
        }
        if let Some(forbidden) = plan::forbids_recipients(context, &job, &message).await? {
            return Ok(Some((job, forbidden)));
        }
        self.mailer.hand_over(context, job, &message, time).await
    }
}
