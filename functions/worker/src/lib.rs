//! Takes batches of messages off the jobs queue and runs their jobs: analyses texts, sends e-mails. Only the
//! messages of jobs that are to be tried again return to the queue. What the mail service says became of an
//! e-mail comes over the same queue.

pub mod analysis;
pub mod mail;
mod outcome;
mod provider_event;
mod providers;
mod run;
pub mod secret;
pub mod transport;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use provider_event::ProviderEvent;
use serde::Deserialize;
use shared::jobs::JobMessage;
use shared::model::time::Moment;
use shared::telemetry::{self, About};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

pub use providers::Worker;

/// Jobs of one batch that run at a time.
const AT_ONCE: usize = 5;
/// No job is begun with less time than this left.
const TIME_TO_BEGIN: Duration = Duration::from_secs(10);

/// What a message on the queue is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Job(JobMessage),
    Provider(ProviderEvent),
}

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
    batch(event.records, |message| returns(worker, message, deadline)).await
}

/// Handles messages beside one another, a bounded number at a time. `returns` says whether a message is to come
/// again; one whose handling panics does, and the others are not concerned.
async fn batch<F>(messages: Vec<SqsMessage>, returns: impl Fn(SqsMessage) -> F) -> SqsBatchResponse
where
    F: Future<Output = bool>,
{
    let handled: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let message_id = message.message_id.clone().unwrap_or_default();
            let about = About::message("worker", message.attributes.get("AWSTraceHeader").map(String::as_str));
            let returns = AssertUnwindSafe(returns(message)).catch_unwind();
            telemetry::during(about, async move {
                let returns = returns.await.unwrap_or_else(|_panic| {
                    // What it held is given free when its lease ends.
                    tracing::error!(message_id, "a job panicked");
                    true
                });
                returns.then(|| {
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier = message_id;
                    failure
                })
            })
        })
        .collect();
    let mut response = SqsBatchResponse::default();
    let failed = stream::iter(handled).buffer_unordered(AT_ONCE).filter_map(std::future::ready);
    response.batch_item_failures = failed.collect().await;
    response
}

/// Whether a message is to come again, and if so, when.
async fn returns(worker: &Worker, message: SqsMessage, deadline: Moment) -> bool {
    let Verdict::Return(after) = receive(worker, &message, deadline).await else { return false };
    if let (Some(after), Some(handle)) = (after, &message.receipt_handle)
        && let Ok(queue) = worker.context.queue()
        && let Err(error) = queue.change_visibility(handle, after).await
    {
        tracing::warn!(%error, "a message returns when its visibility ends");
    }
    true
}

async fn receive(worker: &Worker, message: &SqsMessage, deadline: Moment) -> Verdict {
    let body = message.body.as_deref().unwrap_or_default();
    let parsed = match serde_json::from_str::<Message>(body) {
        Ok(Message::Job(message)) => {
            message.note();
            message
        }
        Ok(Message::Provider(event)) => {
            return event.apply(worker).await.map_or_else(
                |error| {
                    tracing::warn!(%error, "what the mail service said could not be noted");
                    Verdict::Return(None)
                },
                |()| Verdict::Delete,
            );
        }
        Err(_) => {
            // Nobody can make sense of it: after as many receives as all others it rests in the dead-letter queue.
            tracing::error!(message_id = message.message_id, "a message names no job");
            return Verdict::Return(None);
        }
    };
    if worker.context.now().plus(TIME_TO_BEGIN) > deadline {
        return Verdict::Return(Some(Duration::ZERO));
    }
    let receives = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
    run::run(worker, parsed, receives.unwrap_or(1), deadline).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a job's state could not be read or written");
        Verdict::Return(None)
    })
}

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod test_server;
