//! Sends an e-mail through the configured service, and says honestly what became of it.

pub mod sender;
pub mod ses;

use crate::TimeLeft;
use crate::outcome::{RunOutcome, of_email, unknown};
use crate::run::note_effect;
use futures_util::FutureExt as _;
use shared::config::{Config, ConfigError};
use shared::ids::{JobId, OrgId};
use shared::model::email::Message;
use shared::model::job::JobRecord;
use shared::{ApiError, Context};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

pub use sender::Sender;
pub use ses::Ses;

/// Who delivers: Amazon SES.
#[derive(Debug)]
pub struct Mailer(Ses);

/// The service took the e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// SES's message id.
    pub provider_id: String,
}

/// Why an e-mail was not sent, or may not have been. `detail` is for the caller: nothing a service wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The service did not take it and never will.
    #[error("{code}: {detail}")]
    Permanent {
        /// Stable, in snake case.
        code: &'static str,
        /// In words.
        detail: String,
    },
    /// The service did not take it now.
    #[error("{detail}")]
    Transient {
        /// Stable, in snake case.
        code: &'static str,
        /// The service's own wish, if it had one.
        retry_after: Option<Duration>,
        /// In words.
        detail: String,
    },
    /// Nobody here can tell whether the service took it: it must not be sent again.
    #[error("{detail}")]
    Unknown {
        /// In words.
        detail: String,
    },
}

impl Mailer {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`ConfigError`] names what is missing or wrong.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let wrong = |name, reason: String| ConfigError::Invalid { name, reason };
        let mail = config.mail()?;
        let sender: Sender =
            mail.from.parse().map_err(|error: sender::InvalidSender| wrong("MAIL_FROM", error.to_string()))?;
        let aws = config.aws.at(mail.endpoint_url.clone());
        let aws = aws.sdk_config_without_repetition().map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?;
        Ok(Self(Ses::new(ses::client(&aws), sender, mail.configuration_set.clone())))
    }

    /// Notes that a job's e-mail may be out, then hands it over if there is time. `None` if the job is no longer to be run.
    ///
    /// # Errors
    /// When the database is away; nothing was handed over then.
    pub async fn hand_over(
        &self,
        context: &Context,
        job: JobRecord,
        message: &Message,
        time: &TimeLeft<'_>,
    ) -> Result<Option<(JobRecord, RunOutcome)>, ApiError> {
        let Some(sending) = note_effect(context, job).await? else { return Ok(None) };
        let Some(left) = time.for_a_call() else { return Ok(Some((sending, RunOutcome::NoTime))) };
        let call = AssertUnwindSafe(self.send(sending.org_id, sending.job_id, message)).catch_unwind();
        let ended = match tokio::time::timeout(left, call).await {
            Ok(Ok(outcome)) => of_email(outcome),
            Ok(Err(_panic)) => unknown("The hand-over stopped unexpectedly. The e-mail is not sent again."),
            Err(_) => unknown("The mail service did not answer in time. The e-mail is not sent again."),
        };
        Ok(Some((sending, ended)))
    }

    /// Hands `message` over for an organization's job, once.
    ///
    /// Dropping the future before it ends is an outcome nobody knows, like [`MailError::Unknown`].
    ///
    /// # Errors
    /// See [`MailError`].
    pub async fn send(&self, org_id: OrgId, job_id: JobId, message: &Message) -> Result<Sent, MailError> {
        self.0.send(org_id, job_id, message).await
    }
}
