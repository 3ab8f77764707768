//! Sending mail about accounts: a job of its own kind, stored with what causes it, then put on its queue.

use crate::context::Context;
use crate::error::ApiError;
use crate::ids::JobId;
use crate::jobs;
use crate::model::account_mail::AccountMail;
use crate::model::job::JobRecord;
use lambda_http::Request;

/// Mail that is to be stored together with what causes it.
#[derive(Debug)]
pub struct PendingMail {
    pub(crate) job: JobRecord,
    pub(crate) input: String,
}

impl PendingMail {
    /// Mail that a request causes; an operator's command has none.
    ///
    /// # Errors
    /// Never: what it carries serializes.
    pub fn new(context: &Context, mail: &AccountMail, request: Option<&Request>) -> Result<Self, ApiError> {
        let (job, input) = jobs::of_account_mail(mail, request, context.now())?;
        Ok(Self { job, input })
    }

    /// Its job.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.job.job_id
    }

    /// Stores it by itself, where nothing else is stored with it, and puts it on the queue.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn store_and_send(&self, context: &Context) -> Result<(), ApiError> {
        context.store().accept_account_mail(self).await?;
        self.send(context).await
    }

    /// Puts it on the queue, when it is stored.
    ///
    /// # Errors
    /// Never, where the queue is known: if it is away, the sweeper makes up for it.
    pub async fn send(&self, context: &Context) -> Result<(), ApiError> {
        jobs::put_on_queue(context, &self.job).await
    }
}

/// Stores and sends it by itself.
///
/// # Errors
/// When the database is away.
pub async fn send(context: &Context, mail: &AccountMail, request: Option<&Request>) -> Result<(), ApiError> {
    PendingMail::new(context, mail, request)?.store_and_send(context).await
}
