//! Takes batches of messages off the jobs queue and runs their jobs: analyses texts, sends e-mails. Only the
//! messages of jobs that are to be tried again return to the queue.

pub mod analysis;
pub mod mail;
mod outcome;
mod providers;
mod run;
pub mod secret;
pub mod transport;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use shared::jobs::JobMessage;
use shared::model::time::Moment;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

pub use providers::{StartError, Worker};

/// Jobs of one batch that run at a time.
const AT_ONCE: usize = 5;
/// No job is begun with less time than this left.
const TIME_TO_BEGIN: Duration = Duration::from_secs(10);

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is done with, and deleted.
    Delete,
    /// It returns: at the end of its visibility, or after so long.
    Return(Option<Duration>),
}

/// Runs the jobs of a batch until `deadline_ms` (epoch milliseconds), and names the messages that are to come again.
pub async fn handle(worker: &Worker, event: SqsEvent, deadline_ms: u64) -> SqsBatchResponse {
    let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    let failed = stream::iter(event.records)
        .map(|message| async move { returns(worker, message, deadline).await })
        .buffer_unordered(AT_ONCE)
        .filter_map(|failed| async move { failed });
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.collect().await;
    response
}

/// The entry of a message that is to come again.
async fn returns(worker: &Worker, message: SqsMessage, deadline: Moment) -> Option<BatchItemFailure> {
    let verdict = match AssertUnwindSafe(receive(worker, &message, deadline)).catch_unwind().await {
        Ok(verdict) => verdict,
        Err(_panic) => {
            // What it held is given free when its lease ends; the other jobs of the batch are not concerned.
            tracing::error!(message_id = message.message_id, "a job panicked");
            Verdict::Return(None)
        }
    };
    let Verdict::Return(after) = verdict else { return None };
    if let (Some(after), Some(handle)) = (after, &message.receipt_handle)
        && let Ok(queue) = worker.context.queue()
        && let Err(error) = queue.change_visibility(handle, after).await
    {
        tracing::warn!(%error, "a message returns when its visibility ends");
    }
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message.message_id.unwrap_or_default();
    Some(failure)
}

async fn receive(worker: &Worker, message: &SqsMessage, deadline: Moment) -> Verdict {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(parsed) = serde_json::from_str::<JobMessage>(body) else {
        // Nobody can make sense of it: after as many receives as all others it rests in the dead-letter queue.
        tracing::error!(message_id = message.message_id, "a message names no job");
        return Verdict::Return(None);
    };
    if Moment::now().plus(TIME_TO_BEGIN) > deadline {
        return Verdict::Return(Some(Duration::ZERO));
    }
    let receives = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
    run::run(worker, parsed, receives.unwrap_or(1), deadline).await.unwrap_or_else(|error| {
        tracing::warn!(job_id = %parsed.job_id, %error, "a job's state could not be read or written");
        Verdict::Return(None)
    })
}

#[cfg(test)]
mod test_server;
