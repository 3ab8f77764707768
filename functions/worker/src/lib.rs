//! Takes batches of messages off the jobs queue and runs their jobs: analyses texts, sends e-mails. Only the
//! messages of jobs that are to be tried again return to the queue. What the mail service says became of an
//! e-mail comes over the same queue.

pub mod analysis;
pub mod mail;
mod message;
mod outcome;
mod provider_event;
mod providers;
mod run;
pub mod secret;
pub mod transport;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use message::Message;
use shared::model::time::Moment;
use shared::queue::batch::{Batch, Record};
use shared::runtime::event::NoRecords;
use shared::telemetry::{self, About};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

pub use providers::Worker;

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
pub async fn handle(worker: &Worker, batch: Batch, deadline_ms: u64) -> SqsBatchResponse {
    let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    match batch.0 {
        Ok(records) => run_all(records, |record| returns(worker, record, deadline)).await,
        Err(NoRecords::Foreign) => {
            tracing::info!("an event that is no batch of messages was left alone");
            SqsBatchResponse::default()
        }
        Err(NoRecords::Unreadable) => {
            tracing::error!("the records of a batch are no list: all of it returns");
            let mut response = SqsBatchResponse::default();
            // Without a name, it stands for the whole batch.
            response.batch_item_failures.push(BatchItemFailure::default());
            response
        }
    }
}

/// Handles messages beside one another, a bounded number at a time. `returns` says whether a message is to come
/// again; one whose handling panics does, and the others are not concerned.
async fn run_all<F>(records: Vec<Record>, returns: impl Fn(Record) -> F) -> SqsBatchResponse
where
    F: Future<Output = bool>,
{
    let handled: Vec<_> = records
        .into_iter()
        .map(|record| {
            let message_id = record.message_id().map(str::to_owned);
            let about = About::message("worker", record.trace_header());
            let returns = AssertUnwindSafe(returns(record)).catch_unwind();
            telemetry::during(about, async move {
                let returns = returns.await.unwrap_or_else(|_panic| {
                    // What it held is given free when its lease ends.
                    tracing::error!(message_id, "a job panicked");
                    true
                });
                if returns { failure(message_id) } else { None }
            })
        })
        .collect();
    let mut response = SqsBatchResponse::default();
    let failed = stream::iter(handled).buffer_unordered(AT_ONCE).filter_map(std::future::ready);
    response.batch_item_failures = failed.collect().await;
    response
}

/// A message's line in the report. SQS names each message that it hands over; a record without a name came from elsewhere, and an
/// empty name would return the whole batch: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.
fn failure(message_id: Option<String>) -> Option<BatchItemFailure> {
    let Some(message_id) = message_id else {
        tracing::error!("a record names no message and came from no queue: it cannot return");
        return None;
    };
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    Some(failure)
}

/// Whether a message is to come again, and if so, when.
async fn returns(worker: &Worker, record: Record, deadline: Moment) -> bool {
    let Verdict::Return(after) = receive(worker, &record, deadline).await else { return false };
    if let (Some(after), Some(handle)) = (after, &record.receipt_handle)
        && let Ok(queue) = worker.context.queue()
        && let Err(error) = queue.change_visibility(handle, after).await
    {
        tracing::warn!(%error, "a message returns when its visibility ends");
    }
    true
}

async fn receive(worker: &Worker, record: &Record, deadline: Moment) -> Verdict {
    let job = match Message::read(record.body.as_deref()) {
        Ok(Message::Job(job)) => {
            job.note();
            job
        }
        Ok(Message::Notice(notice)) => {
            return notice.apply(worker).await.map_or_else(
                |error| {
                    tracing::warn!(%error, "what the mail service said could not be noted");
                    Verdict::Return(None)
                },
                |()| Verdict::Delete,
            );
        }
        Err(reason) => {
            // Nobody can make sense of it: after as many receives as all others it rests in the dead-letter queue.
            tracing::error!(message_id = record.message_id(), %reason, "a message cannot be read");
            return Verdict::Return(None);
        }
    };
    if worker.context.now().plus(TIME_TO_BEGIN) > deadline {
        return Verdict::Return(Some(Duration::ZERO));
    }
    run::run(worker, job, record.receives().unwrap_or(1), deadline).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a job's state could not be read or written");
        Verdict::Return(None)
    })
}

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod test_server;
