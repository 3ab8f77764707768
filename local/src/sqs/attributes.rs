//! A queue's attributes: their limits and their defaults.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ErrorKind, SqsError, in_range};

/// Longest time a message may stay invisible after one receive: 12 hours.
pub(super) const VISIBILITY_SECONDS_MAX: i64 = 43_200;

/// Longest delay before a message is first delivered: 15 minutes.
pub(super) const DELAY_SECONDS_MAX: i64 = 900;

/// Longest long poll.
pub(super) const WAIT_SECONDS_MAX: i64 = 20;

/// Settings of a queue, as `CreateQueue` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) delay_seconds: u64,
    pub(super) receive_wait_seconds: u64,
    pub(super) retention_seconds: u64,
    pub(super) visibility_timeout_seconds: u64,
    pub(super) redrive: Option<RedrivePolicy>,
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RedrivePolicy {
    pub(super) dead_letter_target_arn: String,
    pub(super) max_receive_count: u32,
}

impl Default for Attributes {
    /// SQS's own defaults: 30 s visibility, 4 days retention, no delay, short polling.
    fn default() -> Self {
        Self {
            delay_seconds: 0,
            receive_wait_seconds: 0,
            retention_seconds: 345_600,
            visibility_timeout_seconds: 30,
            redrive: None,
        }
    }
}

impl Attributes {
    /// These settings with `given` laid over them.
    ///
    /// # Errors
    /// `InvalidAttributeName` for a name this server does not know, `InvalidAttributeValue` for a value outside its
    /// limits.
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
            "MessageRetentionPeriod" => self.retention_seconds = number(60..=1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.receive_wait_seconds = number(0..=WAIT_SECONDS_MAX)?,
            "VisibilityTimeout" => self.visibility_timeout_seconds = number(0..=VISIBILITY_SECONDS_MAX)?,
            "RedrivePolicy" => {
                let policy: RedrivePolicy = serde_json::from_str(value).map_err(|_| invalid(name))?;
                if !(1..=1000).contains(&policy.max_receive_count) {
                    return Err(invalid(name));
                }
                self.redrive = Some(policy);
            }
            _ => return Err(ErrorKind::InvalidAttributeName.because(format!("Unknown Attribute {name}."))),
        }
        Ok(())
    }
}

fn invalid(name: &str) -> SqsError {
    ErrorKind::InvalidAttributeValue.because(format!("Invalid value for the parameter {name}."))
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
            ("MessageRetentionPeriod", "59"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("RedrivePolicy", "{}"),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#),
        ] {
            let refusal = given(name, value);
            assert_eq!(refusal, Err(ErrorKind::InvalidAttributeValue), "{name} = {value}");
        }
        for name in ["FifoQueue", "ContentBasedDeduplication", "Colour"] {
            let refusal = given(name, "true");
            assert_eq!(refusal, Err(ErrorKind::InvalidAttributeName), "{name}");
        }
    }
}
