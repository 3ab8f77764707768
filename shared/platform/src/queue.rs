//! An SQS queue: sends messages, alone and in batches, and hides a received one for longer.
//! It knows nothing of what the messages say.

pub mod batch;
mod error;

use crate::aws::{AwsConfig, Signer, user_agent};
use crate::telemetry::{Part, timed};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};
use futures_util::{StreamExt as _, stream};
use std::time::Duration;

pub use error::{QueueCause, QueueError};

/// Most messages of one batch, and most bytes of all its bodies
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>).
const BATCH_MESSAGES: usize = 10;
const BATCH_BYTES: usize = 1 << 20;

/// Batches of one [`Queue::send_batch`] that are under way at a time.
const BATCHES_AT_ONCE: usize = 8;

/// Longest delay SQS takes: 15 minutes.
const DELAY_MAX: Duration = Duration::from_secs(900);

/// Longest wait for a message: 20 seconds.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Longest time a message may stay invisible after one receive: 12 hours.
const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);

/// A queue.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Whom it belongs to: SQS's fair queues keep one group from holding up the others.
    pub group_id: String,
    pub body: String,
    /// `X-Amzn-Trace-Id` of the request that it comes from.
    pub trace_header: Option<String>,
    /// Whole seconds, rounded up, at most 15 minutes.
    pub delay: Duration,
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub message_id: String,
    pub receipt_handle: String,
    pub body: String,
}

impl Queue {
    /// A queue by its URL. Nothing is sent before its first use.
    ///
    /// # Panics
    /// If the configured extra roots are not PEM certificates.
    #[must_use]
    pub fn open(aws: &AwsConfig, url: String) -> Self {
        let config = aws.sdk_config().expect("AWS_CA_BUNDLE holds PEM certificates");
        let config = aws_sdk_sqs::config::Builder::from(&config)
            .push_auth_scheme(Signer::new(aws.region.clone(), "sqs"))
            .interceptor(user_agent());
        Self { client: Client::from_conf(config.build()), url }
    }

    /// Sends one message and returns its id.
    ///
    /// # Errors
    /// [`QueueError`]; after [`QueueError::Unavailable`] the message may be on the queue all the same.
    pub async fn send(&self, message: &Outgoing) -> Result<String, QueueError> {
        let call = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_group_id(&message.group_id)
            .message_body(&message.body)
            .delay_seconds(message.delay_seconds())
            .set_message_system_attributes(message.trace().map(|trace| [trace].into()));
        let sent = timed(Part::Queue, call.send()).await.map_err(QueueError::of)?;
        Ok(sent.message_id.unwrap_or_default())
    }

    /// Sends any number of messages in as few calls as SQS allows, and says of each, in order, what became
    /// of it.
    pub async fn send_batch(&self, messages: &[Outgoing]) -> Vec<Result<(), QueueError>> {
        let batches: Vec<_> = batches(messages).into_iter().map(|batch| self.send_one_batch(batch)).collect();
        let outcomes = stream::iter(batches).buffered(BATCHES_AT_ONCE).collect::<Vec<_>>();
        timed(Part::Queue, outcomes).await.into_iter().flatten().collect()
    }

    /// Hides a message in flight for `visibility` from now (whole seconds, rounded up, at most 12 hours), or
    /// gives it back at once with zero.
    ///
    /// # Errors
    /// [`QueueError::NotInFlight`] when it is no longer ours to hide, else as for a send.
    pub async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<(), QueueError> {
        let call = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(whole_seconds(visibility.min(VISIBILITY_MAX)));
        timed(Part::Queue, call.send()).await.map(|_| ()).map_err(QueueError::of_receipt)
    }

    /// Takes up to ten messages and hides them for `visibility`. It waits for some up to `wait` (whole seconds, at most 20): without any, only
    /// a part of SQS's servers is asked, and even with it none may come though some are there.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn receive(&self, visibility: Duration, wait: Duration) -> Result<Vec<Incoming>, QueueError> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(whole_seconds(wait.min(WAIT_MAX)))
            .visibility_timeout(whole_seconds(visibility.min(VISIBILITY_MAX)));
        let received = timed(Part::Queue, call.send()).await.map_err(QueueError::of)?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages
            .map(|message| Incoming {
                message_id: message.message_id.unwrap_or_default(),
                receipt_handle: message.receipt_handle.unwrap_or_default(),
                body: message.body.unwrap_or_default(),
            })
            .collect())
    }

    /// Deletes a received message.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn delete(&self, receipt_handle: &str) -> Result<(), QueueError> {
        let call = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt_handle);
        timed(Part::Queue, call.send()).await.map(|_| ()).map_err(QueueError::of)
    }

    async fn send_one_batch(&self, batch: &[Outgoing]) -> Vec<Result<(), QueueError>> {
        let entries = batch.iter().enumerate().map(|(index, message)| message.entry(index)).collect();
        let call = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        match call.send().await {
            Err(error) => vec![Err(QueueError::of(error)); batch.len()],
            Ok(reply) => {
                let mut outcomes = vec![Ok(()); batch.len()];
                for failed in reply.failed() {
                    if let Some(outcome) = failed.id.parse().ok().and_then(|index: usize| outcomes.get_mut(index)) {
                        *outcome = Err(QueueError::of_entry(failed));
                    }
                }
                outcomes
            }
        }
    }
}

impl Outgoing {
    fn delay_seconds(&self) -> i32 {
        whole_seconds(self.delay.min(DELAY_MAX))
    }

    fn trace(&self) -> Option<(SystemAttribute, MessageSystemAttributeValue)> {
        let value = MessageSystemAttributeValue::builder()
            .data_type("String")
            .string_value(self.trace_header.as_ref()?)
            .build()
            .expect("the data type is set");
        Some((SystemAttribute::AwsTraceHeader, value))
    }

    fn entry(&self, index: usize) -> SendMessageBatchRequestEntry {
        SendMessageBatchRequestEntry::builder()
            .id(index.to_string())
            .message_group_id(&self.group_id)
            .message_body(&self.body)
            .delay_seconds(self.delay_seconds())
            .set_message_system_attributes(self.trace().map(|trace| [trace].into()))
            .build()
            .expect("the id and the body are set")
    }
}

/// Cuts messages into batches within SQS's limits. One message beyond them is a batch of its own, for SQS to
/// refuse.
fn batches(messages: &[Outgoing]) -> Vec<&[Outgoing]> {
    let mut batches = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(BATCH_MESSAGES).take_while(|message| {
            bytes += message.body.len();
            bytes <= BATCH_BYTES
        });
        let (batch, later) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = later;
    }
    batches
}

fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(sizes: &[usize]) -> Vec<Outgoing> {
        let message = |size: &usize| Outgoing {
            group_id: "org".to_owned(),
            body: "x".repeat(*size),
            trace_header: None,
            delay: Duration::ZERO,
        };
        sizes.iter().map(message).collect()
    }

    #[test]
    fn batches_keep_to_ten_messages_and_one_mebibyte() {
        let counts = |sizes: &[usize]| -> Vec<usize> {
            let messages = of_bytes(sizes);
            batches(&messages).iter().map(|batch| batch.len()).collect()
        };
        assert!(counts(&[]).is_empty());
        assert_eq!(counts(&[1; 10]), [10]);
        assert_eq!(counts(&[1; 23]), [10, 10, 3]);
        assert_eq!(counts(&[BATCH_BYTES / 2, BATCH_BYTES / 2, 1]), [2, 1]);
        assert_eq!(counts(&[1, BATCH_BYTES, 1]), [1, 1, 1]);
        assert_eq!(counts(&[BATCH_BYTES + 1, 1]), [1, 1]);
    }

    #[test]
    fn delays_are_rounded_up_and_bounded() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2_000)), 2);
        let mut late = of_bytes(&[1]).remove(0);
        late.delay = Duration::from_secs(3_600);
        assert_eq!(late.delay_seconds(), 900);
    }
}
