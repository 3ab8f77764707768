//! Sends an e-mail through the configured service, and says honestly what became of it.
//! Nothing here knows about jobs but the id that keeps one from being delivered twice.

pub mod mailbox;
pub mod sender;
pub mod ses;

use shared::ids::{JobId, OrgId};
use shared::model::email::Message;
use std::time::Duration;

pub use mailbox::Mailbox;
pub use sender::Sender;
pub use ses::Ses;

/// Who delivers.
#[derive(Debug)]
pub enum Mailer {
    /// Amazon SES.
    Ses(Ses),
    /// A folder of `.eml` files.
    Mailbox(Mailbox),
}

/// The service took the e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The service's own name for it: SES's message id, or the file's name.
    pub provider_id: String,
    /// It had been taken before, for the same job.
    pub is_repeat: bool,
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
    /// Hands `message` over for an organization's job, once.
    ///
    /// Dropping the future before it ends is an outcome nobody knows, like [`MailError::Unknown`].
    ///
    /// # Errors
    /// See [`MailError`].
    pub async fn send(&self, org_id: OrgId, job_id: JobId, message: &Message) -> Result<Sent, MailError> {
        match self {
            Self::Ses(ses) => ses.send(org_id, job_id, message).await,
            Self::Mailbox(mailbox) => mailbox.send(job_id, message).await,
        }
    }
}
