//! A queue's attributes: their limits, their defaults and how they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, SqsError, in_range};

/// Most a message or a batch may carry, in bytes: 1 MiB
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
pub(super) const MESSAGE_BYTES_MAX: u64 = 1_048_576;

/// Longest time a message may stay invisible after one receive: 12 hours.
pub(super) const VISIBILITY_SECONDS_MAX: i64 = 43_200;

/// Longest delay before a message is first delivered: 15 minutes.
pub(super) const DELAY_SECONDS_MAX: i64 = 900;

/// Longest long poll.
pub(super) const WAIT_SECONDS_MAX: i64 = 20;

/// Accepted and given back, without effect on a queue that lives in one process.
const KEPT_AS_GIVEN: [&str; 4] = ["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "Policy", "SqsManagedSseEnabled"];

/// Settings of a queue, as `CreateQueue` and `SetQueueAttributes` give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) delay_seconds: u64,
    pub(super) maximum_message_bytes: u64,
    pub(super) receive_wait_seconds: u64,
    pub(super) retention_seconds: u64,
    pub(super) visibility_timeout_seconds: u64,
    pub(super) redrive: Option<RedrivePolicy>,
    pub(super) redrive_allow: Option<RedriveAllowPolicy>,
    kept: BTreeMap<String, String>,
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedrivePolicy {
    pub(super) dead_letter_target_arn: String,
    #[serde(deserialize_with = "number_or_text")]
    pub(super) max_receive_count: u32,
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedriveAllowPolicy {
    redrive_permission: RedrivePermission,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source_queue_arns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RedrivePermission {
    AllowAll,
    DenyAll,
    ByQueue,
}

impl RedriveAllowPolicy {
    pub(super) fn allows(&self, source_arn: &str) -> bool {
        match self.redrive_permission {
            RedrivePermission::AllowAll => true,
            RedrivePermission::DenyAll => false,
            RedrivePermission::ByQueue => self.source_queue_arns.iter().any(|arn| arn == source_arn),
        }
    }
}

impl Default for Attributes {
    /// SQS's own defaults: 30 s visibility, 4 days retention, 1 MiB, no delay, short polling.
    fn default() -> Self {
        Self {
            delay_seconds: 0,
            maximum_message_bytes: MESSAGE_BYTES_MAX,
            receive_wait_seconds: 0,
            retention_seconds: 345_600,
            visibility_timeout_seconds: 30,
            redrive: None,
            redrive_allow: None,
            kept: BTreeMap::from([("SqsManagedSseEnabled".to_owned(), "true".to_owned())]),
        }
    }
}

impl Attributes {
    /// These settings with `given` laid over them.
    ///
    /// # Errors
    /// `InvalidAttributeName` for a name SQS does not know or that belongs to FIFO queues,
    /// `InvalidAttributeValue` for a value outside its limits.
    pub(super) fn with(&self, given: &BTreeMap<String, String>) -> Result<Self, SqsError> {
        let mut changed = self.clone();
        for (name, value) in given {
            changed.set(name, value)?;
        }
        Ok(changed)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        let number = |range: std::ops::RangeInclusive<i64>| {
            value.parse().ok().and_then(|number| in_range(name, number, range).ok()).ok_or_else(|| invalid(name))
        };
        match name {
            "DelaySeconds" => self.delay_seconds = number(0..=DELAY_SECONDS_MAX)?,
            "MaximumMessageSize" => self.maximum_message_bytes = number(1024..=1_048_576)?,
            "MessageRetentionPeriod" => self.retention_seconds = number(60..=1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => {
                self.receive_wait_seconds = number(0..=WAIT_SECONDS_MAX)?;
            }
            "VisibilityTimeout" => {
                self.visibility_timeout_seconds = number(0..=VISIBILITY_SECONDS_MAX)?;
            }
            "RedrivePolicy" => self.redrive = RedrivePolicy::parse(value)?,
            "RedriveAllowPolicy" => self.redrive_allow = policy(name, value)?,
            _ if KEPT_AS_GIVEN.contains(&name) => {
                self.kept.insert(name.to_owned(), value.to_owned());
            }
            _ => {
                return Err(ErrorKind::InvalidAttributeName.because(format!("Unknown Attribute {name}.")));
            }
        }
        Ok(())
    }

    /// Names and values as `GetQueueAttributes` writes them.
    pub(super) fn written(&self) -> BTreeMap<String, String> {
        let mut written = self.kept.clone();
        let mut put = |name: &str, value: String| written.insert(name.to_owned(), value);
        put("DelaySeconds", self.delay_seconds.to_string());
        put("MaximumMessageSize", self.maximum_message_bytes.to_string());
        put("MessageRetentionPeriod", self.retention_seconds.to_string());
        put("ReceiveMessageWaitTimeSeconds", self.receive_wait_seconds.to_string());
        put("VisibilityTimeout", self.visibility_timeout_seconds.to_string());
        if let Some(policy) = &self.redrive {
            put("RedrivePolicy", json(policy));
        }
        if let Some(policy) = &self.redrive_allow {
            put("RedriveAllowPolicy", json(policy));
        }
        written
    }
}

impl RedrivePolicy {
    /// An empty text takes the policy away, as SQS has it.
    fn parse(value: &str) -> Result<Option<Self>, SqsError> {
        let parsed: Option<Self> = policy("RedrivePolicy", value)?;
        match parsed {
            Some(policy) if !(1..=1000).contains(&policy.max_receive_count) => Err(invalid("RedrivePolicy")),
            parsed => Ok(parsed),
        }
    }
}

fn policy<T: for<'de> Deserialize<'de>>(name: &str, value: &str) -> Result<Option<T>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(value).map(Some).map_err(|_| invalid(name))
}

fn json(policy: &impl Serialize) -> String {
    serde_json::to_string(policy).expect("a policy of texts and numbers has a JSON form")
}

fn invalid(name: &str) -> SqsError {
    ErrorKind::InvalidAttributeValue.because(format!("Invalid value for the parameter {name}."))
}

/// SQS takes `maxReceiveCount` as `5` and as `"5"`.
fn number_or_text<'de, D: serde::Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u32),
        Text(String),
    }
    match NumberOrText::deserialize(value)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, value: &str) -> Result<Attributes, ErrorKind> {
        Attributes::default().with(&BTreeMap::from([(name.to_owned(), value.to_owned())])).map_err(|error| error.kind)
    }

    #[test]
    fn values_outside_their_limits_are_refused() {
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "-1"),
            ("VisibilityTimeout", "soon"),
            ("DelaySeconds", "901"),
            ("MaximumMessageSize", "1023"),
            ("MaximumMessageSize", "1048577"),
            ("MessageRetentionPeriod", "59"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("RedrivePolicy", "{}"),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#),
            ("RedriveAllowPolicy", r#"{"redrivePermission":"everyone"}"#),
        ] {
            let refusal = given(name, value);
            assert_eq!(refusal, Err(ErrorKind::InvalidAttributeValue), "{name} = {value}");
        }
        for name in ["FifoQueue", "ContentBasedDeduplication", "Colour"] {
            let refusal = given(name, "true");
            assert_eq!(refusal, Err(ErrorKind::InvalidAttributeName), "{name}");
        }
    }

    #[test]
    fn a_receive_count_may_be_text_and_an_empty_policy_takes_it_away() {
        let text = r#"{"deadLetterTargetArn":"arn","maxReceiveCount":"5"}"#;
        let with_policy = given("RedrivePolicy", text).expect("SQS accepts this");
        assert_eq!(with_policy.written()["RedrivePolicy"], r#"{"deadLetterTargetArn":"arn","maxReceiveCount":5}"#);
        let none = BTreeMap::from([("RedrivePolicy".to_owned(), String::new())]);
        let without = with_policy.with(&none).expect("SQS accepts this");
        assert_eq!(without.redrive, None);
    }

    #[test]
    fn redrive_may_be_closed_to_all_but_named_queues() {
        let text = r#"{"redrivePermission":"byQueue","sourceQueueArns":["mine"]}"#;
        let policy = given("RedriveAllowPolicy", text).expect("SQS accepts this").redrive_allow.expect("it was given");
        assert!(policy.allows("mine"));
        assert!(!policy.allows("yours"));
    }
}
