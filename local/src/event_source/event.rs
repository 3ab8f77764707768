//! The event a function gets for a batch of messages.

use aws_lambda_events::encodings::Base64Data;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sqs::{MessageAttribute, Received};

/// Bytes of an event around a message's own text and values, generously.
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
    let beside = message.message_attributes.iter().map(|(name, attribute)| {
        let value = attribute.string_value.as_ref().or(attribute.binary_value.as_ref());
        name.len() + 2 * value.map_or(0, String::len)
    });
    escaped + beside.sum::<usize>() + ENVELOPE_BYTES
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
    record.md5_of_body = Some(message.md5_of_body.clone());
    record.md5_of_message_attributes = message.md5_of_message_attributes.clone();
    record.attributes = message.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    record.message_attributes =
        message.message_attributes.iter().map(|(name, attribute)| (name.clone(), of_attribute(attribute))).collect();
    record.event_source_arn = Some(queue_arn.to_owned());
    record.event_source = Some("aws:sqs".to_owned());
    record.aws_region = Some(region.to_owned());
    record
}

fn of_attribute(attribute: &MessageAttribute) -> SqsMessageAttribute {
    let mut written = SqsMessageAttribute::default();
    written.string_value = attribute.string_value.clone();
    written.binary_value = attribute.binary_value.as_ref().map(|base64| {
        let mut bytes = Base64Data::default();
        *bytes = STANDARD.decode(base64).unwrap_or_default();
        bytes
    });
    written.data_type = Some(attribute.data_type.clone());
    written
}
