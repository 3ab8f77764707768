//! Takes the mail service's reports about e-mails off their queue: it settles e-mails of unknown outcome, and lists addresses that
//! are not to be written to again.

mod message;
mod notice;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use shared::error::chain;
use shared::queue::batch::{Batch, Record};
use shared::{ApiError, Context};

/// Notices of one batch that are applied at a time.
const AT_ONCE: usize = 5;

/// Applies the notices of a batch, and names the messages that are to come again.
pub async fn handle(context: &Context, batch: Batch, _deadline_ms: u64) -> SqsBatchResponse {
    worker::batch::handle("mail-event-worker", batch, AT_ONCE, |record| returns(context, record)).await
}

/// Applies a dead letter's text. Returns false if it is no notice.
///
/// # Errors
/// When the database is away.
pub async fn redrive(context: &Context, text: &str) -> Result<bool, ApiError> {
    match message::read(Some(text)) {
        Ok(notice) => notice.apply(context).await.map(|()| true),
        Err(_) => Ok(false),
    }
}

async fn returns(context: &Context, record: Record) -> bool {
    let notice = match message::read(record.body.as_deref()) {
        Ok(notice) => notice,
        Err(reason) => {
            // Nobody can make sense of it: after five receives it rests in the dead-letter queue.
            tracing::error!(message_id = record.message_id(), %reason, "a message cannot be read");
            return true;
        }
    };
    let applied = notice.apply(context).await;
    applied
        .inspect_err(|error| tracing::warn!(cause = chain(error), "what the mail service said could not be noted"))
        .is_err()
}
