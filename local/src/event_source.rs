//! Lambda's event source mapping for a queue: polls, batches, invokes, and deletes what succeeded.
//!
//! As in Lambda, nothing returns a failed message early: it stays invisible until its visibility
//! timeout ends, or until the function itself changed that
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>). Lambda also
//! slows its polling after errors; this loop does not.

mod event;
pub(crate) mod report;

use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use event::read;

use crate::clock::{Clock, millis};
use crate::like_aws::queues::Deliveries;
use crate::sqs::{Poll, Received, Sqs, SqsError};

/// What goes wrong inside a function.
pub type FunctionError = Box<dyn std::error::Error + Send + Sync>;

/// One run of a function.
pub type Invocation = Pin<Box<dyn Future<Output = Result<Value, FunctionError>> + Send>>;

/// A function that takes a batch and answers with JSON, as Lambda sees it.
pub type Function = Arc<dyn Fn(SqsEvent) -> Invocation + Send + Sync>;

/// Messages that one receive gives at most.
const RECEIVE_MAX: usize = 10;

/// How long one poll waits; Lambda uses long polls too.
const POLL_SECONDS: i64 = 20;

/// Largest payload of a synchronous invocation
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const PAYLOAD_BYTES_MAX: usize = 6 << 20;

/// The settings of the mapping, under the names the template has for them.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Name of the queue.
    pub queue: String,
    /// 1 to 10,000; above 10 only with a batching window.
    pub batch_size: usize,
    /// How long an incomplete batch waits for more, 0 to 300 s.
    pub maximum_batching_window: Duration,
    /// Most invocations at a time, 2 to 1,000 in Lambda; 1 is fine here.
    pub maximum_concurrency: usize,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
    /// After this, an invocation is ended and counts as an error.
    pub function_timeout: Duration,
}

/// A mapping that Lambda would not accept.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("BatchSize {0} is not within 1 to 10,000")]
    BatchSize(usize),
    #[error("BatchSize {0} needs a MaximumBatchingWindowInSeconds of at least 1")]
    WindowMissing(usize),
    #[error("MaximumBatchingWindowInSeconds {0:?} is longer than 300 s")]
    WindowTooLong(Duration),
    #[error("MaximumConcurrency {0} is not within 1 to 1,000")]
    Concurrency(usize),
}

/// What became of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Message ids the function is done with.
    pub deleted: Vec<String>,
    /// Message ids that come back once their visibility timeout ends.
    pub kept: Vec<String>,
}

/// A queue, a function, and how the one feeds the other.
#[derive(Clone)]
pub struct EventSource {
    sqs: Sqs,
    mapping: Arc<Mapping>,
    function: Function,
    /// None where queues are kind.
    deliveries: Option<Deliveries>,
}

impl EventSource {
    /// # Errors
    /// A mapping outside Lambda's limits.
    pub fn new(sqs: Sqs, mapping: Mapping, function: Function) -> Result<Self, MappingError> {
        let window = mapping.maximum_batching_window;
        if !(1..=10_000).contains(&mapping.batch_size) {
            return Err(MappingError::BatchSize(mapping.batch_size));
        }
        if mapping.batch_size > RECEIVE_MAX && window < Duration::from_secs(1) {
            return Err(MappingError::WindowMissing(mapping.batch_size));
        }
        if window > Duration::from_secs(300) {
            return Err(MappingError::WindowTooLong(window));
        }
        if !(1..=1000).contains(&mapping.maximum_concurrency) {
            return Err(MappingError::Concurrency(mapping.maximum_concurrency));
        }
        Ok(Self { sqs, mapping: Arc::new(mapping), function, deliveries: None })
    }

    /// The same with a queue and pollers as AWS's are.
    pub(crate) fn like_aws(self, deliveries: Deliveries) -> Self {
        Self { deliveries: Some(deliveries), ..self }
    }

    /// Feeds the function until `stop` completes, then lets running invocations end.
    ///
    /// # Errors
    /// The queue does not exist.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Result<(), SqsError> {
        let first = self.deliveries.as_ref().map_or(usize::MAX, |world| world.settings.first_pollers);
        let pollers = AtomicUsize::new(first.min(self.mapping.maximum_concurrency));
        let slots = Arc::new(Semaphore::new(pollers.load(Relaxed)));
        let mut running = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            // A batch being gathered when the stop comes stays invisible until its timeout, as
            // when one of Lambda's pollers goes away.
            let (slot, batch) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = self.next_batch(&slots, &pollers) => next?,
            };
            while running.try_join_next().is_some() {}
            let source = self.clone();
            running.spawn(async move {
                source.settle_batch(batch).await;
                drop(slot);
            });
        }
        while running.join_next().await.is_some() {}
        Ok(())
    }

    /// Takes one batch, waiting for it as one long poll does, and settles it.
    ///
    /// # Errors
    /// The queue does not exist.
    pub async fn deliver(&self) -> Result<Delivery, SqsError> {
        let batch = self.gather().await?;
        Ok(self.settle_batch(batch).await)
    }

    /// A batch and the right to run it. The slot comes first: what nobody can work on yet stays
    /// visible to others, and none of its receives are used up.
    async fn next_batch(
        &self,
        slots: &Arc<Semaphore>,
        pollers: &AtomicUsize,
    ) -> Result<(OwnedSemaphorePermit, Vec<Received>), SqsError> {
        let slot = loop {
            tokio::select! {
                biased;
                slot = Arc::clone(slots).acquire_owned() => break slot.expect("nobody closes the slots"),
                () = self.another_poller(pollers) => slots.add_permits(1),
            }
        };
        loop {
            let batch = self.gather().await?;
            if !batch.is_empty() {
                return Ok((slot, batch));
            }
            // A queue that is going away answers at once: without a pause, `run` would never look at its stop.
            tokio::task::yield_now().await;
        }
    }

    /// Waits until all pollers have been busy for so long that there is one more; for ever at the most that there may be.
    async fn another_poller(&self, pollers: &AtomicUsize) {
        match &self.deliveries {
            Some(world) if pollers.load(Relaxed) < self.mapping.maximum_concurrency => {
                self.sqs.clock().sleep(world.settings.poller_after).await;
                pollers.fetch_add(1, Relaxed);
            }
            _ => std::future::pending().await,
        }
    }

    /// Waits for a first message, then for the batching window or until the batch is full.
    async fn gather(&self) -> Result<Vec<Received>, SqsError> {
        let mut batch = self.receive(self.mapping.batch_size).await?;
        let clock = self.sqs.clock();
        let window_ms = millis(self.mapping.maximum_batching_window);
        let deadline_ms = clock.now_ms() + window_ms;
        while !batch.is_empty() && batch.len() < self.mapping.batch_size && window_ms > 0 {
            // A receive that is cut short has taken nothing: it takes and returns in one step.
            tokio::select! {
                biased;
                more = self.receive(self.mapping.batch_size - batch.len()) => batch.extend(more?),
                () = clock.sleep_until(deadline_ms) => break,
            }
        }
        Ok(batch)
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Received>, SqsError> {
        let poll = Poll {
            max: i64::try_from(wanted.min(RECEIVE_MAX)).unwrap_or(1),
            visibility_seconds: None,
            wait_seconds: Some(POLL_SECONDS),
        };
        let Some(world) = &self.deliveries else { return self.sqs.receive(&self.mapping.queue, poll).await };
        if world.overlooks() {
            return Ok(Vec::new());
        }
        Ok(world.arrives(self.sqs.receive(&self.mapping.queue, poll).await?))
    }

    /// Invokes the function with a batch, in several events if it is too large for one, and
    /// deletes what succeeded.
    async fn settle_batch(&self, batch: Vec<Received>) -> Delivery {
        let mut delivery = Delivery::default();
        if let Some(world) = &self.deliveries {
            self.sqs.clock().sleep(world.delay()).await;
        }
        let arn = self.sqs.queue_arn(&self.mapping.queue).unwrap_or_default();
        for part in event::parts(batch, PAYLOAD_BYTES_MAX) {
            let sent = event::of(&part, &arn, self.sqs.region());
            let ids: HashSet<&str> = part.iter().map(|m| m.message_id.as_str()).collect();
            let failed = match invoke((self.function)(sent), self.sqs.clock(), self.mapping.function_timeout).await {
                Ok(response) if self.mapping.report_batch_item_failures => report::failures(&response, &ids)
                    .unwrap_or_else(|malformed| {
                        tracing::warn!(queue = self.mapping.queue, %malformed, "batch failed");
                        ids.iter().map(|id| (*id).to_owned()).collect()
                    }),
                Ok(_) => HashSet::new(),
                Err(error) => {
                    tracing::warn!(queue = self.mapping.queue, error, "batch failed");
                    ids.iter().map(|id| (*id).to_owned()).collect()
                }
            };
            for message in part {
                let done = !failed.contains(&message.message_id)
                    && (self.deliveries.as_ref().is_some_and(Deliveries::forgets)
                        || self.sqs.delete(&self.mapping.queue, &message.receipt_handle).is_ok());
                let list = match done {
                    true => &mut delivery.deleted,
                    false => &mut delivery.kept,
                };
                list.push(message.message_id);
            }
        }
        delivery
    }
}

/// Runs a function once. An error, a panic and a timeout all end as a text.
pub(crate) async fn invoke(invocation: Invocation, clock: &Clock, timeout: Duration) -> Result<Value, String> {
    // A set of one task: it contains a panic, and being dropped ends the invocation.
    let mut task = JoinSet::new();
    task.spawn(invocation);
    tokio::select! {
        ended = task.join_next() => match ended {
            Some(Ok(Ok(response))) => Ok(response),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic.to_string()),
            None => Err("the function did not start".to_owned()),
        },
        () = clock.sleep(timeout) => Err(format!("timed out after {timeout:?}")),
    }
}

#[cfg(test)]
mod tests;
