//! Batches of messages: handled beside one another, and only what has to come again is named.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use shared::queue::batch::{Batch, Record};
use shared::runtime::event::NoRecords;
use shared::telemetry::{self, About};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done with, and deleted.
    Delete,
    /// It returns: at the end of its visibility, or after so long.
    Return(Option<Duration>),
}

/// Handles the messages of a batch in the name of `function`, `at_once` of them at a time. `returns` says whether a message is to
/// come again; one whose handling panics does, and the others are not concerned.
pub async fn handle<F>(
    function: &'static str,
    batch: Batch,
    at_once: usize,
    returns: impl Fn(Record) -> F,
) -> SqsBatchResponse
where
    F: Future<Output = bool>,
{
    match batch.0 {
        Ok(records) => handle_all(function, records, at_once, returns).await,
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

async fn handle_all<F>(
    function: &'static str,
    records: Vec<Record>,
    at_once: usize,
    returns: impl Fn(Record) -> F,
) -> SqsBatchResponse
where
    F: Future<Output = bool>,
{
    let handled: Vec<_> = records
        .into_iter()
        .map(|record| {
            let message_id = record.message_id().map(str::to_owned);
            let about = About::message(function, record.trace_header());
            let returns = AssertUnwindSafe(returns(record)).catch_unwind();
            telemetry::during(about, async move {
                let returns = returns.await.unwrap_or_else(|_panic| {
                    // What it held is given free when its lease ends.
                    tracing::error!(message_id, "a message's handling panicked");
                    true
                });
                if returns { failure(message_id) } else { None }
            })
        })
        .collect();
    let mut response = SqsBatchResponse::default();
    let failed = stream::iter(handled).buffer_unordered(at_once).filter_map(std::future::ready);
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

#[cfg(test)]
mod tests;
