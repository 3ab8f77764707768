//! A message: what may be sent, and what a receiver is shown of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attributes::DELAY_SECONDS_MAX;
use super::error::{ErrorKind, SqsError, in_range};
use crate::names::ACCOUNT_ID;

/// Most a message or a batch may carry, in bytes: 1 MiB
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A message to be sent, as `SendMessage` and an entry of `SendMessageBatch` give it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct Draft {
    pub message_body: String,
    pub delay_seconds: Option<i64>,
    pub message_group_id: Option<String>,
    pub message_system_attributes: SystemAttributes,
}

/// The one system attribute that a sender may set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemAttributes {
    #[serde(rename = "AWSTraceHeader")]
    trace_header: Option<Text>,
}

/// A text, as the protocol writes values that have a type.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "DataType")]
enum Text {
    #[serde(rename_all = "PascalCase")]
    String { string_value: String },
}

/// A message as `ReceiveMessage` gives it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Received {
    pub message_id: String,
    pub receipt_handle: String,
    pub body: String,
    /// System attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<&'static str, String>,
}

/// A message at rest in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    body: String,
    pub(super) group: Option<Arc<str>>,
    trace_header: Option<String>,
    pub(super) sent_ms: u64,
    pub(super) receive_count: u32,
    pub(super) first_received_ms: Option<u64>,
    /// The queue that gave it up, if it is dead.
    pub(super) dead_letter_source: Option<String>,
}

impl Draft {
    /// The delay asked for, in seconds, if any.
    pub(super) fn delay_seconds(&self) -> Result<Option<u64>, SqsError> {
        self.delay_seconds.map(|seconds| in_range("DelaySeconds", seconds, 0..=DELAY_SECONDS_MAX)).transpose()
    }

    /// Checks what SQS documents and makes a message of it.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidMessageContents` or `InvalidParameterValue`.
    pub(super) fn into_message(self, now_ms: u64) -> Result<Message, SqsError> {
        self.check()?;
        Ok(Message {
            id: random_id(),
            body: self.message_body,
            group: self.message_group_id.map(Into::into),
            trace_header: self.message_system_attributes.trace_header.map(|Text::String { string_value }| string_value),
            sent_ms: now_ms,
            receive_count: 0,
            first_received_ms: None,
            dead_letter_source: None,
        })
    }

    fn check(&self) -> Result<(), SqsError> {
        if self.message_body.is_empty() {
            return Err(SqsError::missing("MessageBody"));
        }
        if !self.message_body.chars().all(is_allowed) {
            return Err(ErrorKind::InvalidMessageContents.because(
                "Invalid binary character was found in the message body, the set of allowed \
                 characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | \
                 [#x10000-#x10FFFF].",
            ));
        }
        if let Some(group) = &self.message_group_id {
            let graphic = group.bytes().all(|byte| byte.is_ascii_graphic());
            if !graphic || !(1..=128).contains(&group.len()) {
                return Err(SqsError::invalid(
                    "MessageGroupId",
                    group,
                    "Must be 1 to 128 alphanumeric and punctuation characters",
                ));
            }
        }
        if self.message_body.len() > MESSAGE_BYTES_MAX {
            return Err(ErrorKind::InvalidParameterValue.because(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than \
                 {MESSAGE_BYTES_MAX} bytes."
            )));
        }
        Ok(())
    }
}

impl Message {
    /// What a receiver with this receipt handle is shown. Times are in epoch milliseconds, as SQS gives them.
    pub(super) fn shown(self, receipt_handle: String) -> Received {
        let attributes = [
            ("SenderId", Some(ACCOUNT_ID.to_owned())),
            ("SentTimestamp", Some(self.sent_ms.to_string())),
            ("ApproximateReceiveCount", Some(self.receive_count.to_string())),
            ("ApproximateFirstReceiveTimestamp", self.first_received_ms.map(|ms| ms.to_string())),
            ("MessageGroupId", self.group.as_deref().map(str::to_owned)),
            ("AWSTraceHeader", self.trace_header),
            ("DeadLetterQueueSourceArn", self.dead_letter_source),
        ];
        Received {
            message_id: self.id,
            receipt_handle,
            body: self.body,
            attributes: attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        }
    }
}

/// The characters of XML 1.0, which SQS restricts itself to.
fn is_allowed(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}'
        | '\u{10000}'..='\u{10FFFF}')
}

pub(super) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(draft: Draft) -> Option<ErrorKind> {
        let made = draft.into_message(0);
        made.err().map(|error| error.kind)
    }

    fn draft(body: &str) -> Draft {
        Draft { message_body: body.to_owned(), ..Draft::default() }
    }

    #[test]
    fn bodies_outside_xml_or_the_limit_are_refused() {
        assert_eq!(refusal(draft("")), Some(ErrorKind::MissingParameter));
        for body in ["a\0b", "\u{1}", "\u{FFFE}"] {
            let kind = refusal(draft(body));
            assert_eq!(kind, Some(ErrorKind::InvalidMessageContents), "{body:?}");
        }
        assert_eq!(refusal(draft(&"x".repeat(MESSAGE_BYTES_MAX))), None);
        let too_long = refusal(draft(&"x".repeat(MESSAGE_BYTES_MAX + 1)));
        assert_eq!(too_long, Some(ErrorKind::InvalidParameterValue));
    }

    #[test]
    fn a_group_id_is_printable() {
        for group in ["", "with space", "é", &"x".repeat(129)] {
            let mut draft = draft("body");
            draft.message_group_id = Some(group.to_owned());
            assert_eq!(refusal(draft), Some(ErrorKind::InvalidParameterValue), "{group}");
        }
    }
}
