//! A message: what may be sent, its size, its digests and what a receiver is shown of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use shared::hex;

use super::attributes::DELAY_SECONDS_MAX;
use super::error::{ErrorKind, SqsError, in_range};

/// Most message attributes a message may carry.
const ATTRIBUTES_MAX: usize = 10;

/// A message to be sent, as `SendMessage` and an entry of `SendMessageBatch` give it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Draft {
    pub message_body: String,
    pub delay_seconds: Option<i64>,
    pub message_group_id: Option<String>,
    pub message_deduplication_id: Option<String>,
    pub message_attributes: Option<BTreeMap<String, MessageAttribute>>,
    pub message_system_attributes: Option<BTreeMap<String, MessageAttribute>>,
}

/// A typed value that travels beside the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MessageAttribute {
    pub data_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Base64, as the protocol carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// What `SendMessage` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    #[serde(rename = "MessageId")]
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_system_attributes: Option<String>,
}

/// A message at rest in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) md5_of_body: String,
    pub(super) attributes: BTreeMap<String, MessageAttribute>,
    pub(super) group: Option<Arc<str>>,
    pub(super) trace_header: Option<String>,
    pub(super) sent_ms: u64,
    pub(super) receive_count: u32,
    pub(super) first_received_ms: Option<u64>,
    /// The queue that gave it up, if it is dead.
    pub(super) dead_letter_source: Option<String>,
}

impl Draft {
    /// Bytes that count against the size limit: the body, and the names, types and values of the
    /// message attributes. System attributes do not count.
    pub(super) fn bytes(&self) -> u64 {
        let attributes = self.message_attributes.iter().flatten();
        let beside: usize = attributes
            .map(|(name, attribute)| name.len() + attribute.data_type.len() + attribute.value().1.len())
            .sum();
        u64::try_from(self.message_body.len() + beside).unwrap_or(u64::MAX)
    }

    /// The delay asked for, in seconds, if any.
    pub(super) fn delay_seconds(&self) -> Result<Option<u64>, SqsError> {
        self.delay_seconds.map(|seconds| in_range("DelaySeconds", seconds, 0..=DELAY_SECONDS_MAX)).transpose()
    }

    /// Checks everything SQS documents and makes a message of it.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidMessageContents` or `InvalidParameterValue`.
    pub(super) fn into_message(self, bytes_max: u64, now_ms: u64) -> Result<(Message, Sent), SqsError> {
        self.check(bytes_max)?;
        let attributes = self.message_attributes.unwrap_or_default();
        let system = self.message_system_attributes.unwrap_or_default();
        let trace_header = trace_header(&system)?;
        let sent = Sent {
            message_id: random_id(),
            md5_of_body: hex::digits(&Md5::digest(&self.message_body)),
            md5_of_attributes: md5_of_attributes(&attributes),
            md5_of_system_attributes: md5_of_attributes(&system),
        };
        let message = Message {
            id: sent.message_id.clone(),
            md5_of_body: sent.md5_of_body.clone(),
            body: self.message_body,
            attributes,
            group: self.message_group_id.map(Into::into),
            trace_header,
            sent_ms: now_ms,
            receive_count: 0,
            first_received_ms: None,
            dead_letter_source: None,
        };
        Ok((message, sent))
    }

    fn check(&self, bytes_max: u64) -> Result<(), SqsError> {
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
        if self.message_deduplication_id.is_some() {
            return Err(ErrorKind::InvalidParameterValue
                .because("The request includes a parameter that is not valid for this queue type."));
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
        let attributes = self.message_attributes.iter().flatten();
        for (name, attribute) in attributes {
            check_attribute(name, attribute)?;
        }
        let count = self.message_attributes.as_ref().map_or(0, BTreeMap::len);
        if count > ATTRIBUTES_MAX {
            return Err(ErrorKind::InvalidParameterValue.because(format!(
                "Number of message attributes [{count}] exceeds the allowed maximum \
                 [{ATTRIBUTES_MAX}]."
            )));
        }
        if self.bytes() > bytes_max {
            return Err(ErrorKind::InvalidParameterValue.because(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than \
                 {bytes_max} bytes."
            )));
        }
        Ok(())
    }
}

impl MessageAttribute {
    /// The transport type of the digest (1 text, 2 binary) and the bytes of the value.
    fn value(&self) -> (u8, Vec<u8>) {
        match (&self.string_value, &self.binary_value) {
            (Some(text), _) => (1, text.clone().into_bytes()),
            (None, Some(base64)) => (2, STANDARD.decode(base64).unwrap_or_default()),
            (None, None) => (1, Vec::new()),
        }
    }
}

/// The characters of XML 1.0, which SQS restricts itself to.
fn is_allowed(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}'
        | '\u{10000}'..='\u{10FFFF}')
}

/// Rules of <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>.
fn check_attribute(name: &str, attribute: &MessageAttribute) -> Result<(), SqsError> {
    let refuse = |reason: &str| {
        Err(ErrorKind::InvalidParameterValue.because(format!("The message attribute '{name}' {reason}.")))
    };
    let lower = name.to_ascii_lowercase();
    let known = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !known || !(1..=256).contains(&name.len()) {
        return refuse("has a name with other characters than A-Z, a-z, 0-9, '_', '-' and '.'");
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return refuse("has a name with a period at its start, its end or beside another");
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return refuse("has a name with a reserved prefix");
    }
    let basic = attribute.data_type.split('.').next().unwrap_or_default();
    let is_binary = attribute.binary_value.is_some();
    match basic {
        "String" | "Number" if !is_binary => {}
        "Binary" if is_binary => {}
        "String" | "Number" | "Binary" => return refuse("has a value of another type"),
        _ => return refuse("must have a type of String, Number or Binary"),
    }
    if attribute.value().1.is_empty() {
        return refuse("must have a value that is not empty");
    }
    if let (Some(text), false) = (&attribute.string_value, is_binary)
        && !text.chars().all(is_allowed)
    {
        return refuse("has a value with characters outside the allowed set");
    }
    Ok(())
}

/// The one system attribute a sender may set.
fn trace_header(system: &BTreeMap<String, MessageAttribute>) -> Result<Option<String>, SqsError> {
    for (name, attribute) in system {
        if name != "AWSTraceHeader" || attribute.data_type != "String" {
            return Err(ErrorKind::InvalidParameterValue
                .because(format!("Message system attribute name '{name}' is invalid, or it is not a String.")));
        }
    }
    Ok(system.get("AWSTraceHeader").and_then(|attribute| attribute.string_value.clone()))
}

/// The digest that SDKs compare: per attribute in the order of names, each part behind its length
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>).
/// `None` without attributes.
pub(super) fn md5_of_attributes(attributes: &BTreeMap<String, MessageAttribute>) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    let part = |digest: &mut Md5, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        digest.update(length.to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in attributes {
        let (transport, value) = attribute.value();
        part(&mut digest, name.as_bytes());
        part(&mut digest, attribute.data_type.as_bytes());
        digest.update([transport]);
        part(&mut digest, &value);
    }
    Some(hex::digits(&digest.finalize()))
}

pub(super) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> MessageAttribute {
        MessageAttribute { data_type: "String".to_owned(), string_value: Some(value.to_owned()), binary_value: None }
    }

    fn refusal(draft: Draft) -> Option<ErrorKind> {
        let made = draft.into_message(1024, 0);
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
        assert_eq!(refusal(draft(&"x".repeat(1024))), None);
        let too_long = refusal(draft(&"x".repeat(1025)));
        assert_eq!(too_long, Some(ErrorKind::InvalidParameterValue));
        let mut beside = draft(&"x".repeat(1010));
        beside.message_attributes = Some(BTreeMap::from([("name".to_owned(), text("value"))]));
        assert_eq!(beside.bytes(), 1025);
        assert_eq!(refusal(beside), Some(ErrorKind::InvalidParameterValue));
    }

    #[test]
    fn attributes_outside_the_rules_are_refused() {
        let empty = text("");
        let unknown_type = MessageAttribute { data_type: "Colour".to_owned(), ..text("red") };
        let binary_without_bytes = MessageAttribute { data_type: "Binary".to_owned(), ..text("red") };
        for (name, attribute) in [
            ("aws.name", text("v")),
            ("Amazon.name", text("v")),
            (".name", text("v")),
            ("a..b", text("v")),
            ("sp ace", text("v")),
            ("name", empty),
            ("name", unknown_type),
            ("name", binary_without_bytes),
        ] {
            let mut draft = draft("body");
            draft.message_attributes = Some(BTreeMap::from([(name.to_owned(), attribute)]));
            assert_eq!(refusal(draft), Some(ErrorKind::InvalidParameterValue), "{name}");
        }
    }

    #[test]
    fn a_group_id_is_printable_and_a_deduplication_id_is_for_fifo_queues() {
        for group in ["", "with space", "é", &"x".repeat(129)] {
            let mut draft = draft("body");
            draft.message_group_id = Some(group.to_owned());
            assert_eq!(refusal(draft), Some(ErrorKind::InvalidParameterValue), "{group}");
        }
        let mut draft = draft("body");
        draft.message_deduplication_id = Some("once".to_owned());
        assert_eq!(refusal(draft), Some(ErrorKind::InvalidParameterValue));
    }
}
