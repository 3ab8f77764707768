//! An SQS for one machine: standard queues over the AWS JSON protocol, in memory. It has the actions that the project
//! calls.
//!
//! Messages live as long as the process. That loses no job: a job is in the database before its
//! message is sent, and the sweeper queues again whatever has no live message.

mod attributes;
mod batch;
mod error;
mod lanes;
mod message;
mod protocol;
mod queue;
mod queues;
mod receipt;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use error::{ErrorKind, SqsError};
pub use message::{Draft, Received};
pub use protocol::Answer;
pub use queue::Counts;

use crate::clock::Clock;
use crate::connections::{self, Abandoned, Limits};
use crate::names::ACCOUNT_ID;
use attributes::{VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX};
use error::in_range;
use queues::Queues;

/// The queue service. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Sqs {
    service: Arc<Service>,
}

#[derive(Debug)]
struct Service {
    base_url: String,
    region: String,
    clock: Clock,
    queues: Mutex<Queues>,
    /// Whether long polls may wait; false while the server shuts down.
    open: watch::Sender<bool>,
}

/// What to take from a queue and how long to wait for it. `None` means the queue's own setting.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// 1 to 10 messages.
    pub max: i64,
    /// 0 to 43,200 s.
    pub visibility_seconds: Option<i64>,
    /// 0 to 20 s.
    pub wait_seconds: Option<i64>,
}

impl Sqs {
    /// An empty service whose queue URLs begin with `base_url` (`http://127.0.0.1:9324`).
    pub fn new(base_url: &str, region: &str, clock: Clock) -> Self {
        Self {
            service: Arc::new(Service {
                base_url: base_url.trim_end_matches('/').to_owned(),
                region: region.to_owned(),
                clock,
                queues: Mutex::new(Queues::new(region.to_owned())),
                open: watch::Sender::new(true),
            }),
        }
    }

    /// The clock that decides visibility, delays and retention.
    pub fn clock(&self) -> &Clock {
        &self.service.clock
    }

    /// The region in the queues' ARNs.
    pub fn region(&self) -> &str {
        &self.service.region
    }

    /// Where a queue of this name is reached.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT_ID}/{name}", self.service.base_url)
    }

    /// Creates a queue with SQS attributes (`VisibilityTimeout`, `RedrivePolicy`, …) and returns
    /// its URL. A queue that exists with the same attributes is fine.
    ///
    /// # Errors
    /// Those of SQS's `CreateQueue`.
    pub fn create_queue(&self, name: &str, attributes: &BTreeMap<String, String>) -> Result<String, SqsError> {
        self.queues().create(name, attributes)?;
        Ok(self.queue_url(name))
    }

    /// The ARN of a queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn queue_arn(&self, name: &str) -> Result<String, SqsError> {
        Ok(self.queues().get(name)?.arn.clone())
    }

    /// How many messages a queue holds now.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn counts(&self, name: &str) -> Result<Counts, SqsError> {
        let now_ms = self.clock().now_ms();
        let mut queues = self.queues();
        let queue = queues.get_mut(name)?;
        queue.settle(now_ms);
        Ok(queue.counts())
    }

    /// Sends one message and returns its id.
    ///
    /// # Errors
    /// Those of SQS's `SendMessage`.
    pub fn send(&self, name: &str, draft: Draft) -> Result<String, SqsError> {
        let now_ms = self.clock().now_ms();
        let delay_seconds = draft.delay_seconds()?;
        let mut queues = self.queues();
        let queue = queues.get_mut(name)?;
        let delay_seconds = delay_seconds.unwrap_or(queue.attributes.delay_seconds);
        let message = draft.into_message(now_ms)?;
        let id = message.id.clone();
        queue.put(message, delay_seconds, now_ms);
        Ok(id)
    }

    /// Takes up to `poll.max` messages, waiting for the first as long as the poll says.
    ///
    /// # Errors
    /// Those of SQS's `ReceiveMessage`.
    pub async fn receive(&self, name: &str, poll: Poll) -> Result<Vec<Received>, SqsError> {
        let max = in_range("MaxNumberOfMessages", poll.max, 1..=10)?;
        let max = usize::try_from(max).unwrap_or(1);
        let visibility_seconds = poll
            .visibility_seconds
            .map(|seconds| in_range("VisibilityTimeout", seconds, 0..=VISIBILITY_SECONDS_MAX))
            .transpose()?;
        let wait_seconds =
            poll.wait_seconds.map(|seconds| in_range("WaitTimeSeconds", seconds, 0..=WAIT_SECONDS_MAX)).transpose()?;
        let (arrivals, wait_seconds) = {
            let queues = self.queues();
            let queue = queues.get(name)?;
            let wait_seconds = wait_seconds.unwrap_or(queue.attributes.receive_wait_seconds);
            (Arc::clone(&queue.arrivals), wait_seconds)
        };
        let deadline_ms = self.clock().now_ms() + wait_seconds * 1000;
        let mut open = self.service.open.subscribe();
        loop {
            let mut arrival = pin!(arrivals.notified());
            // Listening begins before the look: what arrives in between is not missed.
            arrival.as_mut().enable();
            let now_ms = self.clock().now_ms();
            let (taken, due_ms) = {
                let mut queues = self.queues();
                let taken = queues.receive(name, max, visibility_seconds, now_ms);
                (taken, queues.get(name)?.next_due_ms())
            };
            let may_wait = now_ms < deadline_ms && *open.borrow_and_update();
            match taken {
                Ok(taken) if !taken.is_empty() || !may_wait => {
                    return Ok(taken.into_iter().map(|(handle, message)| message.shown(handle)).collect());
                }
                // A long poll waits for room in flight; a short one is told.
                Err(error) if error.kind != ErrorKind::OverLimit || !may_wait => {
                    return Err(error);
                }
                Ok(_) | Err(_) => {}
            }
            let wake_ms = due_ms.map_or(deadline_ms, |due_ms| due_ms.min(deadline_ms));
            tokio::select! {
                () = arrival => {}
                () = self.clock().sleep_until(wake_ms) => {}
                _ = open.changed() => {}
            }
        }
    }

    /// Deletes a received message. A stale or used receipt handle is no error, as with SQS.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` for a handle that this queue never gave out.
    pub fn delete(&self, name: &str, receipt_handle: &str) -> Result<(), SqsError> {
        let now_ms = self.clock().now_ms();
        self.queues().get_mut(name)?.delete(receipt_handle, now_ms)
    }

    /// Hides a message in flight for `seconds` from now; zero gives it back.
    ///
    /// # Errors
    /// Those of SQS's `ChangeMessageVisibility`.
    pub fn change_visibility(&self, name: &str, receipt_handle: &str, seconds: i64) -> Result<(), SqsError> {
        let seconds = in_range("VisibilityTimeout", seconds, 0..=VISIBILITY_SECONDS_MAX)?;
        let now_ms = self.clock().now_ms();
        self.queues().get_mut(name)?.change_visibility(receipt_handle, seconds, now_ms)
    }

    /// Serves the AWS JSON protocol until `stop` completes; open long polls then answer at once.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()> + Send) {
        self.service.open.send_replace(true);
        let stop = async {
            stop.await;
            self.service.open.send_replace(false);
        };
        let router = protocol::router(self.clone());
        connections::serve(vec![listener], router, Limits::default(), Abandoned::Ends, stop).await;
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.service.queues.lock().expect("nothing panics while it holds the queues")
    }
}

#[cfg(test)]
mod race_tests;
