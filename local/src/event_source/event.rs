//! The event a function gets for a batch of messages.

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};

use shared::queue::batch::Batch;
use shared::runtime::event::Event as _;

use crate::sqs::Received;

/// Bytes of an event around a message's own text, generously.
const ENVELOPE_BYTES: usize = 2048;

/// Cuts a batch so that no part's event is larger than `bytes_max`.
pub(super) fn parts(batch: Vec<Received>, bytes_max: usize) -> Vec<Vec<Received>> {
    let mut parts: Vec<Vec<Received>> = Vec::new();
    let mut room = 0;
    for message in batch {
        let bytes = bytes(&message);
        match parts.last_mut() {
            Some(part) if bytes <= room => part.push(message),
            _ => {
                room = bytes_max;
                parts.push(vec![message]);
            }
        }
        room = room.saturating_sub(bytes);
    }
    parts
}

/// What a message takes in an event: its text is a JSON string there, escaped once more.
fn bytes(message: &Received) -> usize {
    let escaped: usize = message
        .body
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            _ => 1,
        })
        .sum();
    escaped + ENVELOPE_BYTES
}

/// What a function reads of an event: its text, as on Lambda.
///
/// # Panics
/// Never: texts serialize.
#[must_use]
pub fn read(event: &SqsEvent) -> Batch {
    Batch::read(&serde_json::to_string(event).expect("texts serialize"))
}

/// The event for one part of a batch.
pub(super) fn of(messages: &[Received], queue_arn: &str, region: &str) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = messages.iter().map(|message| record(message, queue_arn, region)).collect();
    event
}

fn record(message: &Received, queue_arn: &str, region: &str) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(message.message_id.clone());
    record.receipt_handle = Some(message.receipt_handle.clone());
    record.body = Some(message.body.clone());
    record.attributes = message.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    record.event_source_arn = Some(queue_arn.to_owned());
    record.event_source = Some("aws:sqs".to_owned());
    record.aws_region = Some(region.to_owned());
    record
}
