//! A batch of messages as Lambda's event source mapping hands it over.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event>

use crate::runtime::event::{Event, NoRecords, object, readable, records};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What a function was invoked with in the name of a queue. An empty list is a batch too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch(pub Result<Vec<Record>, NoRecords>);

/// A message. What is missing, null or of another type is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    #[serde(deserialize_with = "readable")]
    message_id: Option<String>,
    #[serde(deserialize_with = "readable")]
    pub receipt_handle: Option<String>,
    #[serde(deserialize_with = "readable")]
    pub body: Option<String>,
    #[serde(deserialize_with = "attributes")]
    attributes: Option<Attributes>,
}

/// What SQS itself says of a message, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    #[serde(deserialize_with = "readable")]
    approximate_receive_count: Option<String>,
    #[serde(rename = "AWSTraceHeader", deserialize_with = "readable")]
    trace_header: Option<String>,
}

impl Record {
    /// A record without one came from no queue: it cannot be returned.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_deref().filter(|id| !id.is_empty())
    }

    /// How often it was received, this time included, if SQS says so.
    #[must_use]
    pub fn receives(&self) -> Option<u32> {
        self.attributes.as_ref()?.approximate_receive_count.as_ref()?.parse().ok()
    }

    /// X-Ray's header of the request that it goes back to.
    #[must_use]
    pub fn trace_header(&self) -> Option<&str> {
        self.attributes.as_ref()?.trace_header.as_deref()
    }
}

impl Event for Batch {
    fn read(json: &str) -> Self {
        Self(records(json).map(|records| records.into_iter().map(Option::unwrap_or_default).collect()))
    }
}

fn attributes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Attributes>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|value| object(value.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(json: &str) -> Record {
        Batch::read(&format!(r#"{{"Records":[{json}]}}"#)).0.expect("a batch").remove(0)
    }

    #[test]
    fn each_part_of_a_record_is_read_by_itself() {
        let whole = one(
            r#"{"messageId":"m","receiptHandle":"r","body":"b","attributes":{"ApproximateReceiveCount":"3","AWSTraceHeader":"t"}}"#,
        );
        assert_eq!((whole.message_id(), whole.receives(), whole.trace_header()), (Some("m"), Some(3), Some("t")));
        assert_eq!((whole.body.as_deref(), whole.receipt_handle.as_deref()), (Some("b"), Some("r")));
        for broken in [
            r#"{"messageId":"m"}"#,
            r#"{"messageId":"m","receiptHandle":null,"body":null,"attributes":null}"#,
            r#"{"messageId":"m","receiptHandle":5,"body":{"a":1},"attributes":["3","t"]}"#,
            r#"{"messageId":"m","body":"\ud800","attributes":{"ApproximateReceiveCount":3,"AWSTraceHeader":null}}"#,
        ] {
            let broken = one(broken);
            assert_eq!(
                (broken.message_id(), broken.receives(), broken.trace_header()),
                (Some("m"), None, None),
                "{broken:?}"
            );
            assert_eq!((&broken.body, &broken.receipt_handle), (&None, &None), "{broken:?}");
        }
        for nameless in ["null", "5", "[\"m\"]", "{}", r#"{"messageId":""}"#, r#"{"messageId":null}"#] {
            assert_eq!(one(nameless).message_id(), None, "{nameless}");
        }
    }

    #[test]
    fn what_is_no_batch_is_told_from_one_that_cannot_be_read() {
        assert_eq!(Batch::read(r#"{"Records":[]}"#), Batch(Ok(Vec::new())));
        for foreign in ["{}", "null", "[]", "\"\"", r#"{"Records":null}"#, r#"{"warmup":true}"#] {
            assert_eq!(Batch::read(foreign), Batch(Err(NoRecords::Foreign)), "{foreign}");
        }
        for unreadable in [r#"{"Records":{}}"#, r#"{"Records":"x"}"#, r#"{"Records":[],"Records":[]}"#] {
            assert_eq!(Batch::read(unreadable), Batch(Err(NoRecords::Unreadable)), "{unreadable}");
        }
    }
}
