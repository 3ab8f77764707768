//! What a message on the queue is: a notice of the mail service's, which comes through EventBridge or a topic of SNS.

use crate::notice::Notice;
use serde::Deserialize;
use shared::runtime::event::object;

/// Why a message goes to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it has no text")]
    Empty,
    #[error("its text is no JSON object")]
    NoObject,
    #[error("it is no notice of the mail service's")]
    Unknown,
    #[error("what it forwards from a topic is no notice of the mail service's")]
    Forwarded,
}

/// What Amazon SES put on EventBridge.
#[derive(Deserialize)]
struct EventBridge {
    /// Only read: nobody else's events are believed.
    #[serde(rename = "source")]
    _source: Source,
    detail: Notice,
}

#[derive(Deserialize)]
enum Source {
    #[serde(rename = "aws.ses")]
    Ses,
}

/// What SNS puts around a message unless raw delivery is on.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Topic {
    #[serde(rename = "Type")]
    _kind: Notification,
    message: String,
}

#[derive(Deserialize)]
enum Notification {
    Notification,
}

/// Reads a message's text.
///
/// # Errors
/// [`Unreadable`].
pub(crate) fn read(text: Option<&str>) -> Result<Notice, Unreadable> {
    let text = text.ok_or(Unreadable::Empty)?;
    if let Some(notice) = notice(text) {
        return Ok(notice);
    }
    let Some(topic) = object::<Topic>(text) else {
        let is_object = object::<serde::de::IgnoredAny>(text).is_some();
        return Err(if is_object { Unreadable::Unknown } else { Unreadable::NoObject });
    };
    notice(&topic.message).ok_or(Unreadable::Forwarded)
}

/// A notice, as EventBridge gives it or as SES publishes it to a topic.
fn notice(text: &str) -> Option<Notice> {
    object(text).map(|event: EventBridge| event.detail).or_else(|| object(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(message: &serde_json::Value) -> Result<Notice, Unreadable> {
        super::read(Some(&message.to_string()))
    }

    #[test]
    fn a_notice_comes_through_eventbridge_or_a_topic() {
        let notice = json!({"eventType": "Send", "mail": {"messageId": "m"}, "send": {}});
        let feedback = json!({"notificationType": "Bounce", "mail": {"messageId": "m"}, "bounce": null});
        let event = json!({"source": "aws.ses", "detail-type": "Email Sent", "detail": notice});
        let topic = |message: &serde_json::Value| json!({"Type": "Notification", "MessageId": "i", "TopicArn": "arn:aws:sns:us-east-1:0:ses", "Message": message.to_string()});
        for message in [&notice, &feedback, &event, &topic(&notice), &topic(&feedback), &topic(&event)] {
            assert!(read(message).is_ok(), "{message}");
        }
        let hello = json!({"hello": 1});
        assert_eq!(read(&topic(&hello)).err(), Some(Unreadable::Forwarded));
        assert_eq!(
            read(&json!({"Type": "SubscriptionConfirmation", "Message": notice.to_string()})).err(),
            Some(Unreadable::Unknown)
        );
    }

    #[test]
    fn other_sources_are_not_believed() {
        let other = json!({"source": "aws.s3", "detail": {"eventType": "Send", "mail": {"messageId": "m"}}});
        assert_eq!(read(&other).err(), Some(Unreadable::Unknown));
    }

    #[test]
    fn each_refusal_says_why() {
        assert_eq!(super::read(None).err(), Some(Unreadable::Empty));
        for text in ["", "x", "null", "[]", "5", "[{}]"] {
            assert_eq!(super::read(Some(text)).err(), Some(Unreadable::NoObject), "{text}");
        }
    }
}
