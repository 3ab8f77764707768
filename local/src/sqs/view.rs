//! What a receiver is shown of a message: it has to ask for attributes by name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::{ErrorKind, SqsError};
use super::message::{Message, MessageAttribute, md5_of_attributes};
use super::queues::ACCOUNT_ID;

/// System attributes SQS knows. The last two exist on FIFO queues only and are never shown.
const SYSTEM_NAMES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "SequenceNumber",
    "MessageDeduplicationId",
];

/// Which attributes a receiver asks for.
#[derive(Clone, Debug, Default)]
pub struct Show {
    system: Vec<String>,
    message: Vec<String>,
}

/// A message as `ReceiveMessage` gives it.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    #[serde(rename = "MessageId")]
    pub message_id: String,
    #[serde(rename = "ReceiptHandle")]
    pub receipt_handle: String,
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: String,
    /// System attributes.
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
    #[serde(rename = "MessageAttributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub message_attributes: BTreeMap<String, MessageAttribute>,
    /// Of the attributes shown.
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_message_attributes: Option<String>,
}

impl Show {
    /// Everything, as Lambda's event source asks for it.
    pub fn all() -> Self {
        Self { system: vec!["All".to_owned()], message: vec!["All".to_owned()] }
    }

    /// The named attributes; message attributes also by prefix (`name.*`).
    ///
    /// # Errors
    /// `InvalidAttributeName` for a system attribute that SQS does not know.
    pub fn new(system: Vec<String>, message: Vec<String>) -> Result<Self, SqsError> {
        match system.iter().find(|name| !SYSTEM_NAMES.contains(&name.as_str())) {
            Some(name) => Err(ErrorKind::InvalidAttributeName.because(format!("Unknown Attribute {name}."))),
            None => Ok(Self { system, message }),
        }
    }

    fn shows_system(&self, name: &str) -> bool {
        self.system.iter().any(|asked| asked == "All" || asked == name)
    }

    fn shows_message(&self, name: &str) -> bool {
        self.message.iter().any(|asked| match asked.as_str() {
            "All" | ".*" => true,
            asked => match asked.strip_suffix(".*") {
                Some(prefix) => name.starts_with(prefix),
                None => asked == name,
            },
        })
    }
}

impl Received {
    pub(super) fn new(receipt_handle: String, message: Message, show: &Show) -> Self {
        let attributes = system_attributes(&message)
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .filter(|(name, _)| show.shows_system(name))
            .collect();
        let mut message_attributes = message.attributes;
        message_attributes.retain(|name, _| show.shows_message(name));
        Self {
            message_id: message.id,
            receipt_handle,
            body: message.body,
            md5_of_body: message.md5_of_body,
            attributes,
            md5_of_message_attributes: md5_of_attributes(&message_attributes),
            message_attributes,
        }
    }
}

/// Times are in epoch milliseconds, as SQS gives them.
fn system_attributes(message: &Message) -> [(&'static str, Option<String>); 7] {
    [
        ("SenderId", Some(ACCOUNT_ID.to_owned())),
        ("SentTimestamp", Some(message.sent_ms.to_string())),
        ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
        ("ApproximateFirstReceiveTimestamp", message.first_received_ms.map(|ms| ms.to_string())),
        ("MessageGroupId", message.group.as_deref().map(str::to_owned)),
        ("AWSTraceHeader", message.trace_header.clone()),
        ("DeadLetterQueueSourceArn", message.dead_letter_source.clone()),
    ]
}
